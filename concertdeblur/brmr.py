"""Adversarial blurred region mining and refining (BRMR): Algorithm 1 of the paper at test time.

In every cell of the frame (cam.py) the loop is: mine the most blurred window of the current result,
refine it with G_p, and keep the step if D_i finds the cell sharper; stop at the first step that is not
kept. Cells and frames go on side by side: each round refines the windows of all cells that are still
in the loop with one call of G_p and judges them with one call of D_i. A round judges every cell by
its own window alone, so the result does not depend on what else is in the batch.

Ours: where the blur was identified, the first round refines whole cells, not by G_p but by one step of
data consistency (models/data_consistency.py), judged by D_i all the same. If it is refused the loop goes on. In
a video it is not judged: of 71 steps D_i kept 68, and the other three gained as well; a frame saves one D_i.

Shape suffixes: N frames, M windows of a round, C channels, H height, W width, E embedding.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur import cam
from concertdeblur.cam import Area, Cell, Map
from concertdeblur.engines import Engine
from concertdeblur.models.data_consistency import DataConsistency
from concertdeblur.models.prepared import HINT_PX, Prepared
from concertdeblur.tensors import finite

_SHIFT_GRAIN_PX = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class BrmrSettings:
    """How far refining goes."""

    max_iterations: int = 5  # rounds
    windows_per_cell: float = 1.0  # cap for a frame of a video, times its cells; the most blurred first
    feather_px: int = 16  # a refined window fades in over its border; 0 is the paper's hard paste
    hysteresis: float = 0.02  # delta must grow by this much where the previous frame's step was not kept
    window_margin: float = 0.0  # and by this much for any window: steps that hardly show are as often wrong as right
    consistency_margin: float = 0.0  # and by this much for a step of data consistency, where it is judged
    max_shift: float = 2 / 255  # a step that moves the mean of a 32-px square further is not kept

    def __post_init__(self) -> None:
        if self.max_iterations < 0 or self.windows_per_cell < 0 or self.feather_px < 0:
            raise ValueError("max_iterations, windows_per_cell and feather_px must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """By cell number: was its first step of each kind kept? One entry for each cell that was tried."""

    consistency: dict[int, bool] = field(default_factory=dict)
    windows: dict[int, bool] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """What BRMR made of one frame."""

    map_hw: Map  # H^s - H^b of the result
    tried: tuple[Area, ...]  # whole cells in the first round, then windows
    kept: tuple[Area, ...]
    decisions: Decisions  # for the next frame


@dataclass(slots=True)
class _FrameState:
    map_hw: Map
    active: set[int]
    budget: int  # windows that may still be tried
    tried: list[Area] = field(default_factory=list)
    kept: list[Area] = field(default_factory=list)
    decisions: Decisions = field(default_factory=Decisions)
    consistent_CHW: Tensor | None = None  # the data-consistent frame


@dataclass(frozen=True, slots=True)
class _Proposal:
    frame: int
    cell_number: int
    cell: Cell
    window: Area


def is_kept(delta: float, new_delta: float, previous: bool | None, hysteresis: float, margin: float = 0.0) -> bool:
    """Whether a step is kept: the discriminator must find the cell sharper than before.

    Args:
        delta: Confidence before the step.
        new_delta: Confidence after it.
        previous: What was decided in this cell of the previous frame; None if nothing was.
        hysteresis: Growth that is asked for where the previous frame's step was not kept, so that a
            cell at the edge of the decision does not flicker.
        margin: Growth that is asked for everywhere.

    """
    return new_delta > delta + margin + (hysteresis if previous is False else 0.0)


class Brmr:
    """Algorithm 1, batched over cells and frames; holds no state between calls."""

    def __init__(
        self,
        patch_generator: Engine,
        discriminator: Engine,
        *,
        discriminator_margin_px: int | None,
        settings: BrmrSettings,
    ) -> None:
        """Args: G_p(window, views, hints); D_i(B, X) -> map; how far D_i looks (None: everywhere)."""
        self.settings = settings
        self._patch_generator = patch_generator
        self._discriminator = discriminator
        self._margin_px = discriminator_margin_px

    def refine(
        self,
        blurred_NCHW: Tensor,
        result_NCHW: Tensor,
        prepared: Prepared,
        *,
        previous: list[Decisions] | None = None,
        is_capped: bool = True,
    ) -> list[Refinement]:
        """Refine a batch of frames in place.

        Args:
            blurred_NCHW: The input B in [0, 1]; sides are multiples of HINT_PX.
            result_NCHW: G_i(B), overwritten with the refined frames.
            prepared: What G_i knew of the frames, for G_p: guesses, hints, and how to make results consistent.
            previous: Each frame's decisions of the frame before it.
            is_capped: Whether the cap on windows a frame holds, and data consistency goes unjudged (video), or not (a
                single picture).

        """
        height, width = result_NCHW.shape[2:]
        cells = cam.cells_of(height, width)
        consistency, num_rounds = prepared.consistency, self.settings.max_iterations
        nearer_NCHW = _made_consistent(consistency, result_NCHW) if consistency is not None and num_rounds else None
        if is_capped and nearer_NCHW is not None:
            result_NCHW.copy_(nearer_NCHW)
        budget = self._most_windows(len(cells)) if is_capped else 10**9
        states = [
            _FrameState(map_hw=map_hw, budget=budget, active=set(range(len(cells))))
            for map_hw in self.maps(blurred_NCHW, result_NCHW)
        ]
        before = previous or [Decisions() for _ in states]
        given = blurred_NCHW, result_NCHW, prepared
        if consistency is not None and nearer_NCHW is not None:
            num_rounds -= 1
            for state, consistent_CHW in zip(states, nearer_NCHW, strict=True):
                state.consistent_CHW = consistent_CHW
            promising = _promising_cells(consistency, cells)
            if is_capped:
                for state, numbers in zip(states, promising, strict=True):
                    state.tried += [cells[number].area for number in numbers]
                    state.kept += [cells[number].area for number in numbers]
            elif any(promising):
                self._consistency_round(nearer_NCHW, promising, states, given, before)
        for _ in range(num_rounds):
            proposals = [p for i, state in enumerate(states) for p in _proposed(i, state, cells)]
            if not proposals:
                break
            self._round(proposals, states, given, before)
        return [
            Refinement(map_hw=s.map_hw, tried=tuple(s.tried), kept=tuple(s.kept), decisions=s.decisions) for s in states
        ]

    def _most_windows(self, num_cells: int) -> int:
        most = self.settings.windows_per_cell * num_cells
        return max(1, int(most)) if most else 0

    def maps(self, blurred_NCHW: Tensor, result_NCHW: Tensor) -> list[Map]:
        """H^s - H^b of each frame, one value for 8x8 px."""
        maps = self._discriminator(blurred_NCHW, result_NCHW)
        size = (result_NCHW.shape[2] // cam.MAP_PX, result_NCHW.shape[3] // cam.MAP_PX)
        if maps.shape[1:] != size:  # the paper's 4x4 convolutions give 31x31 at 256x256
            maps = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        return list(maps.double().cpu().numpy())

    def _consistency_round(
        self,
        nearer: Tensor,
        promising: list[list[int]],
        states: list[_FrameState],
        given: tuple[Tensor, Tensor, Prepared],
        previous: list[Decisions],
    ) -> None:
        """Make each promising cell consistent with the input where D_i finds it sharper then."""
        blurred_NCHW, result_NCHW, _ = given
        height, width = result_NCHW.shape[2:]
        cells = cam.cells_of(height, width)
        shares = cam.shares_of(height, width, device=nearer.device)
        moved = F.avg_pool2d(nearer - result_NCHW, _SHIFT_GRAIN_PX, ceil_mode=True).abs().amax(1)
        for n, (state, new_map) in enumerate(zip(states, self.maps(blurred_NCHW, nearer), strict=True)):
            mask_HW = torch.zeros_like(nearer[0, 0])
            map_hw = state.map_hw.copy()
            for number in promising[n]:
                cell, was_kept = cells[number], previous[n].consistency.get(number)
                shift = moved[(n, *cell.area.in_begun_steps(_SHIFT_GRAIN_PX))].max().item()
                kept = shift <= self.settings.max_shift and is_kept(
                    cam.delta(state.map_hw, cell),
                    cam.delta(new_map, cell),
                    was_kept,
                    self.settings.hysteresis,
                    self.settings.consistency_margin,
                )
                state.tried.append(cell.area)
                state.decisions.consistency[number] = kept
                if kept:
                    state.kept.append(cell.area)
                    mask_HW += shares[number]
                    map_hw[cell.area.of_map()] = new_map[cell.area.of_map()]
            state.map_hw = map_hw
            result_NCHW[n] += mask_HW * (nearer[n] - result_NCHW[n])

    def _round(
        self,
        proposals: list[_Proposal],
        states: list[_FrameState],
        given: tuple[Tensor, Tensor, Prepared],
        previous: list[Decisions],
    ) -> None:
        blurred_NCHW, result_NCHW, _ = given
        refined, shifts = self._refined_windows(proposals, states, given)
        height, width = result_NCHW.shape[2:]
        seen = [self._seen_area(p.window, height, width) for p in proposals]
        candidates = [_cut(result_NCHW, p.frame, area).clone() for p, area in zip(proposals, seen, strict=True)]
        for p, area, candidate, window in zip(proposals, seen, candidates, refined, strict=True):
            y, x = p.window.y - area.y, p.window.x - area.x
            candidate[:, y : y + p.window.height, x : x + p.window.width] = window
        inputs = [_cut(blurred_NCHW, p.frame, area) for p, area in zip(proposals, seen, strict=True)]
        maps = [m for group in _by_shape(inputs, candidates) for m in zip(group[0], self.maps(*group[1]), strict=True)]
        for number, local in maps:
            p = proposals[number]
            state = states[p.frame]
            new_map = self._updated_map(state.map_hw, p, seen[number], local)
            kept = shifts[number] <= self.settings.max_shift and is_kept(
                cam.delta(state.map_hw, p.cell),
                cam.delta(new_map, p.cell),
                previous[p.frame].windows.get(p.cell_number),
                self.settings.hysteresis,
                self.settings.window_margin,
            )
            state.tried.append(p.window)
            state.budget -= 1
            # The first step decides what the next frame remembers: later ones end in a refusal by design.
            state.decisions.windows.setdefault(p.cell_number, kept)
            if kept:
                state.kept.append(p.window)
                state.map_hw = new_map
                result_NCHW[(p.frame, slice(None), *p.window.of_pixels())] = refined[number]
            else:
                state.active.discard(p.cell_number)

    def _refined_windows(
        self, proposals: list[_Proposal], states: list[_FrameState], given: tuple[Tensor, Tensor, Prepared]
    ) -> tuple[list[Tensor], list[float]]:
        """Each proposal's refined window, feathered; and how far it moved a 32-px mean."""
        blurred_NCHW, result_NCHW, prepared = given
        height, width = result_NCHW.shape[2:]
        windows = [_cut(result_NCHW, p.frame, p.window) for p in proposals]
        views = [
            torch.cat(
                [
                    *_consistent(states[p.frame], p.window),
                    _cut(blurred_NCHW, p.frame, p.window),
                    _cut(prepared.guess_NGHW, p.frame, p.window),
                ]
            )
            for p in proposals
        ]
        refined: list[Tensor] = [torch.empty(0)] * len(proposals)
        shifts = [0.0] * len(proposals)
        for numbers, (windows_MCHW, views_MGHW) in _by_shape(windows, views):
            hints = [
                prepared.hints_NEhw[(proposals[n].frame, ..., *proposals[n].window.in_steps(HINT_PX))] for n in numbers
            ]
            made = self._patch_generator(windows_MCHW, views_MGHW, torch.stack(hints))
            fade = torch.stack(
                [_feather(proposals[n].window, height, width, self.settings.feather_px) for n in numbers]
            )
            step = fade.to(made.device)[:, None] * (made.clamp(0, 1) - windows_MCHW)
            step = torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
            grain = min(_SHIFT_GRAIN_PX, *step.shape[2:])
            moved = F.avg_pool2d(step, grain).abs().amax((1, 2, 3)).tolist()
            for n, window, shift in zip(numbers, windows_MCHW + step, moved, strict=True):
                refined[n], shifts[n] = window, shift
        return refined, shifts

    def _seen_area(self, window: Area, height: int, width: int) -> Area:
        """What D_i must be shown so that every map value that the window touches is exact."""
        if self._margin_px is None:
            return Area(y=0, x=0, height=height, width=width)
        return window.grown(2 * self._margin_px).moved_into(height, width)

    def _updated_map(self, map_hw: Map, proposal: _Proposal, seen: Area, local: Map) -> Map:
        """The frame's map with the values of the proposal's cell that its window touches replaced."""
        touched = seen if self._margin_px is None else proposal.window.grown(self._margin_px)
        touched = touched.within(proposal.cell.area)
        inside = Area(y=touched.y - seen.y, x=touched.x - seen.x, height=touched.height, width=touched.width)
        updated = map_hw.copy()
        updated[touched.of_map()] = local[inside.of_map()]
        return updated


