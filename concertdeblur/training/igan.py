"""Stage iGAN: G_i and its CAM discriminator D_i, on (blurred, sharp) cells.

The analysis of G_i comes from a stage of its own, where it has learned which filter leaves the least error. In this
stage it learns on, by gradients through the restoration and the filters: it learns which mixture of filters helps the
restoration most. The two differ where no single filter fits well, as with a camera's blur.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from concertdeblur.blur.kernels import Kernel, blur
from concertdeblur.models.blur_cells import BLUR_CELL_PX, REACH_PX, looped
from concertdeblur.models.concert import Analysis, ConcertGenerator
from concertdeblur.models.discriminator import ConcertDiscriminator
from concertdeblur.models.inverse_filter import apply_weights
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.psnr import psnr_db
from concertdeblur.training.analysis import naming_loss
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.data.samples import Batch, collate_pictures
from concertdeblur.training.objective import delta, discriminator_loss, log_squared_error, relative_l1, sharp_loss
from concertdeblur.training.stage import Schedule, Stage, StepResult

# Crops keep this far from the border of a cell if the picture goes on beyond it: filters see a reflection there.
_EDGE_PX = 32


# The floors keep nearly perfect crops from dominating the relative losses.
_RELATIVE_WEIGHT, _LEAST_L1 = 0.02, 0.015
_LOG_WEIGHT, _LEAST_SQUARED_ERROR = 0.01, 2e-5  # 47 dB
_NAMING_WEIGHTS = {"type": 0.001, "level": 0.004}  # so that the analysis does not unlearn to name type and level


@dataclass(frozen=True, kw_only=True, slots=True)
class IganSettings(Schedule):
    """Schedule and weights of the stage."""

    crop_px: int = 160  # side of the crop of a cell, a multiple of HINT_PX
    crops_per_cell: int = 1  # each crop goes into another step, because making a cell takes a quarter of a step's time
    adversarial_weight: float = 0.001  # paper: 0.01 (1 beside 100 L1); PSNR wants less
    adversarial_from_step: int = 0  # from here on D_i is trained, and G_i against it
    relative_from_step: int = 10**9  # from here on errors count relative to each picture's own error
    analysis_from_step: int = 0  # from here on the analysis learns on

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)  # `super()` does not work in a dataclass with slots
        if self.crop_px % HINT_PX or not 64 <= self.crop_px <= BLUR_CELL_PX:
            raise ValueError(
                f"crop_px must be a multiple of {HINT_PX} from 64 to {BLUR_CELL_PX}, but {self.crop_px = }"
            )
        if self.crops_per_cell < 1:
            raise ValueError(f"crops_per_cell must be at least 1, but {self.crops_per_cell = }")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """The input of a step."""

    batch: Batch
    seed: int  # of the crops


@dataclass(frozen=True, kw_only=True, slots=True)
class Crops:
    """N crops of cells, each with all that G_i's restoration is given."""

    blurred_NCHW: Tensor
    sharp_NCHW: Tensor
    guess_NGHW: Tensor
    hints_NEhw: Tensor
    is_blurred_N: Tensor


class IganStage(Stage[Cells]):
    """Trains G_i against D_i."""

    def __init__(
        self,
        generator: ConcertGenerator,
        discriminator: ConcertDiscriminator,
        settings: IganSettings,
        folder: Path,
        *,
        held_out: PictureStore,
    ) -> None:
        super().__init__("igan", generator, {"discriminator": discriminator}, settings, folder)
        self.generator, self.discriminator, self.settings = generator, discriminator, settings
        self._held_out = held_out

    def train_step(self, cells: Cells) -> StepResult:
        """One step of G_i and one of D_i."""
        settings = self.settings
        analysis_learns = self.step >= settings.analysis_from_step
        self.generator.analysis.requires_grad_(analysis_learns)
        prepared = prepare(self.generator, cells.batch)
        crops = cropped(prepared, cells.batch, settings.crop_px, seed=cells.seed)
        with self.mixed():
            made = self.generator.restoration(crops.blurred_NCHW, crops.guess_NGHW, crops.hints_NEhw)
        restored = made.float()
        l1 = (restored - crops.sharp_NCHW).abs().mean()
        losses = {"l1": l1}
        if self.step >= settings.relative_from_step:
            relative = relative_l1(restored, crops.sharp_NCHW, floor=_LEAST_L1)
            squared = log_squared_error(restored, crops.sharp_NCHW, floor=_LEAST_SQUARED_ERROR)
            losses = {"relative": _RELATIVE_WEIGHT * relative, "log_squared": _LOG_WEIGHT * squared}
        if analysis_learns:
            named = naming_loss(prepared[0], cells.batch.type_N, cells.batch.level_N)
            losses |= {name: weight * named[name] for name, weight in _NAMING_WEIGHTS.items()}
        adversarial = self.step >= settings.adversarial_from_step
        if adversarial:
            self.discriminator.requires_grad_(False)
            with self.mixed():
                confidence = delta(self.discriminator, crops.blurred_NCHW, restored)
            losses["adversarial"] = settings.adversarial_weight * sharp_loss(confidence)
            self.discriminator.requires_grad_(True)
        objective = self.descend(losses)
        figures = losses | {"l1": l1}
        if adversarial:
            with self.mixed():
                loss = discriminator_loss(
                    self.discriminator,
                    crops.blurred_NCHW,
                    crops.sharp_NCHW,
                    restored.detach().clamp(0, 1),
                    crops.is_blurred_N,
                )
            self.descend_opponent("discriminator", loss)
            figures["discriminator"] = loss
        return StepResult(objective=objective, figures=figures)

    def evaluate(self) -> dict[str, float]:
        """Gain on held-out pictures."""
        return held_out_gains(cast(ConcertGenerator, self.ema.module), self._held_out)


