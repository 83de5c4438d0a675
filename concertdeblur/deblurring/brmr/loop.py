"""Adversarial blurred region mining and refining (BRMR): Algorithm 1 of the paper at test time.

In every cell of the frame (cam.py) the loop is: mine the most blurred window of the current result,
refine it with G_p, and keep the step if D_i finds the cell sharper; stop at the first step that is not
kept. Cells and frames go on side by side: each round refines the windows of all cells that are still
in the loop with one call of G_p and judges them with one call of D_i. A round judges every cell by
its own window alone, so the result does not depend on what else is in the batch.

Ours: where the blur was identified, the first round refines whole cells, not by G_p but by a turn: G_i looks at its own
result, and part of the way to what it makes of it a step of data consistency is taken (models/data_consistency.py).
D_i judges it all the same, with a margin of its own: turns bring back fine detail along with a trace of ringing, so
shipped sets have D_i refuse the first only where its confidence falls clearly. Where it is kept and there is next to no
noise the next rounds take turns, too, as long as D_i finds the cell sharper. Then, or if the first is refused, the loop
goes on with windows. In a video there are no turns, but one bare step of data consistency, not judged: a frame saves
G_i and D_i, which is not asked at all where a video may have no windows.

The host decides nothing: windows are mined, judged and kept by masks on the networks' device, in a fixed number of
rounds, and what was done is read with the result. On a CPU, where reading costs nothing, only windows that are tried
are computed, and the loop ends with the last of them.

Shape suffixes: N frames, C channels (of a tensor NCHW) or cells (of a tensor NC), M windows of a round, H height,
W width, h, w map values (MAP_PX px each), y, x rows and columns of a window.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring.cam import CELL_PX, MAP_PX, Area
from concertdeblur.deblurring.grid import Grid, cut, grid_of, paste, places
from concertdeblur.deblurring.tensors import finite
from concertdeblur.engines import Engine
from concertdeblur.models.data_consistency import DataConsistency, Mixture
from concertdeblur.models.prepared import HINT_PX, Plan, Prepared

_SHIFT_GRAIN_PX = 32
# How far turns go to what G_i makes of the result, the first and later ones. On 12 training pictures under lines and
# boxes three turns after a bare step gain 0.65 dB so, and none loses; 0.3 gives 0.58; 0.7 gives 0.60, and one loses.
# The first one: `cautious` has the figures.
_FIRST_TURN, _TURN = 0.25, 0.5
_UNKNOWN, _REFUSED = -1, 0  # decisions; 1: kept


@dataclass(frozen=True, kw_only=True, slots=True)
class BrmrSettings:
    """How far refining goes."""

    max_iterations: int = 5  # rounds
    consistency_rounds: int = 1  # of those, how many may be turns; a video has none
    windows_per_cell: float = (
        1.0  # cap for a frame of a video, times its cells; the most blurred first; 0: no windows at all
    )
    feather_px: int = 16  # a refined window fades in over its border; 0 is the paper's hard paste
    hysteresis: float = 0.02  # delta must grow by this much where the previous frame's step was not kept
    window_margin: float = 0.0  # and by this much for any window: steps that hardly show are as often wrong as right
    consistency_margin: float = 0.0  # the same for a step of data consistency, where it is judged; below 0: a veto
    max_shift: float = 2 / 255  # a step that moves the mean of a 32-px square further is not kept

    def __post_init__(self) -> None:
        if self.max_iterations < 0 or self.windows_per_cell < 0 or self.feather_px < 0:
            raise ValueError("max_iterations, windows_per_cell and feather_px must not be negative")
        if self.consistency_rounds < 1:
            raise ValueError("consistency_rounds must be 1 at least")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """Of each cell of N frames: was its first step of each kind kept? (N, C) int8: 1 kept, 0 refused, -1 not tried."""

    consistency_NC: Tensor
    windows_NC: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """What BRMR made of one frame."""

    tried: tuple[Area, ...]  # whole cells in the first round, then windows
    kept: tuple[Area, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinements:
    """What BRMR made of N frames; on the networks' device until it is read."""

    maps_Nhw: Tensor | None  # H^s - H^b of the results, float64; None if D_i was not asked
    decisions: Decisions  # for the next frames
    num_frames: int
    steps: Tensor  # int32: frame, y, x, height, width in px, was it tried, was it kept; in the order of the rounds

    def of_frames(self) -> list[Refinement]:
        """Read on the host, which waits for the device."""
        return read_steps(self.steps, num_frames=self.num_frames)


