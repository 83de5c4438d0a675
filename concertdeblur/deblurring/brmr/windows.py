"""Steps in windows, the paper's: the most blurred window of a cell is cut, refined by G_p, judged and pasted.

Each round tries one window of each cell that is still in the loop. One call of G_p and one of D_i serve all of them. A
cell is judged by its own window alone, so the result does not depend on what else is in the batch.

Shape suffixes: N frames, C channels (of a tensor NCHW) or cells (of a tensor NC), M windows of a round, H height,
W width, h, w map values (MAP_PX px each), y, x rows and columns of a window.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.cpus import available_cpus
from concertdeblur.deblurring.brmr.judging import SHIFT_GRAIN_PX, Judge, is_kept
from concertdeblur.deblurring.brmr.settings import BrmrSettings
from concertdeblur.deblurring.brmr.state import UNKNOWN, State, known_places
from concertdeblur.deblurring.cam import MAP_PX
from concertdeblur.deblurring.grid import Grid, cut, paste, places
from concertdeblur.engines import Engine
from concertdeblur.models.path_windows import Along, path_views
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.models.restoration import by_plane
from concertdeblur.runtime import Runtime

_AT_ONCE = 8  # windows of a video at most, with OpenVINO; a frame has hardly more of them in one round


@dataclass(frozen=True, slots=True)
class MinedWindows:
    """M windows that are proposed for refining."""

    frame_M: Tensor
    cell_M: Tensor
    at_M2: Tensor  # (y, x) px
    is_tried_M: Tensor  # False: the window fills up a fixed number of windows, and its outcome does not count


@dataclass(frozen=True, slots=True)
class RefinedWindows:
    """The proposed windows after G_p."""

    windows_MCyx: Tensor  # their borders fade into the result
    shift_M: Tensor  # the largest change of the mean of a 32-px square in each


@dataclass(frozen=True, slots=True)
class JudgedWindows:
    """D_i's verdict on the refined windows."""

    kept_M: Tensor
    change_Mhw: Tensor  # change of the map around each window, within its cell
    at_M2: Tensor  # (y, x) in the map at which the change begins


