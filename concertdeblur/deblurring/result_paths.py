"""The paths of a video's frames, searched again between the results of G_i.

The results are sharper than the frames, so the flow between them is nearer to the true motion. G_p samples along it.
Real pairs gain 0.06 to 0.11 dB by that (EXPERIMENTS.md, 2026-11-30, "flow between results"). G_i would gain nothing
from a second pass along the better flow.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.models.path_search import Luma, ResultSearch, reduced_size, with_beliefs
from concertdeblur.models.path_taps import Belief, Flow, Path, plane_in
from concertdeblur.models.path_windows import Along, laid_in_fours
from concertdeblur.models.prepared import SMEAR_PX


@dataclass(kw_only=True, slots=True)
class _Result:
    """What G_i made of a frame."""

    result_1CHW: Tensor  # sides are padded
    size: tuple[int, int]  # height and width of the result without padding, px
    luma: Luma  # of the result, in which flow is searched
    flows: tuple[Flow, Flow] | None = None  # to the result after it and back, once they are searched


class ResultPaths:
    """Knows the results of three frames of a stream that follow each other; not thread-safe."""

    def __init__(self) -> None:
        self._search = ResultSearch()
        self._three: tuple[_Result | None, _Result | None, _Result | None] = (None, None, None)

    def add(self, result_1CHW: Tensor, size: tuple[int, int]) -> None:
        """Take the result of the next frame; the one that was taken before is the middle one of the three then.

        Args:
            result_1CHW: The result, of which a copy is kept.
            size: Height and width of the result; what lies beyond them is padding.
        """
        kept_1CHW = laid_in_fours(result_1CHW) if result_1CHW.device.type == "cpu" else result_1CHW.clone()
        self._three = (*self._three[1:], _Result(result_1CHW=kept_1CHW, size=size, luma=_reduced(result_1CHW, size)))

    def end(self) -> None:
        """There is no next frame; the one that was taken last is the middle one of the three then."""
        self._three = (*self._three[1:], None)

    def along(self, path: Path) -> Along:
        """The results about the middle frame, and its path between them.

        Args:
            path: Of the middle frame, as found between the frames themselves. A neighbour to which it has no flow
                shows another scene.
        """
        before, middle, after = self._three
        assert middle is not None
        before = None if path.to_before is None else before
        after = None if path.to_after is None else after
        to_before = None if before is None else self._flows(before, middle)[1]
        to_after = None if after is None else self._flows(middle, after)[0]
        lumas = (None if before is None else before.luma, middle.luma, None if after is None else after.luma)
        found = with_beliefs(replace(path, to_before=to_before, to_after=to_after), *lumas, *middle.size)
        smear = found.smear()
        assert smear is not None, "a frame that is restored along its motion has a neighbour"
        in_before, in_after = (None if belief is None else _planes(belief, middle) for belief in found.beliefs)
        return Along(
            result_1CHW=middle.result_1CHW,
            before_1CHW=None if before is None else before.result_1CHW,
            after_1CHW=None if after is None else after.result_1CHW,
            smear_12hw=_planes(smear, middle),
            to_before_12hw=None if found.to_before is None else _planes(found.to_before, middle),
            to_after_12hw=None if found.to_after is None else _planes(found.to_after, middle),
            beliefs=(in_before, in_after),
        )

    def _flows(self, result: _Result, after: _Result) -> tuple[Flow, Flow]:
        """Flow from a result to the one after it, and back."""
        if result.flows is None:
            result.flows = self._search.flows(result.luma, after.luma, *result.size)
        assert result.flows is not None, "the frames have a flow, so the results are large enough for one"
        return result.flows


def _reduced(result_1CHW: Tensor, size: tuple[int, int]) -> Luma:
    """The grey levels in which flow is searched. On a GPU the host waits for the result."""
    height, width = size
    reduced_height, reduced_width = reduced_size(height, width)
    colours = [
        cv2.resize(colour, (reduced_width, reduced_height), interpolation=cv2.INTER_AREA)
        for colour in result_1CHW[0, :, :height, :width].cpu().numpy()
    ]
    luma = cv2.cvtColor(cv2.merge(colours), cv2.COLOR_RGB2GRAY)
    return np.asarray(luma * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _planes(plane: Flow | Belief, result: _Result) -> Tensor:
    """A flow or a belief of the padded frame, (1, C, h, w), a value in the middle of each SMEAR_PX x SMEAR_PX."""
    height, width = (side / SMEAR_PX for side in result.size)
    rows, columns = (slice(0, side // SMEAR_PX) for side in result.result_1CHW.shape[2:])
    found = np.atleast_3d(plane_in(plane, height, width, rows, columns)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(found))[None].to(result.result_1CHW.device)
