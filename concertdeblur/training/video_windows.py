"""Stage video pGAN: G_p and D_i of videos learn on windows of G_i's results of stored sequences.

G_p has the same inputs as in a video (`models/path_windows.py`): the neighbours' results along the path, and what the
result lacks of the input. As in a video, windows lie in frames at the working size, and the path is searched between
the results. D_i learns to tell truths from the results of G_i and of G_p, and to judge steps.

Shape suffixes: M windows, C channels, H, y rows, W, x columns, G channels of guesses, T planes of taps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring import cam
from concertdeblur.deblurring.working_size import at_working_size
from concertdeblur.models.concert import ConcertPathGenerator
from concertdeblur.models.discriminator import ConcertDiscriminator
from concertdeblur.models.path_search import ResultSearch, with_beliefs
from concertdeblur.models.path_taps import Belief, Flow, plane_in
from concertdeblur.models.path_taps import Path as MotionPath
from concertdeblur.models.path_windows import Along, path_views
from concertdeblur.models.prepared import HINT_PX, SMEAR_PX
from concertdeblur.models.restoration import PathRestoration, by_plane
from concertdeblur.training.data.bundles import joined
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.motion import MotionSettings, row_shares
from concertdeblur.training.data.results import FrameResults
from concertdeblur.training.data.sequences import Kind, SequenceStore, StoredSequence, searched_luma, searched_size
from concertdeblur.training.objective import discriminator_loss, locating_loss, ranking_loss
from concertdeblur.training.pgan import judged_steps, judgement_loss_of
from concertdeblur.training.stage import Schedule, Stage, StepResult
from concertdeblur.training.video import errors
from concertdeblur.training.whole_frames import cut_size

_AROUND_PX = 80  # around a window; content that moves into it lies there
_PLACE_PX = 8  # windows begin at multiples of it
_WORST_SHARE = 0.7  # share of windows that are the worse of two random ones
_SHARPEST_ERROR = 2e-5  # mean squared error; an input that differs less from its truth is sharp
_AS_FILMED = 0.42  # share of windows of frames as filmed, where there are smaller copies of them
_THIRD_STEPS = (-0.7, 1.7)  # a third kind of step, times G_p's own; D_i must see steps back and steps that go too far
_RANKING = 0.3  # weight of the ranking of places in D_i's loss
_WINDOW_PX = cam.PATCH_PX
_FLOWS_FORM = 2  # of the search between results; flows of another form are searched again
_LEAST_RESULTS = 2  # of a sequence; one alone has no result beside it, so its motion is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoPganSettings(Schedule):
    """Schedule of the stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathWindowBatch:
    """M windows with the inputs of G_p."""

    result_MCHW: Tensor
    blurred_MCHW: Tensor
    sharp_MCHW: Tensor
    guess_MGHW: Tensor
    taps_MTHW: Tensor
    smear_M2hw: Tensor

    @property
    def is_blurred_M(self) -> Tensor:
        """Whether each input is blurred."""
        return (self.blurred_MCHW - self.sharp_MCHW).square().mean((1, 2, 3)) > _SHARPEST_ERROR


def frame_results(store: SequenceStore) -> FrameResults[np.uint8]:
    """G_i's results of a store's frames, (height, width, 3), of the size that `cut_size` gives."""
    return FrameResults(store, "results.u8", np.uint8, lambda row: (*cut_size(row), 3))


def result_flows(store: SequenceStore) -> FrameResults[np.float16]:
    """Flow from G_i's results to the results before and after them, (2, h, w, 2), reduced; 0 where there is none."""
    return FrameResults(
        store, "result-flows.f16", np.float16, lambda row: (2, *searched_size(*cut_size(row), row.field), 2)
    )


