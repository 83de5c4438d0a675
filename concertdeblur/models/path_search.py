"""Search of the optical flow that paths are made of (path_taps.py).

Flow is searched at a low resolution. Between blurred frames there are two searches. Where the content moves far, its
smear is long, and only a smooth coarse flow is right. Where it moves little, a flow that is searched down to the finest
level aligns the neighbours better (EXPERIMENTS.md, 2026-11-30, "finer flow"). So the fine flow is believed where it is
near the coarse one, and where that is short. G_i's results are sharper, and between them the fine search does alone,
with less smoothing.

The fine search goes from a frame to the next. The way back is that flow inverted, which costs less than another search
and gains more. The coarse search goes both ways: about a lamp that flashes both are wrong in the same way, so their
difference, the velocity, is hardly wrong.
"""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.models.path_taps import Flow, Samples

Luma: TypeAlias = npt.NDArray[np.uint8]  # (h, w), grey levels in which flow is searched

_AREA_PX = 320 * 180  # of the frame in which flow is searched
_LEAST_SIDE_PX = 24  # smaller frames have no room for a search
_SMOOTHNESS = 60.0  # weight of the searches' smoothness term

_INVERSION_ROUNDS = 2
# Of fine searches: patches at every fifth pixel and twelve steps for each, instead of the usual 4 and 25. That is half
# of the time, and gains as much.
_FINE_STRIDE_PX, _FINE_STEPS = 5, 12

# between blurred frames, in reduced px
_COARSE_LEVEL = 1  # the coarse search ends at half of the reduced size
_SOFTNESS_PX = 2.5
_AGREEMENT_PX = 1.0  # fine flow that is so far from the coarse one is believed to 1/e
# of the coarse flow: up to here the fine one is believed in full, and from twice as much on not at all
_NEAR_PX = 4.0

# between results
_RESULTS_ROUNDS = 1  # of smoothing at each level; the usual five take longer and gain nothing
_RESULTS_SOFTNESS_PX = 1.5


class PathSearch:
    """Finds the flow between two blurred frames. Not thread-safe."""

    def __init__(self) -> None:
        self._coarse, self._fine = _search(_COARSE_LEVEL), _fine_search()

    def flows(self, first: Luma, second: Luma, height: int, width: int) -> tuple[Flow, Flow] | None:
        """Flow from one reduced luma (`reduced_luma`) to the next and back, in px of a frame of (height, width).

        Returns None where the frames are too small for a search.
        """
        if min(first.shape) < _LEAST_SIDE_PX:
            return None
        there = _found(self._fine, first, second, _SOFTNESS_PX)
        ways = ((there, first, second), (_inverse(there), second, first))
        there, back = (self._believed(fine, *pair) for fine, *pair in ways)
        return _in_frame(there, height, width), _in_frame(back, height, width)

    def _believed(self, fine: Flow, first: Luma, second: Luma) -> Flow:
        """The coarse flow, and the fine one as far as it is believed."""
        coarse = _found(self._coarse, first, second, _SOFTNESS_PX)
        astray = np.square((fine - coarse) / _AGREEMENT_PX).sum(-1)
        length = np.sqrt(np.square(coarse).sum(-1))
        belief = np.exp(-astray) * np.clip(2 - length / _NEAR_PX, 0, 1)
        return np.asarray(coarse + belief[..., None] * (fine - coarse), dtype=np.float32)


class ResultSearch:
    """Finds the flow between G_i's results of two frames. Not thread-safe."""

    def __init__(self) -> None:
        self._search = _fine_search()
        self._search.setVariationalRefinementIterations(_RESULTS_ROUNDS)

    def flows(self, first: Luma, second: Luma, height: int, width: int) -> tuple[Flow, Flow] | None:
        """As `PathSearch.flows`."""
        if min(first.shape) < _LEAST_SIDE_PX:
            return None
        there = _found(self._search, first, second, _RESULTS_SOFTNESS_PX)
        return _in_frame(there, height, width), _in_frame(_inverse(there), height, width)


def _fine_search() -> cv2.DISOpticalFlow:
    search = _search(0)
    search.setPatchStride(_FINE_STRIDE_PX)
    search.setGradientDescentIterations(_FINE_STEPS)
    return search


def _search(finest_level: int) -> cv2.DISOpticalFlow:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest_level)
    search.setVariationalRefinementAlpha(_SMOOTHNESS)
    return search


def _found(search: cv2.DISOpticalFlow, first: Luma, second: Luma, softness_px: float) -> Flow:
    found = search.calc(first, second, None)  # type: ignore[call-overload]
    return np.asarray(cv2.GaussianBlur(found, (0, 0), softness_px), dtype=np.float32)


def _in_frame(flow: Flow, height: int, width: int) -> Flow:
    """A reduced flow in px of a frame of (height, width)."""
    return flow * np.array([width / flow.shape[1], height / flow.shape[0]], dtype=np.float32)


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


def reduced_luma(pixels: Samples) -> Luma:
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
