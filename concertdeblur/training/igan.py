"""Stage iGAN: the image-scale generator G_i and its CAM discriminator D_i, on (blurred, sharp) crops."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.blur.kernels import Kernel, blur
from concertdeblur.errors import TrainingError
from concertdeblur.models.discriminator import FastDiscriminator
from concertdeblur.models.fast import Analysis, FastGenerator
from concertdeblur.models.inverse_filter import (
    NOISE_TO_SIGNAL,
    apply_response,
    inverse_responses,
    padded_length,
)
from concertdeblur.training.checkpoint import load_checkpoint, save_checkpoint
from concertdeblur.training.ema import Ema
from concertdeblur.training.objective import analysis_loss, delta, discriminator_loss, noise_loss, sharp_loss
from concertdeblur.training.pictures import PictureStore
from concertdeblur.training.report import Report
from concertdeblur.training.samples import Batch, SampleStream, to_tensor

ANALYSIS_STRIDE_PX = 16  # of the spectrum windows on training crops


@dataclass(frozen=True, kw_only=True, slots=True)
class IganSettings:
    """Schedule and weights of the stage; the schedule counts steps only."""

    steps: int
    cooldown_steps: int  # the rate falls linearly to 0 over the last steps
    batch_size: int = 8
    warmup_steps: int = 200
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    max_gradient_norm: float = 0.5
    filter_weight: float = 0.1  # of the MSE of the inverse-filtered picture
    analysis_weight: float = 0.004
    adversarial_weight: float = 0.001  # paper: 0.01 (1 beside 100 L1); PSNR wants less
    adversarial_from_step: int = 0  # D_i starts training here, G_i feels it from here on
    save_every: int = 250
    evaluate_every: int = 500

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = max(0, self.steps - step) / max(1, self.cooldown_steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


class IganStage:
    """Trains G_i and D_i; can be stopped after any step and resumed exactly."""

    def __init__(
        self, generator: FastGenerator, discriminator: FastDiscriminator, settings: IganSettings, folder: Path
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.ema = Ema(generator, decay=settings.ema_decay)
        self.settings = settings
        self.step = 0
        self._checkpoint = folder / "igan.safetensors"
        self._modules = {"generator": generator, "ema": self.ema.module, "discriminator": discriminator}
        self._optimizers = {
            "generator_adam": torch.optim.AdamW(generator.parameters(), betas=(0.9, 0.99), weight_decay=1e-4),
            "discriminator_adam": torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        }

    def resume(self) -> bool:
        """Go on from the checkpoint in the folder, if there is one."""
        if not self._checkpoint.exists():
            return False
        self.step = load_checkpoint(self._checkpoint, self._modules, dict(self._optimizers))["step"]
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self._checkpoint, self._modules, dict(self._optimizers), {"step": self.step})

    def run(
        self,
        stream: SampleStream,
        held_out: PictureStore,
        *,
        until_s: float,
        on_report: Callable[[Report], None],
    ) -> None:
        """Train until the schedule ends or `until_s` seconds have passed; saves before returning."""
        started = time.monotonic()
        waited = 0.0
        try:
            while self.step < self.settings.steps and time.monotonic() - started < until_s:
                asked = time.monotonic()
                batch = stream.batch(self.step)
                waited += time.monotonic() - asked
                losses = self._train_step(batch)
                self.step += 1
                due = self.step % self.settings.evaluate_every == 0 or self.step == self.settings.steps
                gains = held_out_gains(self.ema.module, held_out) if due else {}
                if due or self.step % 50 == 0:
                    elapsed = time.monotonic() - started
                    on_report(
                        Report(
                            stage="igan",
                            step=self.step,
                            steps=self.settings.steps,
                            losses=losses,
                            held_out=gains,
                            elapsed_s=elapsed,
                            waited_s=waited,
                        )
                    )
                if self.step % self.settings.save_every == 0:
                    self.save()
        except TrainingError:
            raise  # the last checkpoint is better than these weights
        except BaseException:
            self.save()
            raise
        self.save()

    def _train_step(self, batch: Batch) -> dict[str, float]:
        settings = self.settings
        adam_g, adam_d = self._optimizers["generator_adam"], self._optimizers["discriminator_adam"]
        adversarial = self.step >= settings.adversarial_from_step
        for group in adam_g.param_groups:
            group["lr"] = settings.rate(self.step)
        analysis, filtered, restored = generate(self.generator, batch.blurred_NCHW)
        losses = {
            "l1": (restored - batch.sharp_NCHW).abs().mean(),
            "filter": settings.filter_weight * F.mse_loss(filtered, batch.sharp_NCHW),
            "analysis": settings.analysis_weight * analysis_loss(analysis, batch),
            "noise": settings.analysis_weight * noise_loss(analysis, filtered_errors(batch)),
        }
        if adversarial:
            self.discriminator.requires_grad_(False)
            confidence = delta(self.discriminator, batch.blurred_NCHW, restored)
            losses["adversarial"] = settings.adversarial_weight * sharp_loss(confidence)
            self.discriminator.requires_grad_(True)
        total = torch.stack(list(losses.values())).sum()
        if not math.isfinite(total.item()):
            raise TrainingError(f"the loss at step {self.step} is not a number; the last checkpoint is kept")
        adam_g.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), settings.max_gradient_norm)
        if not norm.isfinite():
            raise TrainingError(f"the gradient at step {self.step} is not a number; the last checkpoint is kept")
        adam_g.step()
        self.ema.update(self.step)
        if adversarial:
            loss = discriminator_loss(
                self.discriminator,
                batch.blurred_NCHW,
                batch.sharp_NCHW,
                restored.detach().clamp(0, 1),
                batch.type_N > 0,
            )
            adam_d.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam_d.step()
            losses["discriminator"] = loss
        return {name: float(value.detach()) for name, value in losses.items()}


_RESPONSES: dict[tuple[int, int], Tensor] = {}


@torch.no_grad()
def filtered_errors(batch: Batch) -> Tensor:
    """Mean squared error of each sample filtered by its true kernel, (N, noise ratios)."""
    responses, padded = _bank_for(batch.blurred_NCHW)
    first = batch.kernel_N * len(NOISE_TO_SIGNAL)
    errors = []
    for ratio in range(len(NOISE_TO_SIGNAL)):
        chosen = responses[first + ratio].view(len(first), padded[0], -1)
        filtered = apply_response(batch.blurred_NCHW, chosen, padded).clamp(0, 1)
        errors.append((filtered - batch.sharp_NCHW).square().mean((1, 2, 3)))
    return torch.stack(errors, 1)


def _bank_for(frames_NCHW: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Responses of the bank, (num_filters, flat), for crops of this size, and the padded size."""
    padded = (padded_length(frames_NCHW.shape[2]), padded_length(frames_NCHW.shape[3]))
    if padded not in _RESPONSES:
        _RESPONSES[padded] = inverse_responses(*padded, like=frames_NCHW).flatten(1)
    return _RESPONSES[padded], padded