def make_result_flows(
    store: SequenceStore, *, made_with: str, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Search the flow between G_i's results, which are sharper than the frames; as `FrameResults.make` does.

    Args:
        store: Sequences of which the results are made.
        made_with: What the results were made with.
        on_progress: Called with (frames done, frames in all); it may raise to stop.
    """
    results, search = frame_results(store), ResultSearch()
    rows = {row.offset: row for row in store.sequences}

    @lru_cache(maxsize=2)  # a pair is asked for by the frame before it and by the one after it
    def between(offset: int, number: int) -> tuple[Flow, Flow]:
        """Flow from a result to the next one, and back."""
        row = rows[offset]
        first, second = (searched_luma(results.read(row, one), row.field) for one in (number, number + 1))
        found = search.flows(first, second, *cut_size(row))
        assert found is not None, "sequences are larger than what a search needs"
        return found

    def make(row: StoredSequence, number: int) -> npt.NDArray[np.float16]:
        flows = np.zeros((2, *searched_size(*cut_size(row), row.field), 2), np.float16)
        if number - 1 in row.inner:
            flows[0] = between(row.offset, number - 1)[1]
        if number + 1 in row.inner:
            flows[1] = between(row.offset, number)[0]
        return flows

    result_flows(store).make(
        make, made_with=f"flow of form {_FLOWS_FORM} between results of {made_with}", on_progress=on_progress
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Sequences, and what was made of their frames."""

    store: SequenceStore
    results: FrameResults[np.uint8]
    flows: FrameResults[np.float16]

    def path(self, row: StoredSequence, number: int) -> MotionPath:
        """The path of a result; nothing is known of a neighbour that has no result."""
        flows = self.flows.read(row, number).astype(np.float32)
        to_before, to_after = (
            flow if beside in row.inner else None for flow, beside in zip(flows, (number - 1, number + 1), strict=True)
        )
        before, own, after = (
            searched_luma(self.results.read(row, one), row.field) if one in row.inner else None
            for one in (number - 1, number, number + 1)
        )
        assert own is not None
        path = MotionPath(to_before=to_before, to_after=to_after, exposure=row.exposures[number])
        return with_beliefs(path, before, own, after, *cut_size(row))


class PathWindowStream:
    """An endless, seekable stream of windows. Sequences of three frames have none: one result has none beside it.

    Args:
        stores: Sequences with results and their flow.
        settings: Shares of the kinds of sequences.
        seed: With the number of a batch, this decides everything.
        batch_size: Windows of a batch.
        is_turned: Whether sides are mirrored and turned, and time runs either way.
    """

    def __init__(
        self, stores: Sequence[SequenceStore], settings: MotionSettings, *, seed: int, batch_size: int,
        is_turned: bool = True,
    ) -> None:  # fmt: skip
        sources = [_Source(store, frame_results(store), result_flows(store)) for store in stores]
        self._seed, self._batch_size, self._is_turned = seed, batch_size, is_turned
        stored: tuple[Kind, ...] = ("real", "clips", "sharp", "rendered")
        self._of_kind: dict[Kind, list[tuple[_Source, StoredSequence]]] = {}
        for kind in stored:
            rows = [(source, row) for source in sources for row in source.store.of_kind(kind) if _has_windows(row)]
            if rows:
                self._of_kind[kind] = rows
        self._row_shares = {
            kind: row_shares([row for _, row in rows], _AS_FILMED) for kind, rows in self._of_kind.items()
        }
        self._shares = _kind_shares(list(self._of_kind), settings)

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._of_kind.values())

    def batch(self, number: int) -> PathWindowBatch:
        """Make a batch by its number."""
        first = number * self._batch_size
        return joined(PathWindowBatch, [self._window(first + place) for place in range(self._batch_size)])

    def _window(self, index: int) -> PathWindowBatch:
        rng = np.random.default_rng([self._seed, index])
        kind = list(self._of_kind)[int(rng.choice(len(self._of_kind), p=self._shares))]
        rows = self._of_kind[kind]
        source, row = rows[int(rng.choice(len(rows), p=self._row_shares[kind]))]
        number = int(rng.integers(row.inner.start, row.inner.stop))
        part = _Part.cut(source, row, number, _place(source, row, number, rng))
        if self._is_turned:
            part = part.turned(rng)
        return part.window()


def _has_windows(row: StoredSequence) -> bool:
    return min(cut_size(row)) >= _WINDOW_PX and len(row.inner) >= _LEAST_RESULTS


def _kind_shares(kinds: list[Kind], settings: MotionSettings) -> npt.NDArray[np.float64]:
    """The share of windows of each kind: rendered ones have their own, the others share what is left."""
    ratios: dict[Kind, float] = {kind: getattr(settings, kind) for kind in kinds if kind != "rendered"}
    whole = sum(ratios.values()) or 1.0
    shares = {kind: (1 - settings.rendered_windows) * ratio / whole for kind, ratio in ratios.items()}
    shares["rendered"] = settings.rendered_windows
    made = np.array([shares[kind] for kind in kinds]) + 1e-9
    return np.asarray(made / made.sum(), dtype=np.float64)


