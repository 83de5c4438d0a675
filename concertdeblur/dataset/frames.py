"""The picked frames of a data set: one line a frame in `frames.jsonl`, for the builder and the review page."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from concertdeblur.errors import DatasetError
from concertdeblur.settings import parse_json

FRAMES_FILE = "frames.jsonl"
UNKNOWN = "unknown"  # the shot type of a frame that has no suggestion and no review


class Box(NamedTuple):
    """A rectangle in px: its upper left corner and its size."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameRecord:
    """One picked frame, before anybody reviewed it or after."""

    frame_id: str  # from the source's hash and the time stamp: the same on every run
    source: str  # name of the source, as in metadata.jsonl
    timestamp_s: float  # within the source
    sharpness: float  # score of its sharpest regions; it can be compared between sources
    picture: str  # preview of the whole sharp frame, relative to the data set's folder
    shot_type: str = UNKNOWN
    shot_type_by: str = "suggestion"  # or "review"
    confidence: float = 0.0  # of a suggestion, 0 to 1
    reason: str = ""  # why this type was suggested
    faces: tuple[Box, ...] = ()  # in px of the preview

    def __post_init__(self) -> None:
        path = PurePosixPath(self.picture)
        if path.is_absolute() or ".." in path.parts or "\\" in self.picture:
            raise ValueError(f"the picture must lie inside the data set, but {self.picture = }")


def write_frames(dataset: Path, records: Iterable[FrameRecord]) -> None:
    """Replace the list of picked frames; the old one stays whole until the new one is."""
    target = dataset / FRAMES_FILE
    part = target.with_name(f".{FRAMES_FILE}.part")
    part.write_text(frames_text(records), encoding="utf-8")
    part.replace(target)


def frames_text(records: Iterable[FrameRecord]) -> str:
    """The list as a text for the file."""
    return "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)


def read_frames(dataset: Path) -> list[FrameRecord]:
    """The picked frames, in the order of the file.

    Raises:
        DatasetError: If there is no such file, or a line of it is no frame.

    """
    path = dataset / FRAMES_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(f"{dataset}: no data set of build-dataset is here ({FRAMES_FILE} is missing)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return [_record(line, f"{path}, line {n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def _record(line: str, where: str) -> FrameRecord:
    try:
        row = parse_json(line)
        known = {field.name: row[field.name] for field in fields(FrameRecord) if field.name in row}
        if "faces" in known:
            known["faces"] = tuple(Box(*map(int, face)) for face in known["faces"])
        record = FrameRecord(**known)
        check_types(record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(f"{where}: is no frame ({error}); delete the file and run build-dataset again") from error
    return record


def check_types(record: FrameRecord) -> None:
    """Raise TypeError if a value is none of its field's type."""
    kinds: dict[str, tuple[type, ...]] = {"timestamp_s": (int, float), "sharpness": (int, float)}
    kinds |= {"confidence": (int, float), "faces": (tuple,)}
    for field in fields(record):
        value: Any = getattr(record, field.name)
        if not isinstance(value, kinds.get(field.name, (str,))) or isinstance(value, bool):
            raise TypeError(f"{field.name} is {value!r}")
