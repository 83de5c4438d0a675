"""Where the picture moves from one frame of a stream to the next.

Dense optical flow between the inputs is found, and how far it can be believed. Results are averaged along it
(steadiness.py). Each cell of the frame also gets one velocity, because what moves is blurred along its motion, and no
further than it moved (models/motion_prior.py).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.optical_flow import LEAST_SIDE_PX, pixel_grid
from concertdeblur.frame import Pixels, full_scale
from concertdeblur.models.path_search import STEPS, STRIDE_PX

Plane: TypeAlias = npt.NDArray[np.float32]

# Larger frames are reduced to about this size before motion is searched. EXPERIMENTS.md, 2026-11-29, "motion is
# searched at less than half the area", compares it with a larger one.
_FLOW_AREA_PX = 640 * 360
# The input is compared with its moved predecessor: motion is fully believed up to this mean difference over 5x5 px, in
# [0, 1], and from twice as much on it is not believed at all. The tolerance grows with the median difference of the
# whole frame, because noise, a scaler's grid and compression make all of it differ.
_TOLERANCE = 3 / 255
_TOLERANCE_OF_MEDIAN = 2.0
_HIGHEST_TOLERANCE = 8 / 255
# The spread of the motion within 9x9 px, in reduced px. Up to the first value motion is believed, from the second on it
# is not. Motion varies at the edges of moving things, and where none was found. EXPERIMENTS.md, 2026-11-23, "bold
# filters and steadiness", has the figures.
_MOTION_SPREAD_PX = (0.2, 0.6)
_CUT = 0.5  # a median difference above this share of the input's standard deviation is a cut
_CELL_STEP_PX = 4  # reduced px between the samples of a cell's motion
_BELIEVED = 0.5  # a pixel with more belief counts; a cell is known if more than this share of its pixels counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """Where each pixel was in the frame before; at the reduced size."""

    flow: Plane  # (h, w, 2), (x, y) displacements in reduced px
    belief: Plane  # (h, w), 0 to 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reduced:
    """A frame at the reduced size, in which motion is searched."""

    small: Plane  # (h, w, 3) in [0, 1]
    gray: npt.NDArray[np.uint8]  # (h, w)
    size: tuple[int, int]  # height and width of the frame itself


class MotionSearch:
    """Finds the motion of one stream's frames, in order. Keeps one reduced frame; not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setPatchStride(STRIDE_PX)
        self._flow.setGradientDescentIterations(STEPS)
        self._before: _Reduced | None = None

    def next(self, pixels: Pixels) -> Motion | None:
        """The motion since the frame before; None where it shows another scene, or there is none.

        Args:
            pixels: (height, width, 3) RGB, uint8, uint16 or float32 in [0, 1].
        """
        before, now = self._before, _reduced(pixels)
        self._before = now
        if before is None or before.size != now.size or min(now.gray.shape) < LEAST_SIDE_PX:
            return None
        return self._motion(before, now)

    def _motion(self, before: _Reduced, now: _Reduced) -> Motion | None:
        flow = np.asarray(self._flow.calc(now.gray, before.gray, None), dtype=np.float32)  # type: ignore[call-overload]
        height, width = now.gray.shape
        at = flow + pixel_grid(0, height, width)
        moved = cv2.remap(before.small, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        difference = highest_channel(np.abs(cv2.blur(now.small - moved, (5, 5))))
        typical = float(np.median(difference))
        if typical > _CUT * float(now.gray.std()) / 255:
            return None
        tolerance = np.float32(min(_HIGHEST_TOLERANCE, _TOLERANCE + _TOLERANCE_OF_MEDIAN * typical))
        x, y = at[..., 0], at[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        belief = np.clip(2 - difference / tolerance, 0, 1) * inside * _coherence(flow)
        return Motion(flow=flow, belief=belief.astype(np.float32))


def cell_velocities(motion: Motion, height: int, width: int, cell_px: int) -> npt.NDArray[np.float32]:
    """How far the picture moves in each cell of a frame, (rows, columns, 3): x, y in px a frame, and 1 if known.

    Args:
        motion: The motion of the frame.
        height: The frame's height, px.
        width: The frame's width, px.
        cell_px: Side of a cell.
    """
    rows, columns = -(-height // cell_px), -(-width // cell_px)
    made = np.zeros((rows, columns, 3), np.float32)
    small_height, small_width = motion.belief.shape
    to_small = np.array([small_height / height, small_width / width])
    for row in range(rows):
        for column in range(columns):
            first = np.floor(np.array([row, column]) * cell_px * to_small).astype(int)
            last = np.ceil(np.array([row + 1, column + 1]) * cell_px * to_small).astype(int)
            cell = tuple(slice(a, max(a + 1, b), _CELL_STEP_PX) for a, b in zip(first, last, strict=True))
            believed = motion.belief[cell] > _BELIEVED
            if believed.mean() > _BELIEVED:
                made[row, column, :2] = -np.median(motion.flow[cell][believed], axis=0) / to_small[::-1]
                made[row, column, 2] = 1
    return made


def _coherence(flow: Plane) -> Plane:
    """How much the motion is like that of its surroundings, from 0 to 1, (h, w)."""
    variance = cv2.blur(flow * flow, (9, 9)) - cv2.blur(flow, (9, 9)) ** 2
    spread = np.sqrt(np.maximum(variance[..., 0] + variance[..., 1], 0))
    low, high = _MOTION_SPREAD_PX
    return np.asarray(np.clip((high - spread) / np.float32(high - low), 0, 1), dtype=np.float32)


def _reduced(pixels: Pixels) -> _Reduced:
    """The input in [0, 1], and its luma in 8 bits, at the size in which motion is searched."""
    height, width = pixels.shape[:2]
    factor = min(1.0, (_FLOW_AREA_PX / (height * width)) ** 0.5)
    reduced: npt.NDArray[Any] = pixels
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small = in_unit_range(reduced)
    eight_bit = reduced
    if reduced.dtype != np.uint8:
        eight_bit = (small * 255 + np.float32(0.5)).astype(np.uint8)
    gray = np.asarray(cv2.cvtColor(eight_bit, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return _Reduced(small=small, gray=gray, size=(height, width))


def in_unit_range(pixels: Pixels) -> Plane:
    """Pixels as float32 in [0, 1]. In a float picture NaN becomes 0, and what lies outside becomes the nearer end."""
    levels = np.asarray(pixels, dtype=np.float32)
    if pixels.dtype != np.float32:
        return levels / np.float32(full_scale(pixels))
    return np.asarray(np.clip(np.nan_to_num(levels), 0, 1), dtype=np.float32)


def highest_channel(picture: npt.NDArray[Any]) -> Plane:
    """The highest of three channels, (H, W, 3) -> (H, W)."""
    red, green, blue = cv2.split(picture)  # numpy's maximum along a short last axis takes ten times as long
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.float32)
