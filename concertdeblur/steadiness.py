"""Deblurred frames made steady in time: each is averaged with the one before, moved along the motion.

Deblurring amplifies whatever differs between the blurred frames of one scene (rounding, noise, the grid of
a scaler, what lies beyond the border), in every frame in another way: the picture flickers. Here the
result is a recursive average along the optical flow of the input. What bounds it: the average is taken
only where the input agrees with its moved predecessor, a pixel never leaves the range of its
neighbourhood in the current result by more than `_MARGIN`, nor moves further than deblurring moved its
surroundings, and what deblurring left alone stays exactly as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.frame import Pixels, full_scale

Plane: TypeAlias = npt.NDArray[np.float32]

# Larger frames are reduced to about this for motion. On a 720p pan the warping error is 7.46 times the original's
# without steadying, 2.25 times with motion from 640x360, 1.06 from 960x540, 0.89 from the full size; a motion search
# takes about 30, 80 and 150 ms on one core.
_FLOW_AREA_PX = 960 * 540
_LEAST_SIDE_PX = 24  # smaller (reduced) frames have no room for motion search
_CURRENT_SHARE = 0.16  # of a frame in the running average once it has settled
_FIRST_WEIGHT = 4.0  # a scene's first frame counts four times: short clips and first seconds are steady too
# Mean difference of the input from its moved predecessor, over 5x5 px, up to which motion is believed, in [0, 1];
# twice that is not believed at all. More where the whole input differs: noise, a scaler's grid, compression.
_TOLERANCE = 3 / 255
_TOLERANCE_OF_MEDIAN = 2.0
_HIGHEST_TOLERANCE = 8 / 255
# Spread of the motion within 9x9 px, in reduced px: up to the first it is believed, from the second on not. Where
# it varies there are edges of moving things, or nothing was found. Costs no steadiness on pans and zooms, and
# halves what a street scene with bicycles loses in PSNR.
_MOTION_SPREAD_PX = (0.2, 0.6)
_CUT = 0.5  # median difference, as a share of the input's standard deviation, that ends all memory
_NEIGHBOURHOOD_PX = 5
_MARGIN = np.float32(1 / 255)  # beyond the neighbourhood's range: faint ringing in flat areas lies there
_MOST_OF_CHANGE = 2.0  # times the mean change that deblurring made around a pixel
_UNBOUNDED = np.float32(1e6)
_BAND_PX = 64  # rows worked on at a time: they stay in the cache


@dataclass(frozen=True, kw_only=True, slots=True)
class _Before:
    """What the frame before left."""

    result: Plane  # (H, W, 3), steadied
    small: Plane  # (h, w, 3), the reduced input in [0, 1]
    gray: npt.NDArray[np.uint8]  # (h, w), the same
    weight: Plane  # (h, w), how many frames the average counts as


@dataclass(frozen=True, kw_only=True, slots=True)
class _Carried:
    """Where each pixel was in the frame before, and how much of it may come along; all reduced."""

    flow: Plane  # (h, w, 2), (x, y) displacements in reduced px
    share: Plane  # (h, w), of the frame before in the average, 0 to 1
    weight: Plane  # (h, w), how many frames are then in it


class Steadier:
    """Steadies the results of one stream's frames, in order. Keeps one frame; not thread-safe."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: _Before | None = None

    def steady(self, pixels: Pixels, result: Plane) -> Plane:
        """Average one frame's result with what earlier frames left of it.

        Args:
            pixels: The input, (height, width, 3) RGB, uint8, uint16 or float32 in [0, 1].
            result: Its deblurred version before quantisation, float32 in [0, 1]; not changed.

        Returns:
            The steadied result, float32 in [0, 1]; `result` itself where nothing is carried over.
        """
        small, gray = _reduced(pixels)
        before, self._before = self._before, None
        weight: Plane = np.full(gray.shape, _FIRST_WEIGHT, np.float32)
        steadied = result
        if min(gray.shape) >= _LEAST_SIDE_PX:
            frame = np.asarray(pixels, dtype=np.float32) / np.float32(full_scale(pixels))
            change = np.asarray(cv2.absdiff(frame, result), dtype=np.float32)
            if before is not None and before.result.shape == result.shape and change.any():
                carried = self._carried(before, small, gray)
                if carried is not None:
                    weight = carried.weight
                    steadied = _mixed(before.result, result, carried, change)
            self._before = _Before(result=steadied, small=small, gray=gray, weight=weight)
        return steadied

    def _carried(self, before: _Before, small: Plane, gray: npt.NDArray[np.uint8]) -> _Carried | None:
        """None if the two frames do not show the same scene."""
        flow = np.asarray(self._flow.calc(gray, before.gray, None), dtype=np.float32)  # type: ignore[call-overload]
        height, width = gray.shape
        at = flow + _grid(0, height, width)
        moved = cv2.remap(before.small, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        difference = _highest_channel(np.abs(cv2.blur(small - moved, (5, 5))))
        typical = float(np.median(difference))
        if typical > _CUT * float(gray.std()) / 255:
            return None
        tolerance = np.float32(min(_HIGHEST_TOLERANCE, _TOLERANCE + _TOLERANCE_OF_MEDIAN * typical))
        x, y = at[..., 0], at[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        belief = np.clip(2 - difference / tolerance, 0, 1) * inside * _coherence(flow)
        weight = belief * cv2.remap(before.weight, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        share = np.minimum(weight / (weight + 1), belief * np.float32(1 - _CURRENT_SHARE))
        return _Carried(
            flow=flow,
            share=share.astype(np.float32),
            weight=np.clip(weight + 1, _FIRST_WEIGHT, 1 / _CURRENT_SHARE).astype(np.float32),
        )


def _coherence(flow: Plane) -> Plane:
    """1 where the motion is that of its surroundings, down to 0, (h, w)."""
    variance = cv2.blur(flow * flow, (9, 9)) - cv2.blur(flow, (9, 9)) ** 2
    spread = np.sqrt(np.maximum(variance[..., 0] + variance[..., 1], 0))
    low, high = _MOTION_SPREAD_PX
    return np.asarray(np.clip((high - spread) / np.float32(high - low), 0, 1), dtype=np.float32)


def _reduced(pixels: Pixels) -> tuple[Plane, npt.NDArray[np.uint8]]:
    """The input in [0, 1], and its luma in 8 bits, at the size in which motion is searched."""
    height, width = pixels.shape[:2]
    factor = min(1.0, (_FLOW_AREA_PX / (height * width)) ** 0.5)
    reduced: npt.NDArray[Any] = pixels
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        reduced = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small = np.asarray(reduced, dtype=np.float32) / np.float32(full_scale(pixels))
    eight_bit = reduced
    if reduced.dtype != np.uint8:
        eight_bit = np.clip(np.nan_to_num(small) * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return small, np.asarray(cv2.cvtColor(eight_bit, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _mixed(before: Plane, result: Plane, carried: _Carried, change: Plane) -> Plane:
    """The result with the moved predecessor's share in it, band by band."""
    height, width = result.shape[:2]
    small_height, small_width = carried.share.shape
    around = _highest_channel(cv2.resize(change, (small_width, small_height), interpolation=cv2.INTER_AREA))
    around = np.asarray(cv2.blur(cv2.dilate(around, np.ones((3, 3), np.uint8)), (5, 5)), dtype=np.float32)
    flow, share, around = (_enlarged(plane, width, height) for plane in (carried.flow, carried.share, around))
    flow *= np.array([width / small_width, height / small_height], dtype=np.float32)
    steadied = np.empty_like(result)
    for band, halo in _bands(height):
        at = flow[band] + _grid(band.start, band.stop, width)
        step = cv2.remap(before, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        now = result[band]
        lowest, highest = _range(result[halo], band, halo)
        np.minimum(np.maximum(step, lowest, out=step), highest, out=step)  # three times as fast as clip
        step -= now
        most = change[band] * _UNBOUNDED  # 0 where deblurring changed nothing
        np.minimum(most, cv2.merge([around[band] * np.float32(_MOST_OF_CHANGE)] * 3), out=most)
        np.minimum(step, most, out=step)
        np.maximum(step, np.negative(most, out=most), out=step)
        step *= cv2.merge([share[band]] * 3)
        step += now
        np.clip(step, 0, 1, out=steadied[band])
    return steadied


def _bands(height: int) -> Iterator[tuple[slice, slice]]:
    """Rows of each band, and with as many more as the neighbourhood needs."""
    reach = _NEIGHBOURHOOD_PX // 2
    for start in range(0, height, _BAND_PX):
        stop = min(height, start + _BAND_PX)
        yield slice(start, stop), slice(max(0, start - reach), min(height, stop + reach))


def _range(rows: Plane, band: slice, halo: slice) -> tuple[Plane, Plane]:
    """Lowest and highest value around each pixel of the band, with the margin."""
    kernel = np.ones((_NEIGHBOURHOOD_PX, _NEIGHBOURHOOD_PX), np.uint8)
    inner = slice(band.start - halo.start, band.stop - halo.start)
    return cv2.erode(rows, kernel)[inner] - _MARGIN, cv2.dilate(rows, kernel)[inner] + _MARGIN


def _enlarged(small: Plane, width: int, height: int) -> Plane:
    """A copy of a reduced plane at the frame's size."""
    if small.shape[:2] == (height, width):
        return small.copy()
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _highest_channel(picture: npt.NDArray[Any]) -> Plane:
    """(H, W, 3) -> (H, W)."""
    red, green, blue = cv2.split(picture)  # numpy's maximum along a short last axis takes ten times as long
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.float32)


def _grid(start: int, stop: int, width: int) -> Plane:
    """Coordinates (x, y) of each pixel of rows `start` to `stop`, (rows, width, 2)."""
    grid = np.empty((stop - start, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(start, stop, dtype=np.float32)[:, None]
    return grid
