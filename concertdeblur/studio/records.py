"""What the studio knows of a clip, and keeps on the disk, so that a new start finds it again."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from concertdeblur.errors import UsageError
from concertdeblur.media.output_file import target_error

RECORD_FILE = "clip.json"  # in a clip's folder
UPLOAD_FOLDER, OUTPUT_FOLDER = "in", "out"  # beside it
_FORMAT = 1


class State(StrEnum):
    """Where a clip is on its way."""

    LOOKING = "looking"  # its facts are being found
    READY = "ready"  # nothing is asked of it yet
    WAITING = "waiting"  # for the clips before it
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What a user decides about a clip."""

    quality: str = "best"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.quality not in ("best", "fast"):
            raise UsageError(f"quality must be best or fast, but it is '{self.quality}'")
        if not 0 < self.strength <= 1:
            raise UsageError(f"strength must be more than 0 and at most 1, but it is {self.strength}")


@dataclass(kw_only=True, slots=True)
class ClipRecord:
    """One clip or picture."""

    clip_id: str
    name: str  # as its owner calls it; never a path
    source: str  # where it lies
    is_copy: bool  # it was uploaded and belongs to the studio; else it is somebody's file, which is only read
    added_s: float  # by the clock of the calendar
    state: State = State.LOOKING
    error: str = ""  # of a failed one, a sentence
    facts: dict[str, Any] = field(default_factory=dict)  # as `facts.ClipFacts`
    frame_s: dict[str, float] = field(default_factory=dict)  # seconds a frame by quality, as measured here
    moment: dict[str, Any] | None = None  # the last one that was looked at, whose pictures are there
    choices: Choices = field(default_factory=Choices)
    warnings: list[str] = field(default_factory=list)
    result: str = ""  # where the output lies, once it is done
    summary: dict[str, Any] = field(default_factory=dict)  # of the run that made it

    def save(self, folder: Path) -> None:
        """Write it into the clip's folder; the old one stays whole if that fails.

        Raises:
            TargetError: If it cannot be written.

        """
        path = folder / RECORD_FILE
        part = path.with_suffix(".part")
        try:
            with part.open("w", encoding="utf-8") as file:
                json.dump({"format": _FORMAT, **asdict(self)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            raise target_error(path, error) from error


def read_record(folder: Path) -> ClipRecord | None:
    """The record in a clip's folder; None if there is none, or it makes no sense."""
    try:
        told: Any = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return _record(told, folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _record(told: Mapping[str, Any], folder: Path) -> ClipRecord:
    if told["format"] != _FORMAT or told["clip_id"] != folder.name:
        raise ValueError("another format")
    known = {each.name for each in fields(ClipRecord)}
    values = {name: value for name, value in told.items() if name in known}
    values["state"] = State(values["state"])
    values["choices"] = Choices(**values["choices"])
    # the studio's folder may have been moved, or named from elsewhere, since this was written
    if values["is_copy"]:
        values["source"] = str(folder / UPLOAD_FOLDER / Path(values["source"]).name)
    if values["result"]:
        values["result"] = str(folder / OUTPUT_FOLDER / Path(values["result"]).name)
    return ClipRecord(**values)
