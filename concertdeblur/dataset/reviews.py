"""A person's decisions on frames: `reviews.jsonl` has one line for each, and lines are only ever added.

A line counts only if it has an end. If the server was killed while writing, its last line has none, and is dropped.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from concertdeblur.dataset.shot_types import ShotType
from concertdeblur.errors import DatasetError, TargetError
from concertdeblur.settings import parse_json

REVIEWS_FILE = "reviews.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """A decision on one frame."""

    keep: bool
    shot_type: ShotType | None = None  # None: the suggestion stands

    def __post_init__(self) -> None:
        if not isinstance(self.keep, bool):
            raise TypeError(f"keep is {self.keep!r}, not true or false")
        if self.shot_type is not None:
            object.__setattr__(self, "shot_type", ShotType(self.shot_type))


def read_reviews(dataset: Path) -> dict[str, Review]:
    """The last decision on each frame, by the frame's id; none if nothing was reviewed.

    Raises:
        DatasetError: If the file cannot be read, or a line of it is no decision.

    """
    path = dataset / REVIEWS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no list of reviews (not UTF-8); repair or delete it") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    reviews: dict[str, Review] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame_id, review = _decision(line)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if number == len(lines):  # it has no line end, because its writer was killed
                continue
            raise DatasetError(f"{path}, line {number}: is no review ({error}); mend or delete that line") from error
        if review is None:
            reviews.pop(frame_id, None)
        else:
            reviews[frame_id] = review
    return reviews


class ReviewLog:
    """The file open for adding; every decision is on the disk when `add` returns.

    Raises:
        DatasetError: If another review of this data set is running, or the file is nonsense.
        TargetError: If it cannot be written.

    """

    def __init__(self, dataset: Path) -> None:
        self._path = dataset / REVIEWS_FILE
        self._reviews: dict[str, Review] = {}
        try:
            # without a buffer, which would keep what a full disk has refused, and write it with the next decision
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise TargetError(f"{self._path}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._reviews = read_reviews(dataset)
            self._end_last_line()
        except BlockingIOError as error:
            self._file.close()
            raise DatasetError(f"{dataset}: is being reviewed already by another run") from error
        except OSError as error:
            self._file.close()
            raise TargetError(f"{self._path}: cannot be written ({error.strerror})") from error
        except BaseException:
            self._file.close()
            raise

    @property
    def reviews(self) -> dict[str, Review]:
        """The decisions that stand, by frame id."""
        return self._reviews

    def add(self, frame_id: str, review: Review | None) -> None:
        """Write one decision, or with None withdraw the one that stands.

        Raises:
            TargetError: If it cannot be written; then the earlier decision stands.

        """
        row: dict[str, Any] = {"frame_id": frame_id, "keep": None if review is None else review.keep}
        row["shot_type"] = None if review is None or review.shot_type is None else review.shot_type.value
        length = self._path.stat().st_size
        try:
            self._write(json.dumps(row).encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError as error:
            os.truncate(self._path, length)
            raise TargetError(f"{self._path}: cannot be written ({error.strerror})") from error
        if review is None:
            self._reviews.pop(frame_id, None)
        else:
            self._reviews[frame_id] = review

    def close(self) -> None:
        """Release the file, so that others can review."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end_last_line(self) -> None:
        data = self._path.read_bytes()
        tail = data[data.rfind(b"\n") + 1 :]
        if not tail:
            return
        try:
            _decision(tail.decode())
        except (ValueError, TypeError, KeyError, AttributeError):
            os.truncate(self._path, len(data) - len(tail))
        else:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        while data:  # the last bytes that a disk has room for are written before it says that it is full
            data = data[self._file.write(data) :]


def _decision(line: str) -> tuple[str, Review | None]:
    row = parse_json(line)
    frame_id, keep, shot_type = row["frame_id"], row["keep"], row["shot_type"]
    if not isinstance(frame_id, str):
        raise TypeError(f"frame_id is {frame_id!r}")
    if keep is None and shot_type is None:
        return frame_id, None
    return frame_id, Review(keep=keep, shot_type=shot_type)
