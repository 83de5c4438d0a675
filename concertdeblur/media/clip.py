"""A clip opened for what goes along with its video: its streams, tags and chapters are read once and handed on."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.packet import Packet

from concertdeblur.media.containers import open_source
from concertdeblur.media.timeline import Timeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """An open clip; not thread-safe. Its packets can be read once."""

    path: Path
    container: InputContainer
    timeline: Timeline  # as its reader found it

    @property
    def has_edit_lists(self) -> bool:
        """Whether the container may hide parts of its streams, as mov and mp4 do."""
        return "mp4" in self.container.format.name.split(",")

    def packets(self, indices: frozenset[int]) -> "Iterator[Packet[Any]]":
        """All packets of some streams, in the order of the file and in the clip's one time."""
        wanted = [stream for stream in self.container.streams if stream.index in indices]
        return iter(self.timeline.moved(self.container.demux(wanted) if wanted else ()))


@contextlib.contextmanager
def open_clip(path: Path, timeline: Timeline) -> Iterator[Clip]:
    """Open a clip, and close it at the end.

    Raises:
        SourceError: If it cannot be opened.

    """
    with open_source(path) as container:
        yield Clip(path=path, container=container, timeline=timeline)