def _proposed(frame: int, state: _FrameState, cells: tuple[Cell, ...]) -> list[_Proposal]:
    """The most blurred window of each cell still in the loop, as many as the budget allows."""
    mined = [(number, *cam.most_blurred(state.map_hw, cells[number])) for number in sorted(state.active)]
    if len(mined) > state.budget:
        mined = sorted(sorted(mined, key=lambda m: -m[2])[: state.budget])
    return [_Proposal(frame, number, cells[number], window) for number, window, _ in mined]


def _promising_cells(consistency: DataConsistency, cells: tuple[Cell, ...]) -> list[list[int]]:
    """Numbers of the cells of each frame that hold a promising one of data consistency's own cells."""
    return [
        [i for i, cell in enumerate(cells) if of_frame[cell.area.in_begun_steps(cam.CELL_PX)].any()]
        for of_frame in consistency.promising_NRQ.cpu().numpy()  # read once, not at every cell
    ]


def _made_consistent(consistency: DataConsistency, result_NCHW: Tensor) -> Tensor:
    """The results after one step of data consistency, in [0, 1]."""
    nearer = torch.stack([consistency.made_consistent(n, result) for n, result in enumerate(result_NCHW)])
    return finite(nearer, result_NCHW).clamp_(0, 1)


def _consistent(state: _FrameState, window: Area) -> list[Tensor]:
    """The data-consistent picture of a window, if there is one."""
    return [] if state.consistent_CHW is None else [state.consistent_CHW[(slice(None), *window.of_pixels())]]


