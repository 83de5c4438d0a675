"""What the analysis is told: which filter of the bank serves each sample best, of all of them.

By Parseval's theorem the error that a filter R leaves, |S - R B|^2 summed over frequencies, is linear in
sums over |S|^2, Re(S conj B) and |B|^2 weighted by 1, R and R^2: two matrix products give the errors of the
whole bank. So any blur can be a sample, known kernel or not, and noise counts by itself.

Shape suffixes: N samples, K filters of the bank, F frequencies (a grid of every second one).
"""

from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.fast import BLUR_TYPES, Analysis, BlurAnalysis
from concertdeblur.models.inverse_filter import CELL_PX, WINDOW_PX, bank_responses, looped
from concertdeblur.models.spectrum import SpectrumDescriptor, luma
from concertdeblur.training.samples import Batch
from concertdeblur.training.stage import Schedule, Stage

_CAPTURE = BLUR_TYPES.index("capture")  # its blur has no level
_TARGET_DB = 0.4  # a filter that serves this much better is wanted e times as much


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
    # a real FFT leaves out the other half, which is the mirror image of this one
    twice = torch.full((WINDOW_PX, WINDOW_PX // 2 + 1), 2.0, device=blurred.device)
    twice[:, 0] = 1
    twice[0, 0] = 0  # every filter keeps the mean
    common_NF = _every_second((sharp * blurred.conj()).real * twice)
    power_NF = _every_second(blurred.abs().square() * twice)
    left_N = _every_second(sharp.abs().square() * twice).sum(1, keepdim=True)
    errors = left_N - 2 * common_NF @ responses_KF.T + power_NF @ squares_KF.T
    return 4 * errors.clamp_min(0)


def analysis_loss(analysis: Analysis, batch: Batch, errors_NK: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the filter head against what serves best; of the type; level's error where there is blur."""
    gain_db = -10 * (errors_NK + 1e-7).log10()
    target = (gain_db / _TARGET_DB).softmax(1)
    wanted = -(target * analysis.filter_logits_MK.log_softmax(1)).sum(1).mean()
    return {"filter": wanted} | naming_loss(analysis, batch)


def naming_loss(analysis: Analysis, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of the blur's type; squared error of its level where it has one."""
    has_level = (batch.type_N > 0) & (batch.type_N != _CAPTURE)
    return {
        "type": F.cross_entropy(analysis.type_logits, batch.type_N),
        "level": ((analysis.level_M - batch.level_N).square() * has_level).mean(),
    }


@torch.no_grad()
def loss_of_choice_db(analysis: Analysis, errors_NK: Tensor) -> Tensor:
    """How much better the best filter would have been than the heaviest of the mixture, dB, (N,)."""
    chosen = errors_NK.gather(1, analysis.filter_logits_MK.argmax(1, keepdim=True))[:, 0]
    return 10 * ((chosen + 1e-7) / (errors_NK.amin(1) + 1e-7)).log10()


def _every_second(spectra: Tensor) -> Tensor:
    return spectra[:, ::2, ::2].flatten(1)


class AnalysisStage(Stage[Batch]):
    """Trains the blur analysis of G_i on cells, before anything restores them."""

    def __init__(self, analysis: BlurAnalysis, schedule: Schedule, folder: Path, *, held_out: Batch) -> None:
        super().__init__("analysis", analysis, {}, schedule, folder)
        self._analysis = analysis
        self._describe = SpectrumDescriptor().to(self.device)
        self._held_out = held_out

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step."""
        losses = analysis_loss(self._read(self._analysis, batch), batch, filter_errors(batch))
        self.descend(losses)
        return losses

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """By how much the chosen filter misses the best one, dB, and how often the type is named right."""
        said = self._read(cast(BlurAnalysis, self.ema.module), self._held_out)
        errors_NK = filter_errors(self._held_out)
        lost_N = loss_of_choice_db(said, errors_NK)
        figures = {"lost_db": float(lost_N.mean())}
        for index, name in enumerate(BLUR_TYPES):
            of_type = self._held_out.type_N == index
            if of_type.any():
                figures[f"lost_db {name}"] = float(lost_N[of_type].mean())
        right = said.type_logits.argmax(1) == self._held_out.type_N
        return figures | {"types_right": float(right.float().mean())}

    def _read(self, analysis: BlurAnalysis, batch: Batch) -> Analysis:
        with torch.no_grad():
            described = self._describe(batch.blurred_NCHW, CELL_PX)[:, 0, 0]
        said: Analysis = analysis(described, batch.velocities_N3)
        return said