def read_steps(steps: Tensor | npt.NDArray[np.int32], *, num_frames: int) -> list[Refinement]:
    """What was done to each frame, from `Refinements.steps`."""
    rows = [(row[0], Area(y=row[1], x=row[2], height=row[3], width=row[4]), row[6]) for row in steps.tolist() if row[5]]
    return [
        Refinement(
            tried=tuple(area for frame, area, _ in rows if frame == n),
            kept=tuple(area for frame, area, is_kept in rows if frame == n and is_kept),
        )
        for n in range(num_frames)
    ]


@dataclass(slots=True)
class _State:
    """Of one call; what is decided is a tensor."""

    grid: Grid
    blurred_NCHW: Tensor
    result_NCHW: Tensor  # refined in place
    prepared: Prepared
    plan: Plan
    consistent_NCHW: Tensor | None  # G_i's result after one step, what G_p is shown
    maps_Nhw: Tensor | None  # as in Refinements
    active_NC: Tensor  # cells that are still in the loop
    repeating_NC: Tensor  # cells whose next step is one of data consistency, not a window
    budget_N: Tensor  # windows that may still be tried
    most: int  # of them in a round, in any case
    previous: Decisions
    first: Decisions  # what this call decided
    steps: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Proposals:
    """M windows to be tried."""

    frame_M: Tensor
    cell_M: Tensor
    at_M2: Tensor  # (y, x) px
    is_tried_M: Tensor  # False: only here because the number is fixed


def is_kept(deltas: Tensor, new_deltas: Tensor, previous: Tensor, *, hysteresis: float, margin: float) -> Tensor:
    """Whether steps are kept: the discriminator must find the cell sharper than before. False where it says NaN.

    Args:
        deltas: Confidence before the step.
        new_deltas: Confidence after it.
        previous: What was decided in this cell of the previous frame, as in `Decisions`.
        hysteresis: Growth that is asked for where the previous frame's step was not kept, so that a
            cell at the edge of the decision does not flicker.
        margin: Growth that is asked for everywhere.

    """
    return new_deltas > deltas + margin + hysteresis * (previous == _REFUSED)