def _place(source: _Source, row: StoredSequence, number: int, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a window: mostly the one of two random windows that is further from its truth."""
    height, width = cut_size(row)
    tries = [
        tuple(_PLACE_PX * int(rng.integers((side - _WINDOW_PX) // _PLACE_PX + 1)) for side in (height, width))
        for _ in range(2)
    ]
    result, sharp = source.results.read(row, number), at_working_size(source.store.sharp(row, number))

    def error(at: tuple[int, ...]) -> float:
        place = tuple(slice(start, start + _WINDOW_PX, 2) for start in at)
        return float(np.square(result[place].astype(np.float32) - sharp[place]).mean())

    y, x = max(tries, key=error) if rng.random() < _WORST_SHARE else tries[0]
    return y, x


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A window's surroundings, with everything that is sampled for it."""

    before: Picture | None  # results beside the frame
    result: Picture
    after: Picture | None
    blurred: Picture
    sharp: Picture
    path: MotionPath  # reduced by SMEAR_PX
    at: tuple[int, int]  # (y, x) of the window in them

    @classmethod
    def cut(cls, source: _Source, row: StoredSequence, number: int, at: tuple[int, int]) -> "_Part":
        """The surroundings of the window at a place (y, x) of a frame."""
        height, width = cut_size(row)
        rows, columns = _around(at[0], height), _around(at[1], width)
        size = (columns.stop - columns.start) // SMEAR_PX, (rows.stop - rows.start) // SMEAR_PX

        def result(one: int) -> Picture | None:
            return source.results.read(row, one)[rows, columns] if one in row.inner else None

        def reduced(plane: Flow | Belief) -> Flow:
            there = plane_in(plane, height, width, rows, columns)
            return np.asarray(cv2.resize(there, size, interpolation=cv2.INTER_AREA), dtype=np.float32)

        own, store = result(number), source.store
        assert own is not None
        blurred, sharp = (at_working_size(some) for some in (store.frame(row, number), store.sharp(row, number)))
        return cls(
            before=result(number - 1), result=own, after=result(number + 1),
            blurred=blurred[rows, columns], sharp=sharp[rows, columns],
            path=_of_planes(source.path(row, number), reduced), at=(at[0] - rows.start, at[1] - columns.start),
        )  # fmt: skip

    def turned(self, rng: np.random.Generator) -> "_Part":
        """The same, with time reversed and sides mirrored and turned at random."""
        made = self
        if rng.random() < 0.5:
            path = made.path
            path = replace(path, to_before=path.to_after, to_after=path.to_before, beliefs=path.beliefs[::-1])
            made = replace(made, before=made.after, after=made.before, path=path)
        height, width = made.sharp.shape[:2]
        if rng.random() < 0.5:
            made = made._changed(lambda some: some[:, ::-1], (-1, 1), (made.at[0], width - made.at[1] - _WINDOW_PX))
        if rng.random() < 0.5:
            made = made._changed(lambda some: some[::-1], (1, -1), (height - made.at[0] - _WINDOW_PX, made.at[1]))
        if rng.random() < 0.5:
            made = made._changed(lambda some: some.swapaxes(0, 1), (1, 1), (made.at[1], made.at[0]))
            made = replace(made, path=_of_flows(made.path, lambda flow: flow[..., ::-1]))
        return made

    def _changed(
        self, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], signs: tuple[int, int],
        at: tuple[int, int],
    ) -> "_Part":  # fmt: skip
        names = ("before", "result", "after", "blurred", "sharp")
        changed: dict[str, Any] = {
            name: None if getattr(self, name) is None else change(getattr(self, name)) for name in names
        }
        path = _of_flows(_of_planes(self.path, change), lambda flow: flow * np.array(signs, np.float32))
        return replace(self, **changed, path=path, at=at)

    def window(self) -> PathWindowBatch:
        """The window with the inputs of G_p."""
        result, blurred, sharp = (_picture(some) for some in (self.result, self.blurred, self.sharp))
        smear, (before, after) = self.path.smear(), self.path.beliefs
        assert smear is not None
        along = Along(
            result_1CHW=result,
            before_1CHW=None if self.before is None else _picture(self.before),
            after_1CHW=None if self.after is None else _picture(self.after),
            smear_12hw=_planes(smear),
            to_before_12hw=None if self.path.to_before is None else _planes(self.path.to_before),
            to_after_12hw=None if self.path.to_after is None else _planes(self.path.to_after),
            beliefs=(None if before is None else _planes(before), None if after is None else _planes(after)),
        )
        y, x = self.at
        views = path_views(along, blurred, torch.tensor([[y, x]]), (_WINDOW_PX, _WINDOW_PX))
        cut = (..., slice(y, y + _WINDOW_PX), slice(x, x + _WINDOW_PX))
        return PathWindowBatch(
            result_MCHW=result[cut], blurred_MCHW=blurred[cut], sharp_MCHW=sharp[cut], guess_MGHW=views.guess_MGyx,
            taps_MTHW=views.taps_MTyx, smear_M2hw=views.smear_M2hw,
        )  # fmt: skip