class Windows:
    """Steps in windows of 128x128 px.

    Args:
        patch_generator: G_p(window, views, hints).
        judge: D_i.
        settings: Limits and margins.
    """

    def __init__(self, patch_generator: Engine, judge: Judge, settings: BrmrSettings) -> None:
        self._patch_generator = patch_generator
        self.decider = judge
        self._settings = settings

    def propose(self, state: State) -> MinedWindows | None:
        """The most blurred window of each cell that takes windows, as the budget allows; None if there is none."""
        if state.maps_Nhw is None or not state.most:
            return None
        at_NC2, score_NC = state.grid.most_blurred(state.maps_Nhw, state.open_NCK)
        active_NC = state.active_NC & ~state.repeating_NC & (score_NC > -torch.inf)
        score_NC = score_NC.masked_fill(~active_NC, -torch.inf)
        order_NC = score_NC.argsort(dim=1, descending=True, stable=True)
        best_NM = order_NC[:, : state.most].sort(1).values
        rank_NC = order_NC.argsort(1)
        is_tried_NM = (active_NC & (rank_NC < state.budget_N[:, None])).gather(1, best_NM)
        frame_NM = torch.arange(len(best_NM), device=best_NM.device)[:, None].expand_as(best_NM)
        frame_M, cell_M, is_tried_M = frame_NM.flatten(), best_NM.flatten(), is_tried_NM.flatten()
        tried = known_places(is_tried_M)
        if tried is not None:
            frame_M, cell_M, is_tried_M = frame_M[tried], cell_M[tried], is_tried_M[tried]
            if not len(tried):
                return None
        return MinedWindows(frame_M, cell_M, at_NC2[frame_M, cell_M], is_tried_M)

    def refine(self, mined: MinedWindows, state: State) -> RefinedWindows:
        """Refine each window with G_p; its borders fade into the result."""
        grid, (height, width) = state.grid, state.grid.window_px
        windows = cut(state.result_NCHW, mined.frame_M, mined.at_M2, grid.window_px)
        made = self._restored(windows, mined, state)
        step = _feather(mined.at_M2, grid, self._settings.feather_px)[:, None] * (made.clamp(0, 1) - windows)
        step = torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
        shift_M = F.avg_pool2d(step, min(SHIFT_GRAIN_PX, height, width)).abs().amax((1, 2, 3))
        return RefinedWindows(windows + step, shift_M)

    def judge(self, mined: MinedWindows, refined: RefinedWindows, state: State) -> JudgedWindows:
        """Whether each window is kept: D_i must find its cell sharper. D_i sees only what the window can change."""
        settings, grid, frame_M = self._settings, state.grid, mined.frame_M
        assert state.maps_Nhw is not None
        seen_at, seen_size = self._seen(mined.at_M2, grid)
        candidates = cut(state.result_NCHW, frame_M, seen_at, seen_size)
        paste(
            candidates, torch.arange(len(frame_M), device=frame_M.device), mined.at_M2 - seen_at, refined.windows_MCyx
        )
        local = self.decider.maps(cut(state.blurred_NCHW, frame_M, seen_at, seen_size), candidates)
        map_at, map_size = seen_at // MAP_PX, (seen_size[0] // MAP_PX, seen_size[1] // MAP_PX)
        change = local - cut(state.maps_Nhw[:, None], frame_M, map_at, map_size)[:, 0]
        change = torch.where(self._touched(mined, grid, map_at, map_size), change, 0)
        of_cell = (frame_M, mined.cell_M)
        before_M = grid.means(state.maps_Nhw)[of_cell]
        kept_M = mined.is_tried_M & (refined.shift_M <= settings.max_shift)
        kept_M &= is_kept(
            before_M,
            before_M + change.sum((1, 2)) / grid.num_values_C[mined.cell_M],
            state.previous.windows_NC[of_cell],
            hysteresis=settings.hysteresis,
            margin=settings.window_margin,
        )
        return JudgedWindows(kept_M, change, map_at)

    def keep(self, mined: MinedWindows, refined: RefinedWindows, judged: JudgedWindows, state: State) -> None:
        """Paste the kept windows into the result, and close what is not tried again."""
        frame_M, at_M2, kept_M = mined.frame_M, mined.at_M2, judged.kept_M
        assert state.maps_Nhw is not None
        # No two windows of a round meet: each lies in a cell of its own, and so do the map values that it changes.
        windows = cut(state.result_NCHW, frame_M, at_M2, state.grid.window_px)
        paste(
            state.result_NCHW, frame_M, at_M2, torch.where(kept_M[:, None, None, None], refined.windows_MCyx, windows)
        )
        rows, columns = places(judged.at_M2, (judged.change_Mhw.shape[1], judged.change_Mhw.shape[2]))
        taken = torch.where(kept_M[:, None, None], judged.change_Mhw, 0)
        state.maps_Nhw = state.maps_Nhw.index_put((frame_M[:, None, None], rows, columns), taken, accumulate=True)
        of_cell, tried_M = (frame_M, mined.cell_M), mined.is_tried_M
        if state.along is None:  # a cell whose window is refused leaves the loop
            state.active_NC[of_cell] &= kept_M | ~tried_M
        else:  # each window is tried once
            is_tried_MK = (state.grid.windows_CK2[mined.cell_M] == at_M2[:, None]).all(-1) & tried_M[:, None]
            state.open_NCK[of_cell] &= ~is_tried_MK
        state.budget_N.index_add_(0, frame_M, -tried_M.long())
        # The next frame remembers the first window of a cell only: the last one is always refused, or the loop capped.
        first = state.first.windows_NC
        is_first = tried_M & (first[of_cell] == UNKNOWN)
        first[of_cell] = torch.where(is_first, kept_M.to(first.dtype), first[of_cell])
        height, width = (torch.full_like(frame_M, side) for side in state.grid.window_px)
        state.note(frame_M, (*at_M2.unbind(1), height, width), tried_M, kept_M)

    def _restored(self, windows_MCyx: Tensor, mined: MinedWindows, state: State) -> Tensor:
        """The windows after G_p, not clamped."""
        prepared = state.prepared
        seen = [state.blurred_NCHW, prepared.guess_NGHW]
        if state.consistent_NCHW is not None:
            seen.insert(0, state.consistent_NCHW)
        views = [cut(pictures, mined.frame_M, mined.at_M2, state.grid.window_px) for pictures in seen]
        return self._patch_generator(windows_MCyx, torch.cat(views, 1), hints_of(mined, state))

    def _seen(self, at_M2: Tensor, grid: Grid) -> tuple[Tensor, tuple[int, int]]:
        """(y, x) and size of the area that D_i must see, so that each map value that a window changes is exact."""
        if self.decider.margin_px is None:
            return torch.zeros_like(at_M2), (grid.height, grid.width)
        around = 2 * self.decider.margin_px
        height, width = (
            min(grid.window_px[0] + 2 * around, grid.height),
            min(grid.window_px[1] + 2 * around, grid.width),
        )
        y_M, x_M = (at_M2 - around).unbind(1)
        return torch.stack([y_M.clamp(0, grid.height - height), x_M.clamp(0, grid.width - width)], 1), (height, width)

    def _touched(self, mined: MinedWindows, grid: Grid, map_at: Tensor, size: tuple[int, int]) -> Tensor:
        """True for the map values of the area shown to D_i that a window changes in its own cell, (M, h, w)."""
        cell_M4, margin_px, inside = grid.cells_C4[mined.cell_M], self.decider.margin_px, []
        for axis, place in enumerate(places(map_at, size)):
            start_M, stop_M = cell_M4[:, axis], cell_M4[:, axis] + cell_M4[:, axis + 2]
            if margin_px is not None:
                at_M = mined.at_M2[:, axis]
                start_M = torch.maximum(start_M, at_M - margin_px)
                stop_M = torch.minimum(stop_M, at_M + grid.window_px[axis] + margin_px)
            first_M11, end_M11 = (edge[:, None, None] // MAP_PX for edge in (start_M, stop_M))
            inside.append((place >= first_M11) & (place < end_M11))
        is_row_My1, is_column_M1x = inside
        return is_row_My1 & is_column_M1x


class PathWindows(Windows):
    """Windows of a video: G_p is also given taps of this result and of the results of the frames beside it.

    Each of the windows that cover the frame is tried once, so a refusal does not end the loop in a cell. G_p has
    learned on G_i's results and makes its own ones worse (EXPERIMENTS.md, 2026-11-29, "more windows of a video"). So
    it is always given the result as G_i left it, also where a refined window lies already: there the two refined
    windows fade into each other.

    A GPU takes all windows of a round at once. A CPU takes each by itself, with one thread for each of those that it
    takes at the same time: what is sampled for a window is then still in the processor's cache.

    Args:
        patch_generator: G_p(window, guesses, red, green, blue, luma and range of the taps, smear).
        judge: The D_i that was trained with this G_p.
        settings: Limits and margins.
        num_at_once: How many threads may call the patch generator at the same time.
    """

    def __init__(self, patch_generator: Engine, judge: Judge, settings: BrmrSettings, *, num_at_once: int = 1) -> None:
        # What a cell remembers of its first window in the frame before says nothing of its other windows: with the
        # pictures' hysteresis 0.01 to 0.05 dB were lost, and the warping error was 1 % higher.
        own = replace(
            settings,
            window_margin=settings.video_window_margin,
            max_shift=settings.video_max_shift,
            feather_px=settings.video_feather_px,
            hysteresis=0.0,
        )
        super().__init__(patch_generator, judge, own)
        self._num_at_once = num_at_once

    def _restored(self, windows_MCyx: Tensor, mined: MinedWindows, state: State) -> Tensor:
        assert state.along is not None
        along = state.along
        windows_MCyx = cut(along.result_1CHW, mined.frame_M, mined.at_M2, state.grid.window_px)
        if windows_MCyx.device.type != "cpu":
            return self._restored_along(along, state.blurred_NCHW, mined.at_M2, windows_MCyx)

        @torch.inference_mode()  # which a thread does not inherit
        def restored(window_Cyx: Tensor, at_2: Tensor) -> Tensor:
            return self._restored_along(along, state.blurred_NCHW, at_2[None], window_Cyx[None])

        num_threads = min(self._num_at_once, len(windows_MCyx))
        if num_threads == 1:
            return torch.cat([restored(*one) for one in zip(windows_MCyx, mined.at_M2, strict=True)])
        with ThreadPoolExecutor(num_threads, "windows") as threads:
            return torch.cat(list(threads.map(restored, windows_MCyx, mined.at_M2)))

    def _restored_along(self, along: Along, blurred_1CHW: Tensor, at_M2: Tensor, windows_MCyx: Tensor) -> Tensor:
        """Some of the windows after G_p."""
        views = path_views(along, blurred_1CHW, at_M2, (windows_MCyx.shape[2], windows_MCyx.shape[3]))
        return self._patch_generator(windows_MCyx, views.guess_MGyx, *by_plane(views.taps_MTyx), views.smear_M2hw)


def windows_at_once(runtime: Runtime) -> int:
    """How many windows of a video are refined at the same time, each on a core of its own."""
    return min(_AT_ONCE, available_cpus()) if runtime.backend == "openvino" else 1


def hints_of(mined: MinedWindows, state: State) -> Tensor:
    """The hints of each window, (M, E, y / HINT_PX, x / HINT_PX)."""
    height, width = state.grid.window_px
    size = height // HINT_PX, width // HINT_PX
    return cut(state.prepared.hints_NEhw, mined.frame_M, mined.at_M2 // HINT_PX, size)


def _feather(at_M2: Tensor, grid: Grid, feather_px: int) -> Tensor:
    """The weight of refined windows, (M, y, x): 1 inside, falling towards the border.

    A side on the frame's border does not fade, since nothing lies beyond it.
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
