"""Where to crop a frame: where there is something sharp to see, and with the face if there is one."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import Box

Picture = npt.NDArray[np.uint8]

_STEP_PX = 16
_MOST_CONTENT = 24.0  # levels (RMS difference) of a step: one lamp's edge does not outweigh a musician


def choose_crops(picture: Picture, size_px: int, *, count: int = 1, faces: Sequence[Box] = ()) -> list[Box]:
    """Squares of a frame with the most content, best first, none over another.

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
    """Every 16 px, and the last possible one."""
    return np.unique([*range(0, room_px + 1, _STEP_PX), room_px])


def _content(
    picture: Picture, size_px: int, tops: npt.NDArray[np.intp], lefts: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """(tops, lefts) sum of local contrast at pixel level."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    along_x, along_y = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1)
    contrast = np.sqrt(cv2.boxFilter(along_x**2 + along_y**2, -1, (_STEP_PX, _STEP_PX)))
    whole = cv2.integral(np.minimum(contrast, _MOST_CONTENT), sdepth=cv2.CV_64F)
    bottoms, rights = tops + size_px, lefts + size_px
    sums = whole[np.ix_(bottoms, rights)] - whole[np.ix_(tops, rights)]
    return np.asarray(sums - whole[np.ix_(bottoms, lefts)] + whole[np.ix_(tops, lefts)], dtype=np.float64)


def _with_face(
    faces: Sequence[Box], size_px: int, tops: npt.NDArray[np.intp], lefts: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """(tops, lefts) whether the square holds the largest face as far as it can."""
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