def _cut(pictures_NCHW: Tensor, frame: int, area: Area) -> Tensor:
    return pictures_NCHW[(frame, slice(None), *area.of_pixels())]


def _by_shape(first: list[Tensor], second: list[Tensor]) -> list[tuple[list[int], tuple[Tensor, Tensor]]]:
    """Stack pairs of equal shape: [(their numbers, (stacked first, stacked second))]."""
    groups: dict[torch.Size, list[int]] = {}
    for number, tensor in enumerate(first):
        groups.setdefault(tensor.shape, []).append(number)
    return [
        (numbers, (torch.stack([first[n] for n in numbers]), torch.stack([second[n] for n in numbers])))
        for numbers in groups.values()
    ]


def _feather(window: Area, height: int, width: int, feather_px: int) -> Tensor:
    """Weight of a refined window, (window height, window width): 1 inside, falling to 0 at its border.

    Sides that lie on the frame's border do not fade: nothing is behind them.
    """
    along_y = _fade(window.height, feather_px, at_start=window.y > 0, at_end=window.y + window.height < height)
    along_x = _fade(window.width, feather_px, at_start=window.x > 0, at_end=window.x + window.width < width)
    return torch.from_numpy(np.outer(along_y, along_x).astype(np.float32))


def _fade(
    length: int, feather_px: int, *, at_start: bool, at_end: bool
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    fade = np.ones(length)
    ramp = (np.arange(min(feather_px, length)) + 1) / (feather_px + 1)
    if at_start:
        fade[: len(ramp)] = np.minimum(fade[: len(ramp)], ramp)
    if at_end:
        fade[length - len(ramp) :] = np.minimum(fade[length - len(ramp) :], ramp[::-1])
    return fade
