"""Suggests one of eight shot types for a frame by its faces; a person decides.

The size of a face says how much of the body is seen. Counted in face heights from the forehead down, the shoulders end
at about 2.5, the waist is at 4, the knees are at 7 and the feet at 9.5 (a head is 1.3 faces high, a body 7.5 heads).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from concertdeblur.dataset.faces import Face, FaceDetector, Picture
from concertdeblur.dataset.frames import UNKNOWN, Box


class ShotType(StrEnum):
    """Film language's shot sizes, and two kinds of concerts (paper, section 3.1)."""

    CU = "CU"
    MCU = "MCU"
    MS = "MS"
    MLS = "MLS"
    LS = "LS"
    XLS = "XLS"
    ADS = "ADS"
    MIS = "MIS"


TITLES = {
    ShotType.CU: "Close-up",
    ShotType.MCU: "Medium close-up",
    ShotType.MS: "Medium shot",
    ShotType.MLS: "Medium long shot",
    ShotType.LS: "Long shot",
    ShotType.XLS: "Extreme long shot",
    ShotType.ADS: "Audience",
    ShotType.MIS: "Instrument",
}
# (most face heights from the forehead to the frame's bottom, type, what is seen)
_BODY = (
    (1.6, ShotType.CU, "the face fills the frame"),
    (3.4, ShotType.MCU, "head and shoulders"),
    (5.4, ShotType.MS, "down to the waist"),
    (8.5, ShotType.MLS, "down to the knees"),
)
_LEAST_LONG_SHARE = 0.05  # face height over frame height; in smaller faces no expression can be read
_CLOSE_SHARE = 0.56  # a face of this height makes a close-up wherever it is
_CROWD_FACES, _CROWD_SHARE = 8, 0.12  # an audience has at least so many faces, and half of them are at most so high
_CROWD_LEADER = 2.0  # if one face is so many times the median, it is filmed, and not the audience


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """A suggested type with its reason; faces are in px of the frame, the largest first."""

    shot_type: str  # a ShotType's value, or "unknown"
    confidence: float  # 0 to 1
    reason: str
    faces: tuple[Box, ...]


class ShotTypist:
    """Suggests shot types; not safe for several threads at once.

    Raises:
        MissingDependencyError: If the face detector's package is not installed.

    """

    def __init__(self) -> None:
        self._detector = FaceDetector()

    def suggest(self, frame: Picture) -> Suggestion:
        """Suggest a type for a (height, width, 3) RGB uint8 frame."""
        faces = self._detector.detect(frame)
        return suggestion(faces, frame_height_px=frame.shape[0])


def suggestion(faces: list[Face], *, frame_height_px: int) -> Suggestion:
    """The shot type that faces suggest, the largest first."""
    boxes = tuple(face.box for face in faces)
    if not faces:
        return Suggestion(shot_type=UNKNOWN, confidence=0.0, reason="no face found", faces=())
    largest = faces[0]
    median_px = float(np.median([box.height for box in boxes]))
    is_crowd = len(faces) >= _CROWD_FACES and median_px <= _CROWD_SHARE * frame_height_px
    if is_crowd and largest.box.height < _CROWD_LEADER * median_px:
        sureness = min(1.0, 0.5 + 0.05 * (len(faces) - _CROWD_FACES))
        reason = f"{len(faces)} small faces"
        return Suggestion(shot_type=ShotType.ADS.value, confidence=sureness, reason=reason, faces=boxes)
    shot_type, seen, clearness = _by_body(largest.box, frame_height_px)
    share = largest.box.height / frame_height_px
    reason = f"face {share:.0%} of the frame's height: {seen}"
    confidence = round(largest.score * clearness, 3)
    return Suggestion(shot_type=shot_type.value, confidence=confidence, reason=reason, faces=boxes)


def _by_body(face: Box, frame_height_px: int) -> tuple[ShotType, str, float]:
    """The type, what is seen of the body, and a confidence, which is 0.5 at the limit between two types."""
    share, reach = face.height / frame_height_px, (frame_height_px - face.y) / face.height
    if share >= _CLOSE_SHARE:
        return ShotType.CU, _BODY[0][2], _clearness(share, _CLOSE_SHARE)
    if share < _LEAST_LONG_SHARE:
        return ShotType.XLS, "too small to read", _clearness(share, _LEAST_LONG_SHARE)
    limits = [most for most, _, _ in _BODY]
    clearness = min(_clearness(reach, limit) for limit in limits)
    for most, shot_type, seen in _BODY:
        if reach < most:
            return shot_type, seen, clearness
    return ShotType.LS, "the whole body", min(clearness, _clearness(share, _LEAST_LONG_SHARE))


def _clearness(value: float, limit: float) -> float:
    return min(1.0, 0.5 + abs(float(np.log(value / limit))))
