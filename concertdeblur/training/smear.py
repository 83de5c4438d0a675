"""Stage smear: the predictor of a single picture's smear, on frames of which the motion is known.

A frame of a real pair, of an averaged or of a rendered clip shows its smear, and the flow to its neighbours says what
it is. What is as sharp as its truth has none, however fast it moves.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.prepared import SMEAR_PX
from concertdeblur.models.smear_predictor import PREDICTED_PX, SmearPredictor, bin_shares, signless
from concertdeblur.models.spectrum import luma
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.stage import Schedule, Stage, StepResult
from concertdeblur.training.video import as_floats

# The weight of a place grows with its detail, because a flat one does not show its smear: by the standard deviation of
# its brightness, up to the second value; the first is the weight where all is flat.
_LEAST_WEIGHT, _FULL_DETAIL = 0.1, 6 / 255


@dataclass(frozen=True, kw_only=True, slots=True)
class SmearSettings(Schedule):
    """Schedule of the stage; crops are those of the video's G_i."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SmearTargets:
    """What the predictor is given of N crops, and what it should say."""

    luma_N1HW: Tensor
    wanted_N3hw: Tensor  # as `signless` gives it
    weight_N1hw: Tensor

    def loss(self, logits_NKhw: Tensor) -> Tensor:
        """The cross-entropy of the bins, weighted by detail; one number."""
        entropy_N1hw = -(bin_shares(self.wanted_N3hw) * logits_NKhw.log_softmax(1)).sum(1, keepdim=True)
        return (entropy_N1hw * self.weight_N1hw).sum() / self.weight_N1hw.sum()

    def error_px(self, predicted_N3hw: Tensor) -> Tensor:
        """The mean distance between predicted and true smears, as far as no sign tells them apart."""
        distance = (predicted_N3hw - self.wanted_N3hw)[:, :2].norm(dim=1, keepdim=True)
        error: Tensor = (distance * self.weight_N1hw).sum() / self.weight_N1hw.sum()
        return error


class SmearStage(Stage[MotionCrops]):
    """Trains the predictor of smears.

    Args:
        predictor: The network.
        settings: The schedule.
        folder: The folder of the checkpoint.
        held_out: Crops by which it is judged.
    """

    def __init__(
        self, predictor: SmearPredictor, settings: SmearSettings, folder: Path, *, held_out: MotionCrops
    ) -> None:
        super().__init__("smear", predictor, {}, settings, folder)
        self.predictor, self._held_out = predictor, held_out

    def train_step(self, crops: MotionCrops) -> StepResult:
        """One step."""
        targets = smear_targets(crops)
        with self.mixed():
            logits = self.predictor.rated(targets.luma_N1HW)
        return StepResult(objective=self.descend({"smear": targets.loss(logits)}), figures={})

    def evaluate(self) -> dict[str, float]:
        """Error of the smear on held-out crops, beside the error of saying that nothing is smeared."""
        targets, predictor = smear_targets(self._held_out), cast(SmearPredictor, self.ema.module)
        with torch.inference_mode(), self.mixed():
            predicted = predictor(targets.luma_N1HW)
        nothing = torch.zeros_like(predicted)
        return {"smear error px": float(targets.error_px(predicted)), "smear px": float(targets.error_px(nothing))}


def smear_targets(crops: MotionCrops) -> SmearTargets:
    """The smear of each place of crops of frames that move."""
    luma_N1HW = luma(as_floats(crops.blurred_NCHW))
    is_blurred_N = (crops.blurred_NCHW != crops.sharp_NCHW).flatten(1).any(1)
    smear = F.avg_pool2d(crops.smear_N2hw * is_blurred_N[:, None, None, None], PREDICTED_PX // SMEAR_PX)
    mean = F.avg_pool2d(luma_N1HW, PREDICTED_PX)
    deviation = (F.avg_pool2d(luma_N1HW.square(), PREDICTED_PX) - mean.square()).clamp(min=0).sqrt()
    detail = F.max_pool2d(deviation, 3, stride=1, padding=1)
    weight = _LEAST_WEIGHT + (detail / _FULL_DETAIL).clamp(max=1)
    return SmearTargets(luma_N1HW=luma_N1HW, wanted_N3hw=signless(smear), weight_N1hw=weight)