def _of_flows(path: MotionPath, change: Callable[[Flow], Flow]) -> MotionPath:
    """A path with each of its flows changed."""
    before, after = (None if flow is None else change(flow) for flow in (path.to_before, path.to_after))
    return replace(path, to_before=before, to_after=after)


def _of_planes(path: MotionPath, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> MotionPath:
    """A path with each of its flows and beliefs changed."""
    before, after = (None if belief is None else change(belief) for belief in path.beliefs)
    return replace(_of_flows(path, change), beliefs=(before, after))


def _around(start: int, side: int) -> slice:
    """The area around a window, which ends at multiples of HINT_PX or at the frame's border."""
    first = max(0, start - _AROUND_PX)
    first -= first % HINT_PX
    last = min(side, start + _WINDOW_PX + _AROUND_PX)
    return slice(first, min(side, last + -last % HINT_PX))


def _picture(pixels: Picture) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def _planes(plane: Flow | Belief) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(plane).transpose(2, 0, 1)))[None]


WINDOWS, RENDERED_WINDOWS = "windows", "rendered windows"  # names of the figures


class VideoPganStage(Stage[PathWindowBatch]):
    """Trains G_p of a video, and its D_i.

    Args:
        generator: G_p.
        discriminator: D_i.
        settings: The schedule.
        folder: The folder of the checkpoint.
        held_out: Windows to judge by, by the name of their figures; there may be none.
    """

    def __init__(
        self,
        generator: ConcertPathGenerator,
        discriminator: ConcertDiscriminator,
        settings: VideoPganSettings,
        folder: Path,
        *,
        held_out: dict[str, PathWindowStream],
    ) -> None:
        super().__init__("video-pgan", generator.restoration, {"discriminator": discriminator}, settings, folder)
        self.discriminator, self._held_out = discriminator, held_out

    def train_step(self, batch: PathWindowBatch) -> StepResult:
        """One step of G_p and one of D_i."""
        blurred, sharp, result = batch.blurred_MCHW, batch.sharp_MCHW, batch.result_MCHW
        with self.mixed():
            made = refined(cast(PathRestoration, self.network), batch)
        made = made.float()
        losses = errors(made, sharp)
        objective = self.descend(losses)
        made = made.detach().clamp(0, 1)
        draw = torch.Generator().manual_seed(self.step)
        is_made, share = (torch.rand(len(made), 1, 1, 1, generator=draw).to(made.device) for _ in range(2))
        low, high = _THIRD_STEPS
        third = (result + (low + (high - low) * share) * (made - result)).clamp(0, 1)
        with self.mixed():
            told = discriminator_loss(
                self.discriminator, blurred, sharp, torch.where(is_made < 0.5, made, result), batch.is_blurred_M
            )
            judged = [
                weight * judgement_loss_of(self.discriminator, blurred, sharp, before, after)
                for weight, before, after in ((1.0, result, made), (0.5, result, third), (0.3, blurred, result))
            ]
            ranking, locating = (
                loss(self.discriminator, blurred, result, sharp) + loss(self.discriminator, blurred, made, sharp) / 2
                for loss in (ranking_loss, locating_loss)
            )
        judgement = torch.stack(judged).sum()
        self.descend_opponent("discriminator", told + judgement + _RANKING * ranking + locating)
        figures = {"discriminator": told, "judgement": judgement, "ranking": ranking, "locating": locating}
        return StepResult(objective=objective, figures=losses | figures)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """G_p's gain on held-out windows, dB; the share that D_i keeps, and the gain of that share."""
        figures: dict[str, float] = {}
        for name, windows in self._held_out.items():
            figures |= self._judged(name, on_device(windows.batch(0), self.device))
        return figures

    def _judged(self, name: str, batch: PathWindowBatch) -> dict[str, float]:
        made = refined(cast(PathRestoration, self.ema.module), batch).float().clamp(0, 1)
        gain_M, grown_M = judged_steps(
            self.discriminator, batch.blurred_MCHW, batch.sharp_MCHW, batch.result_MCHW, made
        )
        kept_M = grown_M > 0
        return {
            name: gain_M.mean().item(),
            f"{name}, kept": kept_M.float().mean().item(),
            f"{name}, gain of the kept": gain_M[kept_M].mean().item() if kept_M.any() else 0.0,
        }


def refined(restoration: PathRestoration, batch: PathWindowBatch) -> Tensor:
    """G_p's results of windows, not clamped."""
    planes = by_plane(batch.taps_MTHW)
    made: Tensor = restoration(batch.result_MCHW, batch.guess_MGHW, *planes, batch.smear_M2hw)
    return made