def generate(generator: FastGenerator, blurred_NCHW: Tensor) -> tuple[Analysis, Tensor, Tensor]:
    """G_i on training crops: (analysis, inverse-filtered crops, restored crops), differentiable."""
    responses, padded = _bank_for(blurred_NCHW)
    analysis = generator.analysis(blurred_NCHW, ANALYSIS_STRIDE_PX)
    responses_NHF = (analysis.weights_NK @ responses).view(len(blurred_NCHW), padded[0], -1)
    filtered = apply_response(blurred_NCHW, responses_NHF, padded).contiguous(memory_format=torch.channels_last)
    restored = generator.restoration(blurred_NCHW, filtered, analysis.embedding_NE)
    return analysis, filtered, restored


@torch.no_grad()
def held_out_gains(generator: FastGenerator, held_out: PictureStore, *, side_px: int = 256) -> dict[str, float]:
    """PSNR gain in dB by kernel at level 0.5 on the centres of held-out pictures; `sharp`: PSNR of sharp input."""
    gains: dict[str, list[float]] = {}
    for number in range(len(held_out)):
        picture = held_out.read(number)
        y, x = (picture.shape[0] - side_px) // 2, (picture.shape[1] - side_px) // 2
        sharp_u8 = np.ascontiguousarray(picture[y : y + side_px, x : x + side_px])
        names = ["sharp", *Kernel]
        blurred = to_tensor(np.stack([sharp_u8, *(blur(sharp_u8, kernel, 0.5) for kernel in Kernel)]))
        sharp = to_tensor(sharp_u8[None])
        restored = generate(generator, blurred)[2].clamp(0, 1)
        before, after = psnr(blurred, sharp), psnr(restored, sharp)
        for name, b, a in zip(names, before.tolist(), after.tolist(), strict=True):
            gains.setdefault(name, []).append(a if name == "sharp" else a - b)
    return {name: float(np.mean(values)) for name, values in gains.items()}


def psnr(pictures_NCHW: Tensor, reference_NCHW: Tensor) -> Tensor:
    """PSNR in dB of each picture in [0, 1], (N,); 100 dB where they are equal."""
    error = (pictures_NCHW - reference_NCHW).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()
