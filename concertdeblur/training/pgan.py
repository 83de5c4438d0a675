"""Inside testing, mining, and stage pGAN: the patch-scale generator G_p on the most blurred windows (paper 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring import cam
from concertdeblur.models.blur_cells import BLUR_CELL_PX, REACH_PX, looped, surrounded_window
from concertdeblur.models.concert import ConcertGenerator, ConcertPatchGenerator
from concertdeblur.models.data_consistency import consistency_step, promising
from concertdeblur.models.discriminator import ConcertDiscriminator
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.settings import check_least
from concertdeblur.training.data.loader import on_device
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.igan import cropped, prepare
from concertdeblur.training.objective import delta, discriminator_loss, sharp_loss
from concertdeblur.training.stage import Schedule, Stage, StepResult

_CLEAR_GAIN_DB = 0.1
_CLEAR_GROWTH = 0.1  # growth of D_i's confidence in a window that is clear
_INNER = (slice(REACH_PX, REACH_PX + BLUR_CELL_PX),) * 2  # the cell in its window


@dataclass(frozen=True, kw_only=True, slots=True)
class PganSettings(Schedule):
    """Schedule and weights of the stage."""

    num_pictures: int  # cells that G_i deblurs for mining
    windows_per_picture: int = 2  # the most blurred ones of each
    adversarial_weight: float = 0.001

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)  # `super()` does not work in a dataclass with slots
        check_least(self, num_pictures=1, windows_per_picture=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class MinedWindows:
    """M windows of 128x128 px with the inputs of G_p; float16 in memory."""

    result_MCHW: Tensor  # cut from G_i's result
    blurred_MCHW: Tensor  # the same windows of the input, for D_p and D_i
    guess_MGHW: Tensor  # G_p's guesses: the data-consistent window, the blurred one, and G_i's guesses
    sharp_MCHW: Tensor  # the same windows of the ground truth
    embedding_ME: Tensor  # blur embedding of the cell
    is_blurred_M: Tensor  # False where the input was sharp

    @property
    def consistent_MCHW(self) -> Tensor:
        """The data-consistent windows."""
        return self.guess_MGHW[:, :3]

    @property
    def start_MCHW(self) -> Tensor:
        """The windows that G_p starts from: the data-consistent one where it is closer to the truth."""
        result, nearer = self.result_MCHW, self.consistent_MCHW
        errors = [(x - self.sharp_MCHW).square().mean((1, 2, 3), keepdim=True) for x in (result, nearer)]
        return torch.where(errors[1] < errors[0], nearer, result)


@torch.no_grad()
def mine_windows(
    generator: ConcertGenerator,
    discriminator: ConcertDiscriminator,
    stream: SampleStream,
    settings: PganSettings,
    *,
    first_step: int = 0,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> MinedWindows:
    """Deblur cells of the training pictures and cut the windows that D_i finds most blurred.

    Raises:
        ValueError: If a picture goes on beyond its cell, since G_i's result outside the cell is not known here.

    """
    rows: list[tuple[Tensor, ...]] = []
    step, num_done = first_step, 0
    cell = cam.cells_of(BLUR_CELL_PX, BLUR_CELL_PX)[0]
    while num_done < settings.num_pictures:
        batch = on_device(stream.batch(step), next(discriminator.parameters()).device)
        if not batch.framed_N.all():
            raise ValueError("windows are mined in pictures of one cell, but some go on: framed_share must be 1")
        prepared = prepare(generator, batch)
        crops = cropped(prepared, batch, BLUR_CELL_PX, seed=0)
        result = generator.restoration(crops.blurred_NCHW, crops.guess_NGHW, crops.hints_NEhw).clamp(0, 1)
        maps = discriminator(crops.blurred_NCHW, result).double().cpu().numpy()
        blurred = looped(batch.surrounded_blurred)
        weights_MK = prepared[0].weights_MK
        lacking = consistency_step(blurred, looped(surrounded_window(result, 0, 0)), weights_MK)[(..., *_INNER)]
        nearer = (result + promising(weights_MK)[:, None, None, None] * lacking).clamp(0, 1)
        told = torch.cat([nearer, crops.blurred_NCHW, crops.guess_NGHW], 1)
        pictures = [x.half() for x in (result, crops.blurred_NCHW, told, crops.sharp_NCHW)]
        for n, map_hw in enumerate(maps):
            ranked = sorted(cell.windows, key=lambda window: map_hw[window.of_map()].mean())
            for window in ranked[: settings.windows_per_picture]:
                cut = [x[(n, slice(None), *window.of_pixels())].clone() for x in pictures]
                row = (*cut, prepared[0].embedding_ME[n].half(), crops.is_blurred_N[n])
                rows.append(tuple(value.cpu() for value in row))
        step += 1
        num_done += len(result)
        on_progress(num_done, settings.num_pictures)
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    return MinedWindows(
        result_MCHW=columns[0],
        blurred_MCHW=columns[1],
        guess_MGHW=columns[2],
        sharp_MCHW=columns[3],
        embedding_ME=columns[4],
        is_blurred_M=columns[5],
    )


def drawn(windows: MinedWindows, *, batch_size: int, seed: int) -> Callable[[int], MinedWindows]:
    """Batches of mined windows in float32, drawn from (seed, step)."""

    def batch(step: int) -> MinedWindows:
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        picked = torch.randint(len(windows.result_MCHW), (batch_size,), generator=draw)

        def take(pictures: Tensor) -> Tensor:
            return pictures[picked].float().contiguous(memory_format=torch.channels_last)

        return MinedWindows(
            result_MCHW=take(windows.result_MCHW),
            blurred_MCHW=take(windows.blurred_MCHW),
            guess_MGHW=take(windows.guess_MGHW),
            sharp_MCHW=take(windows.sharp_MCHW),
            embedding_ME=windows.embedding_ME[picked].float(),
            is_blurred_M=windows.is_blurred_M[picked],
        )

    return batch


class PganStage(Stage[MinedWindows]):
    """Trains G_p and D_p on mined windows.

    Args:
        image_discriminator: D_i learns on. It sees G_p's results as fakes, so that G_p cannot deceive the judge of its
            own steps, and it learns to tell steps that gain from steps that lose. None: D_i stays as it is.
    """

    def __init__(
        self,
        generator: ConcertPatchGenerator,
        discriminator: ConcertDiscriminator,
        settings: PganSettings,
        folder: Path,
        *,
        image_discriminator: ConcertDiscriminator | None = None,
    ) -> None:
        opponents: dict[str, torch.nn.Module] = {"discriminator": discriminator}
        if image_discriminator is not None:
            opponents["image_discriminator"] = image_discriminator
        super().__init__("pgan", generator.restoration, opponents, settings, folder)
        self.generator, self.discriminator, self.settings = generator, discriminator, settings
        self.image_discriminator = image_discriminator

    def train_step(self, batch: MinedWindows) -> StepResult:
        """One step of G_p and one of D_p."""
        blurred, sharp, start = batch.blurred_MCHW, batch.sharp_MCHW, batch.start_MCHW
        steps = cam.PATCH_PX // HINT_PX
        hints = batch.embedding_ME[:, :, None, None].expand(-1, -1, steps, steps)
        with self.mixed():
            made = self.generator.restoration(start, batch.guess_MGHW, hints)
        refined = made.float()
        self.discriminator.requires_grad_(False)
        with self.mixed():
            confidence = delta(self.discriminator, blurred, refined)
        losses = {
            "l1": (refined - sharp).abs().mean(),
            "adversarial": self.settings.adversarial_weight * sharp_loss(confidence),
        }
        self.discriminator.requires_grad_(True)
        objective = self.descend(losses)
        fakes = refined.detach().clamp(0, 1)
        with self.mixed():
            loss = discriminator_loss(self.discriminator, blurred, sharp, fakes, batch.is_blurred_M)
        self.descend_opponent("discriminator", loss)
        figures = losses | {"discriminator": loss, "l1_before": (start - sharp).abs().mean()}
        if self.image_discriminator is not None:
            is_fake = torch.rand(len(fakes), 1, 1, 1, generator=self._draw()) < 0.5
            both = torch.where(is_fake.to(fakes.device), fakes, start)
            with self.mixed():
                own = discriminator_loss(self.image_discriminator, blurred, sharp, both, batch.is_blurred_M)
                judged = 0.5 * judgement_loss(self.image_discriminator, batch, start, fakes)
                whole = batch.result_MCHW, batch.consistent_MCHW
                judged = judged + 0.5 * judgement_loss(self.image_discriminator, batch, *whole)
            self.descend_opponent("image_discriminator", own + judged)
            figures |= {"image_discriminator": own, "judgement": judged}
        return StepResult(objective=objective, figures=figures)

    def _draw(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.step)


def judgement_loss(
    discriminator: ConcertDiscriminator, batch: MinedWindows, before_MCHW: Tensor, after_MCHW: Tensor
) -> Tensor:
    """How wrongly D_i judges steps: its confidence must grow where PSNR grows, and fall where PSNR falls.

    D_i does not learn this by telling real from fake: a step may look more real, and lie further from the truth. The
    weight of a step grows with its gain, up to `_CLEAR_GAIN_DB`.
    """
    return judgement_loss_of(discriminator, batch.blurred_MCHW, batch.sharp_MCHW, before_MCHW, after_MCHW)


def judgement_loss_of(
    discriminator: ConcertDiscriminator, blurred_MCHW: Tensor, sharp_MCHW: Tensor, before_MCHW: Tensor,
    after_MCHW: Tensor,
) -> Tensor:  # fmt: skip
    """`judgement_loss` of steps whose input and truth are given."""
    gain_db_M, grown_M = judged_steps(discriminator, blurred_MCHW, sharp_MCHW, before_MCHW, after_MCHW)
    weight_M = (gain_db_M.abs() / _CLEAR_GAIN_DB).clamp_max(1)
    return (weight_M * F.softplus(-gain_db_M.sign() * grown_M / _CLEAR_GROWTH)).mean()


def judged_steps(
    discriminator: ConcertDiscriminator, blurred_MCHW: Tensor, sharp_MCHW: Tensor, before_MCHW: Tensor,
    after_MCHW: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gain of each step, dB, and the growth of D_i's confidence by it, (M,) each."""
    errors = [(x - sharp_MCHW).square().mean((1, 2, 3)) + 1e-7 for x in (before_MCHW, after_MCHW)]
    gain_db_M = 10 * (errors[0] / errors[1]).log10()
    confidence_2M = delta(discriminator, blurred_MCHW.repeat(2, 1, 1, 1), torch.cat([before_MCHW, after_MCHW]))
    return gain_db_M, confidence_2M[len(gain_db_M) :] - confidence_2M[: len(gain_db_M)]
