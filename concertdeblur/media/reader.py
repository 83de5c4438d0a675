"""File -> frames: the options of a reader, and what every reader can do. `backends` opens one."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.timeline import Timeline

ReaderName = Literal["pyav", "decord"]


def ignore_warning(message: str) -> None:
    """Take a warning and do nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderOptions:
    """Which part of a clip is read, and how."""

    video_stream: int | None = None  # index in the container; None: the largest that is no cover art
    start_s: Fraction | None = None  # from the stream's first frame; frames before it are left out
    end_s: Fraction | None = None  # frames at or after it are left out
    strict: bool = False  # frames that do not decode are an error
    deinterlace: bool = False
    even_size: bool = False  # a last odd row or column is cut off
    wants_pixels: bool = True  # False: native planes only
    num_threads: int = 0  # 0: as many as there are cores

    def __post_init__(self) -> None:
        if self.start_s is not None and self.start_s < 0:
            raise UsageError(f"the start must not be negative, but it is {float(self.start_s)} s")
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise UsageError(f"the end ({float(self.end_s)} s) must lie after the start")


class VideoReader(Protocol):
    """One video stream of a clip, read once, in order.

    Not thread-safe; it may be made in one thread and read in another.
    """

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""

    @property
    def num_broken(self) -> int:
        """How many of the frames so far stand in for frames that did not decode."""

    @property
    def first_pts(self) -> int:
        """Time stamp of the first frame that `frames` gives."""

    @property
    def origin_s(self) -> Fraction:
        """The source's time, in seconds, from which start and end are counted."""

    @property
    def timeline(self) -> Timeline:
        """Where the clip's time begins anew. The frames' time stamps are already moved."""

    def frames(self) -> Iterator[Frame]:
        """All chosen frames, in order of pts."""

    def close(self) -> None:
        """Release the file; safe to call again."""

    def __enter__(self) -> "VideoReader":
        """Give the reader itself."""

    def __exit__(self, *_: object) -> None:
        """Close."""


@contextlib.contextmanager
def closing_on_error(close: Callable[[], None]) -> Iterator[None]:
    """Release what a half-built reader holds."""
    try:
        yield
    except BaseException:
        close()
        raise
