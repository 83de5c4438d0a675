"""Training of the baselines: Adam with a rate that falls linearly, L1 and each one's own adversarial term.

Two things differ from their papers. The multi-scale CNN takes L1 on all scales instead of L2, as its authors' later
release does. DeblurGAN takes L1 instead of the perceptual loss, whose VGG weights are not available here. Both are
judged by the moving average of their weights, like our own generators.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.blur import Kernel, blur
from concertdeblur.models.baselines import (
    Baseline,
    DeblurGan,
    DeblurGanCritic,
    Kind,
    MultiScaleCnn,
    MultiScaleDiscriminator,
    shrunk,
)
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.motion import MotionBatch
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.data.samples import Batch, to_tensor
from concertdeblur.training.stage import Schedule, Stage, StepResult
from concertdeblur.training.video import as_floats

_ADVERSARIAL_WEIGHT: dict[Kind, float] = {"multi_scale": 1e-4, "deblurgan": 1e-2}  # beside L1 of weight 1
_CRITIC_STEPS = 5  # steps of the critic for each step of the generator (Kupyn 2018, section 4.2)
_PENALTY_WEIGHT = 10.0  # weight of the gradient penalty (WGAN-GP)
_EVALUATED = 4  # held-out pictures that are evaluated
_JUDGED_PX = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineSchedule(Schedule):
    """Schedule of a baseline."""

    crop_px: int = 256
    seed: int = 0


def paper_schedule(kind: Kind, *, steps: int, crop_px: int = 256, seed: int = 0) -> BaselineSchedule:
    """The settings of the paper's section 4.1, for any number of steps."""
    rate, batch_size = (5e-5, 4) if kind == "multi_scale" else (1e-4, 1)
    return BaselineSchedule(
        steps=steps, cooldown_steps=steps, batch_size=batch_size, warmup_steps=1, learning_rate=rate, crop_px=crop_px,
        seed=seed,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPairs:
    """N pictures or parts of them with their truths, float32 in [0, 1]."""

    blurred_NCHW: Tensor
    sharp_NCHW: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PairBatch:
    """Pairs, of each step that uses the batch."""

    uses: tuple[TrainingPairs, ...]


def pairs_of_cells(batch: Batch) -> PairBatch:
    """Cells of the stages for pictures; one step uses them."""
    return PairBatch(uses=(TrainingPairs(blurred_NCHW=batch.blurred_NCHW, sharp_NCHW=batch.sharp_NCHW),))


def pairs_of_motion(batch: MotionBatch) -> PairBatch:
    """Crops of frames that move, without their neighbours."""
    return PairBatch(
        uses=tuple(
            TrainingPairs(blurred_NCHW=as_floats(crops.blurred_NCHW), sharp_NCHW=as_floats(crops.sharp_NCHW))
            for crops in batch.crops
        )
    )


class BaselineStage(Stage[TrainingPairs]):
    """Trains a baseline; can be stopped after any step and resumed exactly."""

    def __init__(
        self, kind: Kind, network: Baseline, schedule: BaselineSchedule, folder: Path, *, held_out: PictureStore
    ) -> None:
        width = network.settings.width
        critic: nn.Module = (
            MultiScaleDiscriminator(max(1, width // 2)) if kind == "multi_scale" else DeblurGanCritic(width)
        )
        critic.to(next(network.parameters()).device)
        super().__init__(kind, network, {"critic": critic}, schedule, folder)
        self.kind, self.crops, self.critic, self._held_out = kind, schedule, critic, held_out
        betas = (0.9, 0.999) if kind == "multi_scale" else (0.5, 0.999)
        self.adam = self._optimizers["adam"] = torch.optim.Adam(network.parameters(), betas=betas)

    def train_step(self, batch: TrainingPairs) -> StepResult:
        """One step of the generator, after one or five of its opponent."""
        blurred, sharp = self._cropped(batch)
        for group in self._optimizers["critic_adam"].param_groups:
            group["lr"] = self.schedule.rate(self.step)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout and penalty depend on the step alone
            torch.manual_seed(self.crops.seed * 1_000_003 + self.step)
            if isinstance(self.network, MultiScaleCnn):
                return self._multi_scale_step(self.network, blurred, sharp)
            assert isinstance(self.network, DeblurGan)
            return self._deblurgan_step(self.network, blurred, sharp)

    def evaluate(self) -> dict[str, float]:
        """Gain in dB by kernel on the middle of some held-out pictures."""
        gains: dict[str, list[float]] = {}
        with torch.no_grad():
            for number in range(min(_EVALUATED, len(self._held_out))):
                picture = self._held_out.read(number)
                y, x = (picture.shape[0] - _JUDGED_PX) // 2, (picture.shape[1] - _JUDGED_PX) // 2
                sharp_u8 = np.ascontiguousarray(picture[y : y + _JUDGED_PX, x : x + _JUDGED_PX])
                sharp = to_tensor(sharp_u8[None]).to(self.device)
                for kernel in Kernel:
                    blurred = to_tensor(blur(sharp_u8, kernel, 0.5)[None]).to(self.device)
                    made = self.ema.module(blurred).clamp(0, 1)
                    after, before = (psnr_db(x.numpy(force=True), sharp.numpy(force=True)) for x in (made, blurred))
                    gains.setdefault(kernel.value, []).append(after - before)
        return {name: float(np.mean(values)) for name, values in gains.items()}

    def _multi_scale_step(self, network: MultiScaleCnn, blurred: Tensor, sharp: Tensor) -> StepResult:
        with self.mixed():
            results = network.pyramid(blurred)
        scales = [(made.float() - want).abs().mean() for made, want in zip(results, shrunk(sharp), strict=True)]
        # The critic runs in fp32: in bfloat16 oneDNN leaves gradients of its 5x5 kernels unset if maps have one pixel
        restored = results[-1].float()
        self.critic.requires_grad_(False)
        fooled = F.softplus(-self.critic(restored)).mean()
        self.critic.requires_grad_(True)
        losses = {
            "l1": torch.stack(scales).mean(),
            "adversarial": _ADVERSARIAL_WEIGHT[self.kind] * fooled,
        }
        objective = self.descend(losses)
        loss = F.softplus(-self.critic(sharp)).mean() + F.softplus(self.critic(restored.detach())).mean()
        self.descend_opponent("critic", loss)
        return StepResult(objective=objective, figures={**losses, "critic": loss})

    def _deblurgan_step(self, network: DeblurGan, blurred: Tensor, sharp: Tensor) -> StepResult:
        with self.mixed():
            made = network(blurred).float()
        loss = made.new_zeros(())
        for _ in range(_CRITIC_STEPS):
            fake = made.detach()
            loss = self.critic(fake).mean() - self.critic(sharp).mean()
            loss = loss + _PENALTY_WEIGHT * self._penalty(sharp, fake)
            self.descend_opponent("critic", loss)
        self.critic.requires_grad_(False)
        losses = {
            "l1": (made - sharp).abs().mean(),
            "adversarial": -_ADVERSARIAL_WEIGHT[self.kind] * self.critic(made).mean(),
        }
        self.critic.requires_grad_(True)
        objective = self.descend(losses)
        return StepResult(objective=objective, figures={**losses, "critic": loss})

    def _penalty(self, sharp: Tensor, fake: Tensor) -> Tensor:
        """The gradient penalty (Gulrajani et al. 2017): how far the critic's slope between two frames is from 1."""
        share = torch.rand(len(sharp), 1, 1, 1, device=sharp.device)
        between = (share * sharp + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)[0]
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty

    def _cropped(self, batch: TrainingPairs) -> tuple[Tensor, Tensor]:
        side = self.crops.crop_px
        blurred, sharp = batch.blurred_NCHW, batch.sharp_NCHW
        if side >= blurred.shape[-1]:
            return blurred, sharp
        draw = np.random.default_rng([self.crops.seed, self.step])
        y, x = (int(draw.integers(blurred.shape[-1] - side + 1)) for _ in range(2))
        at = (..., slice(y, y + side), slice(x, x + side))
        return blurred[at], sharp[at]
