"""The paper's networks trained with the paper's constants: 100 L1 + L_cGAN, Adam 2e-4, batch 1, dropout on.

The stages are those of architecture `concert` (iGAN, mining, pGAN), without an analysis. `objective` has 1 L1 + 0.01
L_cGAN, so the losses are multiplied by 100 here: Adam's epsilon makes its steps depend on the scale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.blur.kernels import Kernel, blur
from concertdeblur.deblurring import cam
from concertdeblur.models.discriminator import PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.data.samples import Batch, to_tensor
from concertdeblur.training.igan import IganSettings
from concertdeblur.training.objective import delta, discriminator_loss, sharp_loss
from concertdeblur.training.pgan import PganSettings
from concertdeblur.training.stage import BatchT, Schedule, Stage, StepResult

_L1_WEIGHT = 100.0  # paper section 4.1
_BETAS = (0.5, 0.999)  # pix2pix


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperWindows:
    """M windows of 128x128 px; float16 in memory."""

    result_MCHW: Tensor  # cut from G_i's result
    blurred_MCHW: Tensor  # the same windows of the input
    sharp_MCHW: Tensor  # the same windows of the ground truth
    is_blurred_M: Tensor  # False where the input was sharp


class _PaperStage(Stage[BatchT]):
    """One U-Net against one discriminator."""

    def __init__(
        self, name: str, unet: nn.Module, discriminator: PaperDiscriminator, schedule: Schedule, folder: Path,
        *, seed: int,
    ) -> None:  # fmt: skip
        super().__init__(name, unet, {"discriminator": discriminator}, schedule, folder)
        self.adam = self._optimizers["adam"] = torch.optim.Adam(unet.parameters(), betas=_BETAS)
        self.discriminator = discriminator
        self._seed = seed

    def _play(
        self, given: Tensor, blurred: Tensor, sharp: Tensor, is_blurred_N: Tensor, adversarial_weight: float
    ) -> StepResult:
        """One step of G on `given` and one of D; the figures are without the factor 100, the objective has it."""
        torch.manual_seed(self._seed * 1_000_003 + self.step)  # a resumed run has the same dropout
        self.network.train()
        with self.mixed():
            restored = self.network(given).float()
            self.discriminator.requires_grad_(False)
            confidence = delta(self.discriminator, blurred, restored)
            self.discriminator.requires_grad_(True)
        losses = {
            "l1": (restored - sharp).abs().mean(),
            "adversarial": adversarial_weight * sharp_loss(confidence),
        }
        objective = self.descend({name: _L1_WEIGHT * loss for name, loss in losses.items()})
        for group in self._optimizers["discriminator_adam"].param_groups:
            group["lr"] = self.schedule.rate(self.step)
        fake = restored.detach()
        if self.step % 2:  # `discriminator_loss` blurs the left half of a batch's first picture
            blurred, sharp, fake = blurred.flip(3), sharp.flip(3), fake.flip(3)
        with self.mixed():
            loss = discriminator_loss(self.discriminator, blurred, sharp, fake, is_blurred_N)
        self.descend_opponent("discriminator", loss)
        return StepResult(objective=objective, figures=losses | {"discriminator": loss})


class PaperIganStage(_PaperStage[Batch]):
    """Trains U-Net-256 against D_i on pairs of 256x256 px."""

    def __init__(
        self, generator: PaperGenerator, discriminator: PaperDiscriminator, settings: IganSettings, folder: Path,
        *, held_out: PictureStore, seed: int,
    ) -> None:  # fmt: skip
        super().__init__("igan", generator.restoration, discriminator, settings, folder, seed=seed)
        self._weight = settings.adversarial_weight
        self._held_out = held_out

    def train_step(self, batch: Batch) -> StepResult:
        """One step of G_i and one of D_i."""
        blurred = batch.blurred_NCHW
        return self._play(blurred, blurred, batch.sharp_NCHW, batch.type_N != 0, self._weight)

    def evaluate(self) -> dict[str, float]:
        """Gain on held-out pictures, dB by kernel."""
        return held_out_gains(self.ema.module, self._held_out)


class PaperPganStage(_PaperStage[PaperWindows]):
    """Trains U-Net-128 against D_p on mined windows of G_i's results."""

    def __init__(
        self, generator: PaperPatchGenerator, discriminator: PaperDiscriminator, settings: PganSettings, folder: Path,
        *, seed: int,
    ) -> None:  # fmt: skip
        super().__init__("pgan", generator.restoration, discriminator, settings, folder, seed=seed)
        self._weight = settings.adversarial_weight

    def train_step(self, batch: PaperWindows) -> StepResult:
        """One step of G_p and one of D_p."""
        played = self._play(batch.result_MCHW, batch.blurred_MCHW, batch.sharp_MCHW, batch.is_blurred_M, self._weight)
        l1_before = (batch.result_MCHW - batch.sharp_MCHW).abs().mean()
        return StepResult(objective=played.objective, figures=played.figures | {"l1_before": l1_before})


