"""Search of the optical flow that paths are made of (path_taps.py).

Flow is searched at a low resolution. Between blurred frames there are two searches. Where the content moves far, its
smear is long, and only a smooth coarse flow is right. Where it moves little, a flow that is searched down to the finest
level aligns the neighbours better (EXPERIMENTS.md, 2026-11-30, "finer flow"). So the fine flow is believed where it is
near the coarse one, and where that is short. A lamp that flashes has no counterpart in the next frame: where the frames
do not match along the flow, it is taken from the surroundings. G_i's results are sharper, and between them the fine
search does alone, with less smoothing.

Flow is searched from a frame to the next. The way back is that flow inverted, which costs less than another search and
gains more.

A neighbour is worth nothing where it does not show the same content: where a lamp is lit in one of the frames only,
where something covers the content, or where the flow is wrong. `believed` finds these places. Two frames of the same
content may be smeared differently, so their pixels differ; but a smear moves light by a few pixels only, so the mean
light about a place stays. Where the means differ, the content does, too (EXPERIMENTS.md, 2026-11-30, "belief in
neighbours").
"""

from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.optical_flow import LEAST_SIDE_PX
from concertdeblur.models.path_taps import Belief, Flow, Path, Samples

Luma: TypeAlias = npt.NDArray[np.uint8]  # (h, w), grey levels in which flow is searched
Plane: TypeAlias = npt.NDArray[np.float32]  # (h, w), or (h, w, 2)

_AREA_PX = 320 * 180  # of the frame in which flow is searched
_SMOOTHNESS = 60.0  # weight of the searches' smoothness term

_INVERSION_ROUNDS = 2
# Of fine searches: patches at every fifth pixel and twelve steps for each, instead of the usual 3 and 25. That is half
# of the time, and gains as much.
STRIDE_PX, STEPS = 5, 12

# between blurred frames, in reduced px
_COARSE_LEVEL = 1  # the coarse search ends at half of the reduced size
_SOFTNESS_PX = 2.5
_AGREEMENT_PX = 1.0  # fine flow that is so far from the coarse one is believed to 1/e
# of the coarse flow: up to here the fine one is believed in full, and from twice as much on not at all
_NEAR_PX = 4.0
_MISMATCH = 30.0  # grey levels: flow along which frames differ so much is its own to 1/e, the rest the surroundings'
_MATCHED_PX, _FILLED_PX = 1.0, 6.0  # standard deviations of the place that must match, and of the surroundings

# of the belief in a neighbour
_LIGHT_PX = 4.0  # standard deviation of the surroundings whose mean light is compared, in reduced px
_OTHER_LIGHT = 12.0  # grey levels: belief is full up to here, and from twice as much on there is none

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
        if min(first.shape) < LEAST_SIDE_PX:
            return None
        coarse, fine = (_found(search, first, second, _SOFTNESS_PX) for search in (self._coarse, self._fine))
        there = _believed(fine, coarse)
        there, back = _filled(there, first, second), _filled(_inverse(there), second, first)
        return _in_frame(there, height, width), _in_frame(back, height, width)


class ResultSearch:
    """Finds the flow between G_i's results of two frames. Not thread-safe."""

    def __init__(self) -> None:
        self._search = _fine_search()
        self._search.setVariationalRefinementIterations(_RESULTS_ROUNDS)

    def flows(self, first: Luma, second: Luma, height: int, width: int) -> tuple[Flow, Flow] | None:
        """As `PathSearch.flows`."""
        if min(first.shape) < LEAST_SIDE_PX:
            return None
        there = _found(self._search, first, second, _RESULTS_SOFTNESS_PX)
        return _in_frame(there, height, width), _in_frame(_inverse(there), height, width)


def with_beliefs(path: Path, before: Luma | None, own: Luma, after: Luma | None, height: int, width: int) -> Path:
    """A path with the belief in each neighbour; a neighbour that is missing, or to which there is no flow, has none.

    Args:
        path: Of a frame of (height, width), with flows of the lumas' size.
        before: The reduced luma of the frame before it (`reduced_luma`).
        own: That of the frame.
        after: That of the frame after it.
        height: Of the frame, px.
        width: Of the frame, px.
    """
    in_before, in_after = (
        None if neighbour is None or flow is None else believed(own, neighbour, flow, height, width)
        for neighbour, flow in ((before, path.to_before), (after, path.to_after))
    )
    return replace(path, beliefs=(in_before, in_after))


def believed(own: Luma, neighbour: Luma, flow: Flow, height: int, width: int) -> Belief:
    """The share to which a neighbour's samples count in each place of a frame, (h, w).

    Args:
        own: The frame's reduced luma (`reduced_luma`).
        neighbour: That of the neighbour.
        flow: From the frame to the neighbour, of the lumas' size, in px of a frame of (height, width).
        height: See `flow`.
        width: See `flow`.
    """
    reduced = flow * np.array([own.shape[1] / width, own.shape[0] / height], dtype=np.float32)
    other_light = np.abs(cv2.GaussianBlur(_at(neighbour.astype(np.float32), reduced) - own, (0, 0), _LIGHT_PX))
    return np.asarray(np.clip(2 - other_light / np.float32(_OTHER_LIGHT), 0, 1), dtype=np.float32)


def _fine_search() -> cv2.DISOpticalFlow:
    search = _search(0)
    search.setPatchStride(STRIDE_PX)
    search.setGradientDescentIterations(STEPS)
    return search


def _search(finest_level: int) -> cv2.DISOpticalFlow:
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(finest_level)
    search.setVariationalRefinementAlpha(_SMOOTHNESS)
    return search


def _found(search: cv2.DISOpticalFlow, first: Luma, second: Luma, softness_px: float) -> Flow:
    found = search.calc(first, second, None)  # type: ignore[call-overload]
    return np.asarray(cv2.GaussianBlur(found, (0, 0), softness_px), dtype=np.float32)


def _believed(fine: Flow, coarse: Flow) -> Flow:
    """The coarse flow, and the fine one as far as it is believed."""
    astray = np.square((fine - coarse) / _AGREEMENT_PX).sum(-1)
    length = np.sqrt(np.square(coarse).sum(-1))
    belief = np.exp(-astray) * np.clip(2 - length / _NEAR_PX, 0, 1)
    return np.asarray(coarse + belief[..., None] * (fine - coarse), dtype=np.float32)


def _filled(flow: Flow, first: Luma, second: Luma) -> Flow:
    """The flow, from its surroundings where the frames do not match along it."""
    mismatch = cv2.GaussianBlur(np.abs(_at(second.astype(np.float32), flow) - first), (0, 0), _MATCHED_PX)
    match = np.exp(-np.square(mismatch / _MISMATCH))[..., None]
    total = cv2.GaussianBlur(match, (0, 0), _FILLED_PX)[..., None] + np.float32(1e-3)
    around = cv2.GaussianBlur(flow * match, (0, 0), _FILLED_PX) / total
    return np.asarray(around + match * (flow - around), dtype=np.float32)


def _in_frame(flow: Flow, height: int, width: int) -> Flow:
    """A reduced flow in px of a frame of (height, width)."""
    return flow * np.array([width / flow.shape[1], height / flow.shape[0]], dtype=np.float32)


def _inverse(flow: Flow) -> Flow:
    """The flow back: at each place x the g for which g = -flow(x + g), found by repetition."""
    back = -flow
    for _ in range(_INVERSION_ROUNDS):
        back = -_at(flow, back)
    return back


def _at(values: Plane, flow: Flow) -> Plane:
    """Values where a flow leads to from each place."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


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
