"""Steps in whole cells: G_i and data consistency take turns. The paper has no such step; it comes before windows.

A turn runs G_i on its own output, blends part of that into the result, and then takes one step of data consistency
(models/data_consistency.py). A cell takes its first turn if its blur was identified. D_i judges turns as it judges
windows, but a first turn has a margin of its own. The reason: a turn brings back fine detail together with a trace of
ringing, and D_i dislikes the ringing. So the shipped weight sets let D_i refuse a first turn only where its confidence
falls clearly. A cell that kept its first turn and has next to no noise takes further turns, as long as D_i finds it
sharper.

Shape suffixes: N frames, C channels (of a tensor NCHW) or cells (of a tensor NC), H height, W width, h, w map values
(MAP_PX px each), R rows and Q columns of the blur's cells, G channels of guesses.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring.brmr.judging import SHIFT_GRAIN_PX, Judge, is_kept
from concertdeblur.deblurring.brmr.settings import BrmrSettings
from concertdeblur.deblurring.brmr.state import UNKNOWN, State, is_known_empty
from concertdeblur.deblurring.grid import Grid
from concertdeblur.deblurring.tensors import finite
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.data_consistency import DataConsistency, Mixture
from concertdeblur.models.prepared import Prepared

RestoreFrames: TypeAlias = Callable[[Tensor, Prepared], Tensor]  # G_i on whole frames: (B, what it is given) -> result

# The share of G_i's second output that a turn blends in: of the first turn, and of later ones. EXPERIMENTS.md,
# 2026-11-29, "G_i and data consistency in turns", has the other shares that were tried.
_FIRST_TURN, _TURN = 0.25, 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn that is proposed for some cells."""

    tried_NC: Tensor  # the cells that take it
    mixtures: list[list[Mixture]]  # the filters of data consistency in each frame's cells
    share: float  # of G_i's second output that is blended in
    is_first: bool


@dataclass(frozen=True, slots=True)
class JudgedTurn:
    """D_i's verdict on a turn."""

    kept_NC: Tensor
    maps_Nhw: Tensor  # of the candidate