def prepare(generator: ConcertGenerator, batch: Batch) -> tuple[Analysis, Tensor]:
    """The analysis of N cells, and G_i's guesses at the sharp cells, (N, 4, BLUR_CELL_PX, BLUR_CELL_PX).

    Guesses that are negative light are kept, which a frame's are not: by them the analysis learns what is wrong.
    """
    with torch.no_grad():
        described = generator.descriptor(batch.blurred_NCHW, BLUR_CELL_PX)[:, 0, 0]
    analysis: Analysis = generator.analysis(described, batch.velocities_N3)
    made = apply_weights(looped(batch.surrounded_blurred), analysis.weights_MK)
    inner = slice(REACH_PX, REACH_PX + BLUR_CELL_PX)
    return analysis, made[:, :, inner, inner]


def cropped(prepared: tuple[Analysis, Tensor], batch: Batch, crop_px: int, *, seed: int) -> Crops:
    """A crop of each cell; the seed decides its place."""
    analysis, guess = prepared
    draw = np.random.default_rng([seed, crop_px])
    places = []
    for is_framed in batch.framed_N.tolist():
        edge = 0 if is_framed else min(_EDGE_PX, (BLUR_CELL_PX - crop_px) // 2)
        y, x = draw.integers(edge // HINT_PX, (BLUR_CELL_PX - crop_px - edge) // HINT_PX, 2, endpoint=True) * HINT_PX
        places.append((int(y), int(x)))

    def cut(pictures: Tensor) -> Tensor:
        cuts = [p[:, y : y + crop_px, x : x + crop_px] for p, (y, x) in zip(pictures, places, strict=True)]
        return torch.stack(cuts).contiguous(memory_format=torch.channels_last)

    hints = analysis.embedding_ME[:, :, None, None].expand(-1, -1, crop_px // HINT_PX, crop_px // HINT_PX)
    return Crops(
        blurred_NCHW=cut(batch.blurred_NCHW),
        sharp_NCHW=cut(batch.sharp_NCHW),
        guess_NGHW=cut(guess),
        hints_NEhw=hints,
        is_blurred_N=batch.type_N > 0,
    )


@torch.no_grad()
def held_out_gains(generator: ConcertGenerator, held_out: PictureStore, *, level: float = 0.5) -> dict[str, float]:
    """PSNR gain in dB by kernel on the centres of held-out pictures; `sharp`: PSNR of sharp input."""
    gains: dict[str, list[float]] = {}
    device = next(generator.parameters()).device
    for number in range(len(held_out)):
        picture = held_out.read(number)
        y, x = (picture.shape[0] - BLUR_CELL_PX) // 2, (picture.shape[1] - BLUR_CELL_PX) // 2
        sharp_u8 = np.ascontiguousarray(picture[y : y + BLUR_CELL_PX, x : x + BLUR_CELL_PX])
        names = ["sharp", *(kernel.value for kernel in Kernel)]
        batch = collate_pictures([sharp_u8, *(blur(sharp_u8, kernel, level) for kernel in Kernel)], sharp_u8)
        batch = on_device(batch, device)
        crops = cropped(prepare(generator, batch), batch, BLUR_CELL_PX, seed=0)
        made = generator.restoration(crops.blurred_NCHW, crops.guess_NGHW, crops.hints_NEhw).clamp(0, 1)
        for n, name in enumerate(names):
            reference = crops.sharp_NCHW[n].numpy(force=True)
            before, after = (psnr_db(x[n].numpy(force=True), reference) for x in (crops.blurred_NCHW, made))
            gains.setdefault(name, []).append(after if name == "sharp" else after - before)
    return {name: float(np.mean(values)) for name, values in gains.items()}
