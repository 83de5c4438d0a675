"""Shot types of the kept frames: the suggested one, or the one that a person decided."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import UNKNOWN, Box, FrameRecord, check_types
from concertdeblur.dataset.reviews import Review
from concertdeblur.dataset.shot_types import ShotType, ShotTypist
from concertdeblur.dataset.workspace import CACHE, Workspace
from concertdeblur.errors import MissingDependencyError
from concertdeblur.settings import parse_json

Picture = npt.NDArray[np.uint8]


class Suggestions:
    """Suggested types, each asked for once and kept in the cache."""

    def __init__(self, workspace: Workspace, versions: Mapping[str, str], on_warning: Callable[[str], None]) -> None:
        self._workspace, self._on_warning = workspace, on_warning
        name = hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()[:12]
        self._path = workspace.path(CACHE, f"types-{name}.jsonl")
        self._known: dict[str, dict[str, Any]] = dict(self._read())
        self._typist: ShotTypist | None = None
        self._is_missing = False

    def label(self, record: FrameRecord, picture: Picture) -> FrameRecord:
        """The record with the suggestion for its picture."""
        if record.frame_id not in self._known:
            self._known[record.frame_id] = self._ask(record.frame_id, picture)
        return replace(record, **self._known[record.frame_id])

    def _ask(self, frame_id: str, picture: Picture) -> dict[str, Any]:
        if self._typist is None and not self._is_missing:
            self._typist = self._made()
        if self._typist is None:
            return {"reason": "no face detector is installed"}
        told = self._typist.suggest(picture)
        facts = {
            "shot_type": str(told.shot_type), "confidence": round(float(told.confidence), 4), "reason": told.reason,
            "faces": tuple(Box(*map(int, face)) for face in told.faces),
        }  # fmt: skip
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"frame_id": frame_id, **facts}) + "\n")
        return facts

    def _made(self) -> ShotTypist | None:
        try:
            return ShotTypist()
        except MissingDependencyError as error:  # the package with the face detector's weights is missing
            self._is_missing = True
            self._on_warning(f"shot types stay '{UNKNOWN}': {error}")
            return None

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The suggestions that are kept; lines that are none, as a killed run's last one, are asked for again."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            try:
                row = parse_json(line)
                row["faces"] = tuple(Box(*map(int, face)) for face in row["faces"])
                frame_id = row.pop("frame_id")
                made = FrameRecord(frame_id=frame_id, source="", timestamp_s=0, sharpness=0, picture="", **row)
                check_types(made)
                _ = UNKNOWN if made.shot_type == UNKNOWN else ShotType(made.shot_type)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            yield frame_id, row


def reviewed(record: FrameRecord, review: Review | None) -> FrameRecord:
    """The record with the shot type of a person's review, if there is one."""
    if review is None or review.shot_type is None:
        return record
    return replace(record, shot_type=str(review.shot_type), shot_type_by="review", confidence=1.0)


def is_dropped(review: Review | None) -> bool:
    """Whether a person dropped the frame."""
    return review is not None and not review.keep
