"""Training of the blur analysis: it learns which filter of the bank leaves the least error of each sample.

By Parseval's theorem a filter R of the blurred sample B leaves the error |S - R B|^2 of the sharp sample S, summed over
frequencies. This is a sum of |S|^2, of Re(S conj B) weighted by R, and of |B|^2 weighted by R^2. So two matrix products
give the errors of all filters of the bank. A sample needs no known kernel, and its noise is counted without a model.

Each step learns from new cells and from cells of earlier steps: it takes long to make a cell, but its descriptor is
small enough to be kept.

Shape suffixes: N samples, K filters of the bank, F frequencies (a grid of every second one).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.blur_cells import BLUR_CELL_PX, FFT_PX, looped
from concertdeblur.models.concert import BLUR_TYPES, Analysis, BlurAnalysis
from concertdeblur.models.kernel_bank import bank_responses
from concertdeblur.models.spectrum import SpectrumDescriptor, luma
from concertdeblur.settings import check_least
from concertdeblur.training.cell_memory import CellMemory, DescribedCells, drawn_places
from concertdeblur.training.data.bundles import joined, mapped
from concertdeblur.training.data.samples import Batch
from concertdeblur.training.distributed import World, gathered
from concertdeblur.training.stage import Schedule, Stage, StepResult

_CAPTURE = BLUR_TYPES.index("capture")  # the blur of this type has no level
_TARGET_DB = 0.4  # a filter whose error is smaller by this gets e times the weight in the target


@lru_cache(maxsize=1)
def _sparse_bank(device: torch.device) -> tuple[Tensor, Tensor]:
    responses_KF = _every_second(bank_responses(device))
    return responses_KF, responses_KF.square()


@torch.no_grad()
def filter_errors(batch: Batch) -> Tensor:
    """Mean squared error of the luma of each sample after each filter of the bank, (N, K)."""
    blurred = torch.fft.rfft2(luma(looped(batch.surrounded_blurred))[:, 0], norm="forward")
    sharp = torch.fft.rfft2(luma(looped(batch.surrounded_sharp))[:, 0], norm="forward")
    responses_KF, squares_KF = _sparse_bank(blurred.device)
    # a real FFT gives one half of the spectrum, and the other half is its mirror image
    twice = torch.full((FFT_PX, FFT_PX // 2 + 1), 2.0, device=blurred.device)
    twice[:, 0] = 1
    twice[0, 0] = 0  # no filter changes the mean
    common_NF = _every_second((sharp * blurred.conj()).real * twice)
    power_NF = _every_second(blurred.abs().square() * twice)
    left_N = _every_second(sharp.abs().square() * twice).sum(1, keepdim=True)
    errors = left_N - 2 * common_NF @ responses_KF.T + power_NF @ squares_KF.T
    return 4 * errors.clamp_min(0)


def analysis_loss(analysis: Analysis, cells: DescribedCells) -> dict[str, Tensor]:
    """Cross-entropy of the filter weights against the best filters and of the type, and the level's error."""
    gain_db = -10 * (cells.errors_MK + 1e-7).log10()
    target = (gain_db / _TARGET_DB).softmax(1)
    filter_loss = -(target * analysis.filter_logits_MK.log_softmax(1)).sum(1).mean()
    return {"filter": filter_loss} | naming_loss(analysis, cells.type_M, cells.level_M)


def naming_loss(analysis: Analysis, type_M: Tensor, level_M: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the blur's type; squared error of its level where it has one."""
    has_level = (type_M > 0) & (type_M != _CAPTURE)
    return {
        "type": F.cross_entropy(analysis.type_logits, type_M),
        "level": ((analysis.level_M - level_M).square() * has_level).mean(),
    }


@torch.no_grad()
def loss_of_choice_db(analysis: Analysis, errors_NK: Tensor) -> Tensor:
    """How much better the best filter would have been than the heaviest of the mixture, dB, (N,)."""
    chosen = errors_NK.gather(1, analysis.filter_logits_MK.argmax(1, keepdim=True))[:, 0]
    return 10 * ((chosen + 1e-7) / (errors_NK.amin(1) + 1e-7)).log10()


def _every_second(spectra: Tensor) -> Tensor:
    return spectra[:, ::2, ::2].flatten(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisSchedule(Schedule):
    """Schedule of the analysis."""

    replayed: int = 112  # cells of each step that come from earlier steps
    remembered: int = 4096  # they are drawn from the last cells, so many

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)  # `super()` does not work in a dataclass with slots
        check_least(self, replayed=0, remembered=0)


class AnalysisStage(Stage[Batch]):
    """Trains the blur analysis of G_i on cells, before anything restores them."""

    def __init__(
        self, analysis: BlurAnalysis, schedule: AnalysisSchedule, folder: Path, *, held_out: Batch, seed: int,
        world: World | None = None,
    ) -> None:  # fmt: skip
        super().__init__("analysis", analysis, {}, schedule, folder)
        self._memory = CellMemory(max(schedule.remembered, schedule.batch_size)).to(self.device)
        self._modules["memory"] = self._memory
        self._analysis, self._replayed, self._seed = analysis, schedule.replayed, seed
        self._world = world or World()
        self._describe = SpectrumDescriptor().to(self.device)
        self._held_out = held_out

    def train_step(self, batch: Batch) -> StepResult:
        """One step."""
        cells = self._described(batch)
        seen = self.step * self.schedule.batch_size  # cells that all processes together have seen
        places = drawn_places(
            self._replayed, out_of=min(seen, self._memory.capacity), seed=(self._seed, self.step), world=self._world
        )
        known = joined(DescribedCells, [cells, self._memory.at(places.to(self.device))])
        self._memory.add(mapped(cells, gathered), first=seen)
        losses = analysis_loss(self._analysis(known.described_M2HF, known.velocities_M3), known)
        return StepResult(objective=self.descend(losses), figures=losses)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """How much better the best filter would be than the chosen one, dB, and how often the type is named right."""
        cells = self._judged
        said: Analysis = self.ema.module(cells.described_M2HF, cells.velocities_M3)
        lost_M = loss_of_choice_db(said, cells.errors_MK)
        figures = {"lost_db": float(lost_M.mean())}
        for index, name in enumerate(BLUR_TYPES):
            of_type = cells.type_M == index
            if of_type.any():
                figures[f"lost_db {name}"] = float(lost_M[of_type].mean())
        right = said.type_logits.argmax(1) == cells.type_M
        return figures | {"types_right": float(right.float().mean())}

    @cached_property
    def _judged(self) -> DescribedCells:
        """The held-out cells. They are described at the first evaluation, since a finished stage needs none."""
        return self._described(self._held_out)

    @torch.no_grad()
    def _described(self, batch: Batch) -> DescribedCells:
        return DescribedCells(
            described_M2HF=self._describe(batch.blurred_NCHW, BLUR_CELL_PX)[:, 0, 0],
            errors_MK=filter_errors(batch),
            type_M=batch.type_N,
            level_M=batch.level_N,
            velocities_M3=batch.velocities_N3,
        )
