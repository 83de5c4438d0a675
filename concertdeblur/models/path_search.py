"""Search of the optical flow that paths are made of (path_taps.py).

Flow is searched at a low resolution. Blurred frames show no finer motion, and a smooth path undoes blur better than a
detailed one (EXPERIMENTS.md, 2026-11-29: a linear filter on taps gains twice as many dB with it). G_i's results are
sharper, so between them the search goes down to a finer level, and its flow is smoothed less (2026-11-30, "flow between
results").
"""

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.models.path_taps import Flow, Samples

_AREA_PX = 320 * 180  # of the frame in which flow is searched
_LEAST_SIDE_PX = 24  # smaller frames have no room for a search
_SMOOTHNESS = 60.0  # weight of the searches' smoothness term

# between blurred frames
_FINEST_LEVEL = 1  # the search ends at half of the reduced size
_SOFTNESS_PX = 2.5  # of the flow, reduced px

# between results
# Patches at every fifth pixel, half of the usual steps for each, and one round of smoothing at each level instead of
# five: a third of the time, and the same gain.
_RESULTS_STRIDE, _RESULTS_STEPS, _RESULTS_ROUNDS = 5, 12, 1
_RESULTS_SOFTNESS_PX = 1.5
_INVERSION_ROUNDS = 2


class PathSearch:
    """Finds the flow between two blurred frames as paths want it. Not thread-safe."""

    def __init__(self) -> None:
        self._search = _search(_FINEST_LEVEL)

    def flow(self, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], height: int, width: int) -> Flow | None:
        """Flow from one reduced luma (`reduced_luma`) to another, in px of a frame of (height, width).

        Returns None where the frames are too small for a search.
        """
        if min(first.shape) < _LEAST_SIDE_PX:
            return None
        return _in_frame(_found(self._search, first, second), _SOFTNESS_PX, height, width)


class ResultSearch:
    """Finds the flow between G_i's results of two frames. Not thread-safe."""

    def __init__(self) -> None:
        self._search = _search(0)
        self._search.setPatchStride(_RESULTS_STRIDE)
        self._search.setGradientDescentIterations(_RESULTS_STEPS)
        self._search.setVariationalRefinementIterations(_RESULTS_ROUNDS)

    def flows(
        self, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], height: int, width: int
    ) -> tuple[Flow, Flow] | None:
        """Flow from one reduced luma to the next and back, in px of a frame of (height, width).

        The way back is not searched, which would take as long again, but inverted.

        Returns None where the frames are too small for a search.
        """
        if min(first.shape) < _LEAST_SIDE_PX:
            return None
        there = _found(self._search, first, second)
        return (
            _in_frame(there, _RESULTS_SOFTNESS_PX, height, width),
            _in_frame(_inverse(there), _RESULTS_SOFTNESS_PX, height, width),
        )


def _search(finest_level: int) -> cv2.DISOpticalFlow:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest_level)
    search.setVariationalRefinementAlpha(_SMOOTHNESS)
    return search


def _found(search: cv2.DISOpticalFlow, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> Flow:
    return np.asarray(search.calc(first, second, None), dtype=np.float32)  # type: ignore[call-overload]


def _in_frame(found: Flow, softness_px: float, height: int, width: int) -> Flow:
    """A flow that was found, softened, in px of a frame of (height, width)."""
    soft = np.asarray(cv2.GaussianBlur(found, (0, 0), softness_px), dtype=np.float32)
    return soft * np.array([width / found.shape[1], height / found.shape[0]], dtype=np.float32)


def _inverse(flow: Flow) -> Flow:
    """The flow back: at each place x the g for which g = -flow(x + g), found by repetition."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    back = -flow
    for _ in range(_INVERSION_ROUNDS):
        places = x + back[..., 0], y + back[..., 1]
        moved = cv2.remap(flow, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        back = -np.asarray(moved, dtype=np.float32)
    return back


def reduced_luma(pixels: Samples) -> npt.NDArray[np.uint8]:
    """The grey levels in which flow is searched, of a frame (height, width, 3), uint8 or float32 in [0, 1]."""
    height, width = reduced_size(*pixels.shape[:2])
    if (height, width) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    if pixels.dtype != np.uint8:
        pixels = (pixels * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in which flow is searched in a frame of that size."""
    factor = min(1.0, (_AREA_PX / (height * width)) ** 0.5)
    return (height, width) if factor == 1 else (max(1, round(height * factor)), max(1, round(width * factor)))