class Turns:
    """Turns in whole cells.

    Args:
        image_generator: G_i on whole frames.
        judge: D_i.
        settings: Limits and margins.
    """

    def __init__(self, image_generator: RestoreFrames, judge: Judge, settings: BrmrSettings) -> None:
        self._image_generator = image_generator
        self._judge = judge
        self._settings = settings

    def propose_first(self, state: State) -> Turn | None:
        """A first turn in each cell whose blur was identified well enough; None if there is none."""
        assert state.prepared.consistency is not None
        tried_NC = promising_cells(state.prepared.consistency, state.grid)
        return _turn(Turn(tried_NC, state.plan.first_turn, _FIRST_TURN, is_first=True))

    def propose(self, state: State) -> Turn | None:
        """A further turn in each cell that kept its last one and has next to no noise; None if there is none."""
        if not state.may_turn:
            return None
        return _turn(Turn(state.repeating_NC, state.plan.repeatable, _TURN, is_first=False))

    def refine(self, turn: Turn, state: State) -> Tensor:
        """The candidate (N, 3, H, W): the result as it would be if every tried cell kept its turn."""
        prepared, result_NCHW = state.prepared, state.result_NCHW
        assert prepared.consistency is not None
        own = replace(prepared, guess_NGHW=torch.cat([result_NCHW, prepared.guess_NGHW[:, 3:]], 1))
        seen_NCHW = finite(self._image_generator(state.blurred_NCHW, own), result_NCHW)
        start_NCHW = result_NCHW + turn.share * (seen_NCHW.clamp(0, 1) - result_NCHW)
        made_NCHW = made_consistent(prepared.consistency, turn.mixtures, result_NCHW, start_NCHW=start_NCHW)
        return result_NCHW + state.grid.faded(turn.tried_NC)[:, None] * (made_NCHW - result_NCHW)

    def judge(self, turn: Turn, candidate_NCHW: Tensor, state: State) -> JudgedTurn:
        """Whether each cell keeps its turn: D_i must find it sharper in the candidate; a first turn has a margin."""
        grid, settings = state.grid, self._settings
        assert state.maps_Nhw is not None
        new_maps = self._judge.maps(state.blurred_NCHW, candidate_NCHW)
        moved = F.avg_pool2d(candidate_NCHW - state.result_NCHW, SHIFT_GRAIN_PX, ceil_mode=True).abs().amax(1)
        kept_NC = turn.tried_NC & (grid.highest(moved, SHIFT_GRAIN_PX) <= settings.max_shift)
        kept_NC &= is_kept(
            grid.means(state.maps_Nhw),
            grid.means(new_maps),
            state.previous.consistency_NC,
            hysteresis=settings.hysteresis if turn.is_first else 0,  # only first turns are remembered
            margin=settings.consistency_margin if turn.is_first else 0,
        )
        return JudgedTurn(kept_NC, new_maps)

    def keep(self, turn: Turn, candidate_NCHW: Tensor, judged: JudgedTurn, state: State) -> None:
        """Put the kept cells into the result. Those worth further turns take them; all others go on with windows."""
        kept_NC, result_NCHW = judged.kept_NC, state.result_NCHW
        assert state.maps_Nhw is not None
        state.maps_Nhw = torch.where(state.grid.spread(kept_NC), judged.maps_Nhw, state.maps_Nhw)
        result_NCHW += state.grid.faded(kept_NC)[:, None] * (candidate_NCHW - result_NCHW)
        state.note_cells(turn.tried_NC, kept_NC)
        state.repeating_NC = kept_NC
        if turn.is_first:
            assert state.prepared.consistency is not None
            state.first.consistency_NC.copy_(torch.where(turn.tried_NC, kept_NC, UNKNOWN))
            state.repeating_NC = kept_NC & _cells(state.prepared.consistency.repeatable_NRQ, state.grid)


def take_bare_step(state: State) -> None:
    """The step of a video: data consistency without G_i and unjudged. That saves a pass of G_i and of D_i a frame."""
    if state.consistent_NCHW is None:
        return
    assert state.prepared.consistency is not None
    state.result_NCHW.copy_(state.consistent_NCHW)
    taken_NC = promising_cells(state.prepared.consistency, state.grid)
    state.note_cells(taken_NC, taken_NC)


def made_consistent(
    consistency: DataConsistency,
    mixtures: list[list[Mixture]],
    result_NCHW: Tensor,
    *,
    start_NCHW: Tensor | None = None,
) -> Tensor:
    """The results after one step of data consistency, in [0, 1].

    Args:
        consistency: The inputs of the step.
        mixtures: The filters of each frame's cells; a cell with none keeps its result.
        result_NCHW: The results.
        start_NCHW: The pictures from which the step starts; None: the results.
    """
    starts = result_NCHW if start_NCHW is None else start_NCHW
    steps = enumerate(zip(result_NCHW, mixtures, starts, strict=True))
    made = torch.stack(
        [consistency.made_consistent(n, result, of_n, start_CHW=start) for n, (result, of_n, start) in steps]
    )
    return finite(made, result_NCHW).clamp_(0, 1)


def promising_cells(consistency: DataConsistency, grid: Grid) -> Tensor:
    """The cells of BRMR (N, C) in which a step of data consistency is worth it."""
    return _cells(consistency.promising_NRQ, grid)


def _cells(wanted_NRQ: Tensor, grid: Grid) -> Tensor:
    """True for each cell of BRMR that overlaps a blur cell that is True, (N, C)."""
    return grid.highest(wanted_NRQ.float(), BLUR_CELL_PX) > 0


def _turn(turn: Turn) -> Turn | None:
    """The turn; None if the host knows that no cell takes it."""
    is_empty = is_known_empty(turn.tried_NC) or not any(any(of_frame) for of_frame in turn.mixtures)
    return None if is_empty else turn
