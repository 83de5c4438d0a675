"""The places where a frame is cropped: something sharp is there, and the face if there is one."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.sharpness import judge, measure

Picture = npt.NDArray[np.uint8]

_STEP_PX = 16
_REGION_PX = 32
_MOST_CONTRAST = 60.0  # levels (RMS difference): one lamp does not outweigh a musician
_SOFT, _SHARP = 0.4, 1.0  # sharpness of a region whose contrast does not count, and of one whose contrast counts fully


def choose_crops(picture: Picture, size_px: int, *, count: int = 1, faces: Sequence[Box] = ()) -> list[Box]:
    """The squares of a frame with the most content, best first; none overlaps another.

    Args:
        picture: (height, width, 3) RGB, at least `size_px` on either side.
        size_px: Side of a square.
        count: How many at most.
        faces: Faces in it, in px: the first square holds the largest, or its middle if it is larger than the square.

    """
    tops, lefts = (_positions(side - size_px) for side in picture.shape[:2])
    content = _content(picture, size_px, tops, lefts)
    allowed = _with_face(faces, size_px, tops, lefts) if faces else np.ones_like(content, dtype=bool)
    crops: list[Box] = []
    for _ in range(count):
        if not allowed.any():
            break
        best = int(np.argmax(np.where(allowed, content, -1)))
        top, left = int(tops[best // len(lefts)]), int(lefts[best % len(lefts)])
        crops.append(Box(top, left, size_px, size_px))
        if len(crops) == 1:
            allowed = np.ones_like(allowed)
        allowed &= (np.abs(tops - top) >= size_px)[:, None] | (np.abs(lefts - left) >= size_px)[None]
    return crops


def cut(picture: Picture, crop: Box) -> Picture:
    """A part of a picture, as an array of its own."""
    return np.ascontiguousarray(picture[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width])


def _positions(room_px: int) -> npt.NDArray[np.intp]:
    """Positions every 16 px, and the last possible one."""
    return np.unique([*range(0, room_px + 1, _STEP_PX), room_px])


def _content(
    picture: Picture, size_px: int, tops: npt.NDArray[np.intp], lefts: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """(tops, lefts) sum of the sharp contrast over each square; contrast that is out of focus does not count."""
    judged = judge(measure(_grey(picture), side_px=_REGION_PX))
    contrast_RC = np.minimum(judged.weight_DRC.sum(axis=0), _MOST_CONTRAST)
    softest_RC = np.where(judged.weight_DRC > 0, judged.score_DRC, np.inf).min(axis=0)
    focus_RC = np.clip((np.where(np.isfinite(softest_RC), softest_RC, 0) - _SOFT) / (_SHARP - _SOFT), 0, 1)
    content_RC = (contrast_RC * focus_RC).astype(np.float32)
    content_HW = cv2.resize(content_RC, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    whole = cv2.integral(content_HW, sdepth=cv2.CV_64F)
    bottoms, rights = tops + size_px, lefts + size_px
    sums = whole[np.ix_(bottoms, rights)] - whole[np.ix_(tops, rights)]
    return np.asarray(sums - whole[np.ix_(bottoms, lefts)] + whole[np.ix_(tops, lefts)], dtype=np.float64)


def _grey(picture: Picture) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _with_face(
    faces: Sequence[Box], size_px: int, tops: npt.NDArray[np.intp], lefts: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """(tops, lefts) whether the square holds the largest face, or as much of it as fits."""
    face = max(faces, key=lambda box: box.height * box.width)
    rows = _holding(face.y, face.height, size_px, tops)
    columns = _holding(face.x, face.width, size_px, lefts)
    return np.asarray(rows[:, None] & columns[None], dtype=bool)


def _holding(start: int, length: int, size_px: int, starts: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    if length <= size_px - _STEP_PX:
        held = (starts <= start) & (starts + size_px >= start + length)
        if held.any():
            return np.asarray(held, dtype=bool)
    aim = start + length / 2 - size_px / 2
    return np.asarray(np.arange(len(starts)) == np.argmin(np.abs(starts - aim)), dtype=bool)
