"""Deblurred frames made steady in time: each is averaged with the one before, moved along the motion.

Deblurring amplifies every difference between the blurred frames of one scene: rounding, noise, the grid of a scaler,
what lies beyond the border. The differences change from frame to frame, so the picture flickers. Here each result is
averaged with the earlier ones along the optical flow of the input. The average has four bounds:

- It is taken only where the input agrees with its moved predecessor.
- A pixel never leaves the range of its neighbourhood in the current result by more than `_MARGIN`.
- A pixel does not move further than deblurring moved its surroundings.
- A pixel that deblurring left alone stays exactly as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from concertdeblur.blur.optical_flow import pixel_grid
from concertdeblur.deblurring.motion import Motion, Plane, highest_channel, in_unit_range
from concertdeblur.frame import Pixels
from concertdeblur.models.path_taps import Flow

# The largest share of the frame before in a pixel that moves, was restored along its motion and differs from the frame
# before. Such results are so sharp that a larger share would blur them. EXPERIMENTS.md, 2026-11-29, "what stood between
# the networks and the video".
_MOST_OF_MOVING = 0.2
_MOVING_PX = (0.5, 1.5)  # reduced px a frame; the cap begins at the first and is in full force at the second
# A frame that moved faster than this one was blurred further, and its result is less sharp: the cap falls with the
# square of the ratio of the speeds, to each of which so many px a frame are added. EXPERIMENTS.md, 2026-11-29, "what
# steadying takes from sharp frames".
_SPEED_FLOOR_PX = 1.0
_FLICKER = (3 / 255, 9 / 255)  # a difference up to the first is flicker, one above the second is not
_CURRENT_SHARE = 0.16  # share of the current frame in the average, once that has settled
_FIRST_WEIGHT = 4.0  # a scene's first frame counts as four, so that its first second is steady, too
_NEIGHBOURHOOD_PX = 5
_MARGIN = np.float32(1 / 255)  # faint ringing in flat areas lies outside the neighbourhood's range by so much
_MOST_OF_CHANGE = 2.0  # times the mean change that deblurring made around a pixel
_UNBOUNDED = np.float32(1e6)
_BAND_PX = 64  # rows that are averaged at a time; they fit into the processor's cache


@dataclass(frozen=True, kw_only=True, slots=True)
class _Before:
    """What is kept of the frame before."""

    result: Plane  # (H, W, 3), steadied
    weight: Plane | None  # (h, w) reduced, how many frames the average counts as; None: it is a scene's first frame
    speed: Plane | None  # (h, w) of any size, px of the full frame a frame; None: not restored along its motion


@dataclass(frozen=True, kw_only=True, slots=True)
class _Carried:
    """Where each pixel was in the frame before, and how much it may count in the average; at the reduced size."""

    flow: Plane  # (h, w, 2), (x, y) displacements in reduced px
    share: Plane  # (h, w), share of the frame before in the average, 0 to 1
    most: Plane  # (h, w), the largest share where the frame before differs much
    weight: Plane  # (h, w), how many frames are then in it


class Steadier:
    """Steadies the results of one stream's frames, in order. Keeps one frame; not thread-safe."""

    def __init__(self) -> None:
        self._before: _Before | None = None

    def steady(self, pixels: Pixels, result: Plane, motion: Motion | None, *, velocity: Flow | None = None) -> Plane:
        """Average one frame's result with those of earlier frames.

        Args:
            pixels: The input, (height, width, 3) RGB, uint8, uint16 or float32 in [0, 1].
            result: Its deblurred version before quantisation, float32 in [0, 1]; not changed.
            motion: The motion of the input since the frame before; None: this frame begins a new average.
            velocity: Of the path along which the frame was restored, (h, w, 2) of any size, px of the full frame a
                frame; None: it was not restored along its motion.

        Returns:
            The steadied result, float32 in [0, 1]; `result` itself where nothing is carried over.
        """
        before, self._before = self._before, None
        weight = None
        steadied = result
        speed = None if velocity is None else np.hypot(velocity[..., 0], velocity[..., 1])
        if before is not None and motion is not None and before.result.shape == result.shape:
            change = np.asarray(cv2.absdiff(in_unit_range(pixels), result), dtype=np.float32)
            if change.any():
                carried = _carried(before, motion, speed)
                weight = carried.weight
                steadied = _mixed(before.result, result, carried, change)
        self._before = _Before(result=steadied, weight=weight, speed=speed)
        return steadied


