"""Stage pGAN: inside testing, mining, and the patch-scale generator G_p with its discriminator D_p.

Algorithm 1, training half: G_i deblurs the training pictures ("inside testing"), D_i finds the most
blurred windows of the results, and G_p learns to bring those windows to the sharp ones.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from concertdeblur import cam
from concertdeblur.errors import TrainingError
from concertdeblur.models.discriminator import FastDiscriminator
from concertdeblur.models.fast import FastGenerator, FastPatchGenerator
from concertdeblur.training.checkpoint import load_checkpoint, save_checkpoint
from concertdeblur.training.ema import Ema
from concertdeblur.training.igan import generate
from concertdeblur.training.objective import delta, discriminator_loss, sharp_loss
from concertdeblur.training.report import Report
from concertdeblur.training.samples import SampleStream


@dataclass(frozen=True, kw_only=True, slots=True)
class PganSettings:
    """Schedule and weights of the stage; the schedule counts steps only."""

    num_pictures: int  # crops that G_i deblurs for mining
    windows_per_picture: int = 2  # the most blurred ones of each
    steps: int
    cooldown_steps: int
    batch_size: int = 16
    warmup_steps: int = 100
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    max_gradient_norm: float = 0.5
    adversarial_weight: float = 0.001
    save_every: int = 250

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = max(0, self.steps - step) / max(1, self.cooldown_steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


@dataclass(frozen=True, kw_only=True, slots=True)
class MinedWindows:
    """M windows of 128x128 px with what G_p is told about them."""

    result_MCHW: Tensor  # cut from G_i's result, float16
    blurred_MCHW: Tensor  # the same windows of the input
    sharp_MCHW: Tensor  # and of the ground truth
    embedding_ME: Tensor  # blur embedding of the whole crop
    is_blurred_M: Tensor  # False where the input was sharp


@torch.no_grad()
def mine_windows(
    generator: FastGenerator,
    discriminator: FastDiscriminator,
    stream: SampleStream,
    settings: PganSettings,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> MinedWindows:
    """Deblur crops of the training pictures and cut the windows that D_i finds most blurred."""
    rows: list[tuple[Tensor, ...]] = []
    step = num_done = 0
    while num_done < settings.num_pictures:
        batch = stream.batch(step)
        analysis, _, restored = generate(generator, batch.blurred_NCHW)
        restored = restored.clamp(0, 1)
        maps = discriminator(batch.blurred_NCHW, restored).double().numpy()
        cell = cam.cells_of(*restored.shape[2:])[0]
        for n, map_hw in enumerate(maps):
            ranked = sorted(cell.windows, key=lambda window: map_hw[window.of_map()].mean())
            for window in ranked[: settings.windows_per_picture]:
                area = (n, slice(None), *window.of_pixels())
                cut = [x[area].half() for x in (restored, batch.blurred_NCHW, batch.sharp_NCHW)]
                rows.append((*cut, analysis.embedding_NE[n].half(), batch.type_N[n] > 0))
        step += 1
        num_done += len(restored)
        on_progress(num_done, settings.num_pictures)
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return MinedWindows(
        result_MCHW=columns[0],
        blurred_MCHW=columns[1],
        sharp_MCHW=columns[2],
        embedding_ME=columns[3],
        is_blurred_M=columns[4],
    )


class PganStage:
    """Trains G_p and D_p on mined windows; can be stopped after any step and resumed exactly."""

    def __init__(
        self,
        generator: FastPatchGenerator,
        discriminator: FastDiscriminator,
        settings: PganSettings,
        folder: Path,
        *,
        seed: int,
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.ema = Ema(generator, decay=settings.ema_decay)
        self.settings = settings
        self.step = 0
        self._seed = seed
        self._checkpoint = folder / "pgan.safetensors"
        self._modules = {"generator": generator, "ema": self.ema.module, "discriminator": discriminator}
        self._optimizers = {
            "generator_adam": torch.optim.AdamW(generator.parameters(), betas=(0.9, 0.99), weight_decay=1e-4),
            "discriminator_adam": torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        }

    def resume(self) -> bool:
        """Go on from the checkpoint in the folder, if there is one."""
        if not self._checkpoint.exists():
            return False
        self.step = load_checkpoint(self._checkpoint, dict(self._modules), dict(self._optimizers))["step"]
        return True

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self._checkpoint, dict(self._modules), dict(self._optimizers), {"step": self.step})

    def run(self, windows: MinedWindows, *, until_s: float, on_report: Callable[[Report], None]) -> None:
        """Train until the schedule ends or `until_s` seconds have passed; saves before returning."""
        started = time.monotonic()
        try:
            while self.step < self.settings.steps and time.monotonic() - started < until_s:
                losses = self._train_step(windows)
                self.step += 1
                if self.step % 50 == 0 or self.step == self.settings.steps:
                    on_report(
                        Report(
                            stage="pgan",
                            step=self.step,
                            steps=self.settings.steps,
                            losses=losses,
                            held_out={},
                            elapsed_s=time.monotonic() - started,
                            waited_s=0.0,
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

    def _train_step(self, windows: MinedWindows) -> dict[str, float]:
        settings = self.settings
        adam_g, adam_d = self._optimizers["generator_adam"], self._optimizers["discriminator_adam"]
        for group in adam_g.param_groups:
            group["lr"] = settings.rate(self.step)
        draw = torch.Generator().manual_seed(self._seed * 1_000_003 + self.step)
        picked = torch.randint(len(windows.result_MCHW), (settings.batch_size,), generator=draw)
        result, blurred, sharp = (
            x[picked].float().contiguous(memory_format=torch.channels_last)
            for x in (windows.result_MCHW, windows.blurred_MCHW, windows.sharp_MCHW)
        )
        refined = self.generator.restoration(result, blurred, windows.embedding_ME[picked].float())
        self.discriminator.requires_grad_(False)
        losses = {
            "l1": (refined - sharp).abs().mean(),
            "adversarial": settings.adversarial_weight * sharp_loss(delta(self.discriminator, blurred, refined)),
        }
        self.discriminator.requires_grad_(True)
        before = (result - sharp).abs().mean()
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
        loss = discriminator_loss(
            self.discriminator, blurred, sharp, refined.detach().clamp(0, 1), windows.is_blurred_M[picked]
        )
        adam_d.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam_d.step()
        losses |= {"discriminator": loss, "l1_before": before}
        return {name: float(value.detach()) for name, value in losses.items()}