@torch.no_grad()
def mine_paper_windows(
    unet: nn.Module,
    discriminator: PaperDiscriminator,
    batches: Callable[[int], Batch],
    settings: PganSettings,
    *,
    first_step: int = 0,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PaperWindows:
    """Mine windows: deblur the training pictures, and cut out the windows that D_i finds most blurred."""
    rows: list[tuple[Tensor, ...]] = []
    step, num_done = first_step, 0
    while num_done < settings.num_pictures:
        batch = batches(step)
        blurred, sharp = batch.blurred_NCHW, batch.sharp_NCHW
        result = unet(blurred)
        cell = cam.cells_of(*result.shape[2:])[0]
        size = (result.shape[2] // cam.MAP_PX, result.shape[3] // cam.MAP_PX)
        maps = F.interpolate(discriminator(blurred, result)[:, None], size, mode="bilinear")[:, 0]  # as BRMR does
        for n, map_hw in enumerate(maps.double().cpu().numpy()):
            ranked = sorted(cell.windows, key=lambda window: map_hw[window.of_map()].mean())
            for window in ranked[: settings.windows_per_picture]:
                cuts = [x[(n, slice(None), *window.of_pixels())].half().cpu() for x in (result, blurred, sharp)]
                rows.append((*cuts, batch.type_N[n].cpu() != 0))
        step += 1
        num_done += len(result)
        on_progress(min(num_done, settings.num_pictures), settings.num_pictures)
    result_M, blurred_M, sharp_M, is_blurred_M = (torch.stack(column) for column in zip(*rows, strict=True))
    return PaperWindows(result_MCHW=result_M, blurred_MCHW=blurred_M, sharp_MCHW=sharp_M, is_blurred_M=is_blurred_M)


def drawn_windows(windows: PaperWindows, *, batch_size: int, seed: int) -> Callable[[int], PaperWindows]:
    """Batches in float32. An epoch has every window once, mirrored at random, in an order that the seed decides."""
    count = len(windows.result_MCHW)

    def batch(step: int) -> PaperWindows:
        draws = [divmod(step * batch_size + n, count) for n in range(batch_size)]
        picked = torch.tensor([_order(seed, epoch, count)[place] for epoch, place in draws])
        is_mirrored = bool(np.random.default_rng([seed, step]).integers(2))

        def take(pictures: Tensor) -> Tensor:
            taken = pictures[picked].float()
            return taken.flip(3) if is_mirrored else taken

        return PaperWindows(
            result_MCHW=take(windows.result_MCHW),
            blurred_MCHW=take(windows.blurred_MCHW),
            sharp_MCHW=take(windows.sharp_MCHW),
            is_blurred_M=windows.is_blurred_M[picked],
        )

    return batch


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    order: list[int] = np.random.default_rng([seed, epoch, count]).permutation(count).tolist()
    return order


@torch.no_grad()
def held_out_gains(unet: nn.Module, held_out: PictureStore, *, level: float = 0.5) -> dict[str, float]:
    """PSNR gain in dB by kernel on the centres of held-out pictures; `sharp`: PSNR of sharp input."""
    device = next(unet.parameters()).device
    gains: dict[str, list[float]] = {}
    for number in range(len(held_out)):
        picture = held_out.read(number)
        y, x = ((length - cam.BRMR_CELL_PX) // 2 for length in picture.shape[:2])
        sharp_u8 = np.ascontiguousarray(picture[y : y + cam.BRMR_CELL_PX, x : x + cam.BRMR_CELL_PX])
        sharp = to_tensor(sharp_u8[None]).to(device)
        for name in ("sharp", *(kernel.value for kernel in Kernel)):
            blurred_u8 = sharp_u8 if name == "sharp" else blur(sharp_u8, Kernel(name), level)
            blurred = to_tensor(blurred_u8[None]).to(device)
            before, after = (psnr_db(x.numpy(force=True), sharp.numpy(force=True)) for x in (blurred, unet(blurred)))
            gains.setdefault(name, []).append(after if name == "sharp" else after - before)
    return {name: float(np.mean(values)) for name, values in gains.items()}