def _carried(before: _Before, motion: Motion, speed: Plane | None) -> _Carried:
    height, width = motion.belief.shape
    at = motion.flow + pixel_grid(0, height, width)
    moved: Plane | np.float32 = np.float32(_FIRST_WEIGHT) if before.weight is None else _moved(before.weight, at)
    weight = motion.belief * moved
    share = np.minimum(weight / (weight + 1), motion.belief * np.float32(1 - _CURRENT_SHARE))
    most = np.ones_like(share, dtype=np.float32)
    if speed is not None:
        low, high = _MOVING_PX
        moving = np.clip((np.hypot(motion.flow[..., 0], motion.flow[..., 1]) - low) / (high - low), 0, 1)
        most -= moving.astype(np.float32) * np.float32(1 - _MOST_OF_MOVING)
        if before.speed is not None:
            now, then = _enlarged(speed, width, height), _moved(_enlarged(before.speed, width, height), at)
            most *= np.minimum(1, (now + _SPEED_FLOOR_PX) / (then + _SPEED_FLOOR_PX)) ** 2
    return _Carried(
        flow=motion.flow,
        share=share.astype(np.float32),
        most=most,
        weight=np.clip(weight + 1, _FIRST_WEIGHT, 1 / _CURRENT_SHARE).astype(np.float32),
    )


def _moved(plane: Plane, at: Plane) -> Plane:
    """A plane of the frame before, read at the places (h, w, 2) from which this frame's pixels came."""
    return np.asarray(cv2.remap(plane, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)  # type: ignore[call-overload]


def _mixed(before: Plane, result: Plane, carried: _Carried, change: Plane) -> Plane:
    """The average of the result and its moved predecessor, computed band by band."""
    height, width = result.shape[:2]
    small_height, small_width = carried.share.shape
    around = highest_channel(cv2.resize(change, (small_width, small_height), interpolation=cv2.INTER_AREA))
    around = np.asarray(cv2.blur(cv2.dilate(around, np.ones((3, 3), np.uint8)), (5, 5)), dtype=np.float32)
    planes = (carried.flow, carried.share, carried.most, around)
    flow, share, most_share, around = (_enlarged(plane, width, height) for plane in planes)
    flow *= np.array([width / small_width, height / small_height], dtype=np.float32)
    steadied = np.empty_like(result)
    for band, halo in _bands(height):
        at = flow[band] + pixel_grid(band.start, band.stop, width)
        step = cv2.remap(before, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        now = result[band]
        lowest, highest = _range(result[halo], band, halo)
        np.minimum(np.maximum(step, lowest, out=step), highest, out=step)  # three times as fast as clip
        step -= now
        most = change[band] * _UNBOUNDED  # 0 where deblurring changed nothing
        np.minimum(most, cv2.merge([around[band] * np.float32(_MOST_OF_CHANGE)] * 3), out=most)
        np.minimum(step, most, out=step)
        np.maximum(step, np.negative(most, out=most), out=step)
        step *= cv2.merge([_capped_share(share[band], most_share[band], step)] * 3)
        step += now
        np.clip(step, 0, 1, out=steadied[band])
    return steadied


def _capped_share(share: Plane, most: Plane, step: Plane) -> Plane:
    """The share of the frame before, capped by `most` where that frame differs by more than flicker."""
    low, high = _FLICKER
    much = np.clip((highest_channel(np.abs(step)) - low) / np.float32(high - low), 0, 1)
    return np.asarray(np.minimum(share, 1 - much * (1 - most)), dtype=np.float32)


def _bands(height: int) -> Iterator[tuple[slice, slice]]:
    """The rows of each band, and the rows of the band with its neighbourhood."""
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