class Brmr:
    """Algorithm 1, batched over cells and frames; holds no state between calls."""

    def __init__(
        self,
        patch_generator: Engine,
        discriminator: Engine,
        *,
        image_generator: Engine,
        discriminator_margin_px: int | None,
        settings: BrmrSettings,
    ) -> None:
        """Args: G_p(window, views, hints); D_i(B, X) -> map; G_i(B, guesses, hints); how far D_i looks (None: all)."""
        self.settings = settings
        self._image_generator = image_generator
        self._patch_generator = patch_generator
        self._discriminator = discriminator
        self._margin_px = discriminator_margin_px

    def refine(
        self,
        blurred_NCHW: Tensor,
        result_NCHW: Tensor,
        prepared: Prepared,
        plan: Plan,
        *,
        previous: Decisions | None = None,
        is_capped: bool = True,
    ) -> Refinements:
        """Refine a batch of frames in place; does not wait for the device.

        Args:
            blurred_NCHW: The input B in [0, 1]; sides are multiples of HINT_PX.
            result_NCHW: G_i(B), overwritten with the refined frames.
            prepared: What G_i knew of the frames, for G_p: guesses, hints, and how to make results consistent.
            plan: What the host has read of it.
            previous: The decisions of the frames before them.
            is_capped: Whether the cap on windows a frame holds, and data consistency goes unjudged (video), or not (a
                single picture).

        """
        num, _, height, width = result_NCHW.shape
        grid, device = grid_of(height, width, result_NCHW.device), result_NCHW.device
        num_cells, num_rounds = len(grid.cells), self.settings.max_iterations
        budget = self._most_windows(num_cells)
        if budget and not is_capped:
            budget = num_cells * num_rounds
        consistent = None
        if prepared.consistency is not None and num_rounds:
            consistent = _made_consistent(prepared.consistency, plan.mixtures, result_NCHW)
        if is_capped and consistent is not None:
            result_NCHW.copy_(consistent)
        unknown, is_judged = _no_decisions(num, num_cells, device), consistent is not None and not is_capped
        state = _State(
            grid=grid,
            blurred_NCHW=blurred_NCHW,
            result_NCHW=result_NCHW,
            prepared=prepared,
            plan=plan,
            consistent_NCHW=consistent,
            maps_Nhw=self.maps(blurred_NCHW, result_NCHW) if budget or is_judged else None,
            active_NC=torch.ones(num, num_cells, dtype=torch.bool, device=device),
            repeating_NC=torch.zeros(num, num_cells, dtype=torch.bool, device=device),
            budget_N=torch.full((num,), budget, device=device),
            most=min(budget, num_cells),
            previous=previous if previous is not None and previous.windows_NC.shape == (num, num_cells) else unknown,
            first=_no_decisions(num, num_cells, device),
        )
        if consistent is not None:
            self._first_round(state, is_judged=is_judged)
        for number in range(0 if consistent is None else 1, num_rounds):
            if number >= self.settings.consistency_rounds:
                state.repeating_NC = torch.zeros_like(state.repeating_NC)
            proposals = _proposed(state)
            if proposals is None and (not is_judged or _is_known_empty(state.repeating_NC)):
                break
            if is_judged and number < self.settings.consistency_rounds:
                state.repeating_NC = self._turn(state.repeating_NC, state)
            if proposals is not None:
                self._round(proposals, state)
        steps = torch.cat(state.steps) if state.steps else torch.zeros(0, 7, dtype=torch.int32, device=device)
        return Refinements(maps_Nhw=state.maps_Nhw, decisions=state.first, num_frames=num, steps=steps)

    def _most_windows(self, num_cells: int) -> int:
        most = self.settings.windows_per_cell * num_cells
        return max(1, int(most)) if most else 0

    def maps(self, blurred_NCHW: Tensor, result_NCHW: Tensor) -> Tensor:
        """H^s - H^b of each frame, one value for 8x8 px, float64."""
        maps = self._discriminator(blurred_NCHW, result_NCHW)
        size = (result_NCHW.shape[2] // MAP_PX, result_NCHW.shape[3] // MAP_PX)
        if maps.shape[1:] != size:  # the paper's 4x4 convolutions give 31x31 at 256x256
            maps = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        return maps.double()

    def _first_round(self, state: _State, *, is_judged: bool) -> None:
        """A turn in each promising cell; what is not judged was made consistent already, and is only noted."""
        consistency = state.prepared.consistency
        assert consistency is not None
        promising_NC, repeatable_NC = (
            state.grid.highest(cells_NRQ.float(), CELL_PX) > 0
            for cells_NRQ in (consistency.promising_NRQ, consistency.repeatable_NRQ)
        )
        if not is_judged:
            _note_cells(promising_NC, promising_NC, state)
            return
        kept_NC = self._turn(promising_NC, state, is_first=True)
        state.first.consistency_NC.copy_(torch.where(promising_NC, kept_NC, _UNKNOWN))
        state.repeating_NC = kept_NC & repeatable_NC

    def _turn(self, tried_NC: Tensor, state: _State, *, is_first: bool = False) -> Tensor:
        """Some way to G_i's look at its own result, then data consistency, in some cells; where D_i keeps it (N, C)."""
        mixtures, share = (state.plan.first_turn, _FIRST_TURN) if is_first else (state.plan.repeatable, _TURN)
        if _is_known_empty(tried_NC) or not any(any(of_frame) for of_frame in mixtures):
            return tried_NC
        prepared, result_NCHW = state.prepared, state.result_NCHW
        assert prepared.consistency is not None
        guess_NGHW = torch.cat([result_NCHW, prepared.guess_NGHW[:, 3:]], 1)
        seen_NCHW = finite(self._image_generator(state.blurred_NCHW, guess_NGHW, prepared.hints_NEhw), result_NCHW)
        start_NCHW = result_NCHW + share * (seen_NCHW.clamp(0, 1) - result_NCHW)
        made_NCHW = _made_consistent(prepared.consistency, mixtures, result_NCHW, start_NCHW=start_NCHW)
        faded_N1HW = state.grid.faded(tried_NC)[:, None]
        turned_NCHW = result_NCHW + faded_N1HW * (made_NCHW - result_NCHW)  # as if no other cell took a step
        kept_NC = self._judge_cells(tried_NC, turned_NCHW, state, is_first=is_first)
        _note_cells(tried_NC, kept_NC, state)
        return kept_NC

    def _judge_cells(self, tried_NC: Tensor, made_NCHW: Tensor, state: _State, *, is_first: bool) -> Tensor:
        """Keep a turn in each cell where D_i finds it sharper then, the first with a margin; which they are, (N, C)."""
        grid, result_NCHW, settings = state.grid, state.result_NCHW, self.settings
        assert state.maps_Nhw is not None
        new_maps = self.maps(state.blurred_NCHW, made_NCHW)
        moved = F.avg_pool2d(made_NCHW - result_NCHW, _SHIFT_GRAIN_PX, ceil_mode=True).abs().amax(1)
        kept_NC = tried_NC & (grid.highest(moved, _SHIFT_GRAIN_PX) <= settings.max_shift)
        kept_NC &= is_kept(
            grid.deltas(state.maps_Nhw),
            grid.deltas(new_maps),
            state.previous.consistency_NC,
            hysteresis=settings.hysteresis if is_first else 0,  # what is remembered is the first
            margin=settings.consistency_margin if is_first else 0,
        )
        state.maps_Nhw = torch.where(grid.spread(kept_NC), new_maps, state.maps_Nhw)
        result_NCHW += grid.faded(kept_NC)[:, None] * (made_NCHW - result_NCHW)
        return kept_NC

    def _round(self, proposals: _Proposals, state: _State) -> None:
        """Refine the proposed windows, and keep those that D_i finds sharper."""
        settings, grid, at_M2, frame_M = self.settings, state.grid, proposals.at_M2, proposals.frame_M
        assert state.maps_Nhw is not None
        refined, shift_M = self._refined_windows(proposals, state)
        seen_at, seen_size = self._seen(at_M2, grid)
        candidates = cut(state.result_NCHW, frame_M, seen_at, seen_size)
        paste(candidates, torch.arange(len(at_M2), device=at_M2.device), at_M2 - seen_at, refined)
        local = self.maps(cut(state.blurred_NCHW, frame_M, seen_at, seen_size), candidates)
        map_at, map_size = seen_at // MAP_PX, (seen_size[0] // MAP_PX, seen_size[1] // MAP_PX)
        change = local - cut(state.maps_Nhw[:, None], frame_M, map_at, map_size)[:, 0]
        change = torch.where(self._touched(proposals, grid, map_at, map_size), change, 0)
        of_cell = (frame_M, proposals.cell_M)
        before_M = grid.deltas(state.maps_Nhw)[of_cell]
        kept_M = proposals.is_tried_M & (shift_M <= settings.max_shift)
        kept_M &= is_kept(
            before_M,
            before_M + change.sum((1, 2)) / grid.num_values_C[proposals.cell_M],
            state.previous.windows_NC[of_cell],
            hysteresis=settings.hysteresis,
            margin=settings.window_margin,
        )
        # Windows and touched values lie in cells of their own, so no two of a round meet.
        windows = cut(state.result_NCHW, frame_M, at_M2, grid.window_px)
        paste(state.result_NCHW, frame_M, at_M2, torch.where(kept_M[:, None, None, None], refined, windows))
        rows, columns = places(map_at, map_size)
        taken = torch.where(kept_M[:, None, None], change, 0)
        state.maps_Nhw = state.maps_Nhw.index_put((frame_M[:, None, None], rows, columns), taken, accumulate=True)
        self._note(proposals, kept_M, state)

    def _note(self, proposals: _Proposals, kept_M: Tensor, state: _State) -> None:
        """What a round did: who goes on, what is left of the budget, what the next frame remembers."""
        of_cell, tried_M = (proposals.frame_M, proposals.cell_M), proposals.is_tried_M
        state.active_NC[of_cell] &= kept_M | ~tried_M
        state.budget_N.index_add_(0, proposals.frame_M, -tried_M.long())
        # The first step decides what the next frame remembers: later ones end in a refusal by design.
        first = state.first.windows_NC
        is_first = tried_M & (first[of_cell] == _UNKNOWN)
        first[of_cell] = torch.where(is_first, kept_M.to(first.dtype), first[of_cell])
        height, width = (torch.full_like(proposals.frame_M, side) for side in state.grid.window_px)
        columns = [proposals.frame_M, *proposals.at_M2.unbind(1), height, width, tried_M, kept_M]
        state.steps.append(torch.stack([column.int() for column in columns], 1))

    def _refined_windows(self, proposals: _Proposals, state: _State) -> tuple[Tensor, Tensor]:
        """Each proposal's refined window, feathered, (M, 3, y, x); and how far it moved a 32-px mean, (M,)."""
        grid, prepared, (height, width) = state.grid, state.prepared, state.grid.window_px

        def seen_in(pictures_NCHW: Tensor) -> Tensor:
            return cut(pictures_NCHW, proposals.frame_M, proposals.at_M2, grid.window_px)

        windows = seen_in(state.result_NCHW)
        seen = [state.blurred_NCHW, prepared.guess_NGHW]
        if state.consistent_NCHW is not None:
            seen.insert(0, state.consistent_NCHW)
        hint_size = height // HINT_PX, width // HINT_PX
        hints = cut(prepared.hints_NEhw, proposals.frame_M, proposals.at_M2 // HINT_PX, hint_size)
        made = self._patch_generator(windows, torch.cat([seen_in(pictures) for pictures in seen], 1), hints)
        step = _feather(proposals.at_M2, grid, self.settings.feather_px)[:, None] * (made.clamp(0, 1) - windows)
        step = torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
        shift_M = F.avg_pool2d(step, min(_SHIFT_GRAIN_PX, height, width)).abs().amax((1, 2, 3))
        return windows + step, shift_M

    def _seen(self, at_M2: Tensor, grid: Grid) -> tuple[Tensor, tuple[int, int]]:
        """(y, x) and size of what D_i must be shown so that every map value that a window touches is exact."""
        if self._margin_px is None:
            return torch.zeros_like(at_M2), (grid.height, grid.width)
        around = 2 * self._margin_px
        height, width = (
            min(grid.window_px[0] + 2 * around, grid.height),
            min(grid.window_px[1] + 2 * around, grid.width),
        )
        y_M, x_M = (at_M2 - around).unbind(1)
        return torch.stack([y_M.clamp(0, grid.height - height), x_M.clamp(0, grid.width - width)], 1), (height, width)

    def _touched(self, proposals: _Proposals, grid: Grid, map_at: Tensor, size: tuple[int, int]) -> Tensor:
        """Which of the map values that D_i was shown a window changes in its own cell, (M, h, w)."""
        cell_M4, inside = grid.cells_C4[proposals.cell_M], []
        for axis, place in enumerate(places(map_at, size)):
            start_M, stop_M = cell_M4[:, axis], cell_M4[:, axis] + cell_M4[:, axis + 2]
            if self._margin_px is not None:
                at_M = proposals.at_M2[:, axis]
                start_M = torch.maximum(start_M, at_M - self._margin_px)
                stop_M = torch.minimum(stop_M, at_M + grid.window_px[axis] + self._margin_px)
            first_M11, end_M11 = (edge[:, None, None] // MAP_PX for edge in (start_M, stop_M))
            inside.append((place >= first_M11) & (place < end_M11))
        is_row_My1, is_column_M1x = inside
        return is_row_My1 & is_column_M1x


def _made_consistent(
    consistency: DataConsistency,
    mixtures: list[list[Mixture]],
    result_NCHW: Tensor,
    *,
    start_NCHW: Tensor | None = None,
) -> Tensor:
    """The results after one step of data consistency, in [0, 1]."""
    starts = result_NCHW if start_NCHW is None else start_NCHW
    steps = enumerate(zip(result_NCHW, mixtures, starts, strict=True))
    made = torch.stack(
        [consistency.made_consistent(n, result, of_n, start_CHW=start) for n, (result, of_n, start) in steps]
    )
    return finite(made, result_NCHW).clamp_(0, 1)


def _note_cells(tried_NC: Tensor, kept_NC: Tensor, state: _State) -> None:
    frames_NC = torch.arange(len(tried_NC), device=tried_NC.device)[:, None].expand_as(tried_NC)
    areas = state.grid.cells_C4.expand(len(tried_NC), -1, -1)
    columns = [frames_NC, *areas.unbind(2), tried_NC, kept_NC]
    state.steps.append(torch.stack([column.flatten().int() for column in columns], 1))


def _no_decisions(num_frames: int, num_cells: int, device: torch.device) -> Decisions:
    consistency_NC, windows_NC = torch.full((2, num_frames, num_cells), _UNKNOWN, dtype=torch.int8, device=device)
    return Decisions(consistency_NC=consistency_NC, windows_NC=windows_NC)


def _proposed(state: _State) -> _Proposals | None:
    """The most blurred window of each cell still in the loop, as many as the budget allows; None if there is none."""
    if state.maps_Nhw is None or not state.most:
        return None
    at_NC2, score_NC = state.grid.most_blurred(state.maps_Nhw)
    active_NC = state.active_NC & ~state.repeating_NC
    score_NC = score_NC.masked_fill(~active_NC, -torch.inf)
    order_NC = score_NC.argsort(dim=1, descending=True, stable=True)
    best_NM = order_NC[:, : state.most].sort(1).values
    rank_NC = order_NC.argsort(1)
    is_tried_NM = (active_NC & (rank_NC < state.budget_N[:, None])).gather(1, best_NM)
    frame_NM = torch.arange(len(best_NM), device=best_NM.device)[:, None].expand_as(best_NM)
    frame_M, cell_M, is_tried_M = frame_NM.flatten(), best_NM.flatten(), is_tried_NM.flatten()
    if _is_read_for_nothing(is_tried_M):
        tried = torch.from_numpy(is_tried_M.numpy().nonzero()[0])
        frame_M, cell_M, is_tried_M = frame_M[tried], cell_M[tried], is_tried_M[tried]
        if not len(tried):
            return None
    return _Proposals(frame_M, cell_M, at_NC2[frame_M, cell_M], is_tried_M)


def _is_known_empty(mask: Tensor) -> bool:
    """Whether the host knows, without waiting, that no value is True."""
    return _is_read_for_nothing(mask) and not bool(mask.any())


def _is_read_for_nothing(tensor: Tensor) -> bool:
    """Whether the host knows the values already."""
    return tensor.device.type == "cpu"


def _feather(at_M2: Tensor, grid: Grid, feather_px: int) -> Tensor:
    """Weight of refined windows, (M, y, x): 1 inside, falling to 0 at the border.

    Sides that lie on the frame's border do not fade: nothing is behind them.
    """
    faded = []
    for axis, (length, side) in enumerate(zip(grid.window_px, (grid.height, grid.width), strict=True)):
        from_start = torch.arange(1, length + 1, device=at_M2.device, dtype=torch.float64)
        ramp = (from_start / (feather_px + 1)).clamp_max(1)
        start_M1 = at_M2[:, axis, None]
        fades_in, fades_out = start_M1 > 0, start_M1 + length < side
        faded.append(torch.minimum(torch.where(fades_in, ramp, 1.0), torch.where(fades_out, ramp.flip(0), 1.0)))
    down_My, across_Mx = faded
    return (down_My[:, :, None] * across_Mx[:, None, :]).float()
