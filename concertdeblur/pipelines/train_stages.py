"""The stages of a training run in their order, for the fast networks and for the paper's."""

from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from concertdeblur.models import Networks
from concertdeblur.models.discriminator import ConcertDiscriminator, PaperDiscriminator
from concertdeblur.models.concert import ConcertGenerator, ConcertPatchGenerator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.training.analysis import AnalysisStage
from concertdeblur.training.distributed import share_of
from concertdeblur.training.igan import Cells, IganStage
from concertdeblur.training.data.loader import BatchT, on_device
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.paper import (
    PaperIganStage,
    PaperPganStage,
    PaperWindows,
    drawn_windows,
    mine_paper_windows,
)
from concertdeblur.training.pgan import MinedWindows, PganSettings, PganStage, drawn, mine_windows
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.data.samples import Batch, SampleStream
from concertdeblur.training.session import Session
from concertdeblur.training.start import first_networks

Network = TypeVar("Network", bound=nn.Module)

_MOST_JUDGED = 64  # held-out cells that the analysis is judged by
_JUDGED_A_PICTURE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What samples are made of, and what the networks are judged by."""

    pictures: PictureStore
    pairs: PairStore  # of the data and of clips; there may be none
    held_out: PictureStore


def train_fast(recipe: Recipe, session: Session, data: TrainingData, *, last: str | None) -> Networks | None:
    """Analysis, iGAN, mining, pGAN of the fast networks; None if they are not at their end, or `last` is before it."""
    seed, out = recipe.seed, session.out
    held_out = data.held_out
    generator, discriminator, patch_generator = _fast(recipe, session)

    cells = _stream(data, recipe, share_of(recipe.analysis.batch_size, session.world), seed=seed)
    num_judged = min(_MOST_JUDGED, _JUDGED_A_PICTURE * len(held_out))
    judged = SampleStream(held_out, recipe.samples, seed=seed, batch_size=num_judged).batch(0)
    judged = on_device(judged, session.device)
    analysis = AnalysisStage(
        generator.analysis, recipe.analysis, out, held_out=judged, seed=seed, world=session.world
    )
    if not session.run(analysis, cells.batch, _as_it_is, is_heavy=True) or last == "analysis":
        return None
    generator.analysis.load_state_dict(analysis.ema.module.state_dict())

    cells = _stream(data, recipe, share_of(recipe.igan.batch_size, session.world), seed=seed + 1)
    igan = IganStage(generator, discriminator, recipe.igan, out, held_out=held_out)
    if not session.run(igan, cells.batch, _with_seed, uses=recipe.igan.crops_per_cell) or last == "igan":
        return None
    generator.load_state_dict(igan.ema.module.state_dict())
    generator.requires_grad_(False).eval()

    of_one_cell = replace(recipe, samples=replace(recipe.samples, framed_share=1))
    cells = _stream(data, of_one_cell, recipe.igan.batch_size, seed=seed + 2)
    windows = session.mined(
        MinedWindows,
        _origin(recipe, igan.step),
        lambda step: mine_windows(generator, discriminator, cells, _one_batch(recipe), first_step=step),
        num_pictures=recipe.pgan.num_pictures,
        batch_size=recipe.igan.batch_size,
    )
    if windows is None or last == "mining":
        return None

    patch_discriminator = _placed(ConcertDiscriminator(recipe.architecture.discriminator.width), session)
    pgan = PganStage(patch_generator, patch_discriminator, recipe.pgan, out, image_discriminator=discriminator)
    batches = drawn(windows, batch_size=share_of(recipe.pgan.batch_size, session.world), seed=seed)
    if not session.run(pgan, batches, _as_it_is):
        return None
    patch_generator.restoration.load_state_dict(pgan.ema.module.state_dict())
    return Networks(image_generator=generator, discriminator=discriminator, patch_generator=patch_generator)


def train_paper(recipe: Recipe, session: Session, data: TrainingData, *, last: str | None) -> Networks | None:
    """iGAN, mining, pGAN of the paper's networks; None if they are not at their end, or `last` is before it."""
    seed, out = recipe.seed, session.out
    held_out = data.held_out
    generator, discriminator, patch_generator = _paper(recipe, session)

    cells = _stream(data, recipe, share_of(recipe.igan.batch_size, session.world), seed=seed)
    igan = PaperIganStage(generator, discriminator, recipe.igan, out, held_out=held_out, seed=seed)
    if not session.run(igan, cells.batch, _as_it_is) or last == "igan":
        return None
    generator.restoration.load_state_dict(igan.ema.module.state_dict())
    generator.eval()

    cells = _stream(data, recipe, recipe.igan.batch_size, seed=seed + 1)
    windows = session.mined(
        PaperWindows,
        _origin(recipe, igan.step),
        lambda first: mine_paper_windows(
            generator.restoration,
            discriminator,
            lambda step: on_device(cells.batch(step), session.device),
            _one_batch(recipe),
            first_step=first,
        ),
        num_pictures=recipe.pgan.num_pictures,
        batch_size=recipe.igan.batch_size,
    )
    if windows is None or last == "mining":
        return None

    patch_discriminator = _placed(PaperDiscriminator(recipe.architecture.discriminator.width), session)
    pgan = PaperPganStage(patch_generator, patch_discriminator, recipe.pgan, out, seed=seed)
    batches = drawn_windows(windows, batch_size=share_of(recipe.pgan.batch_size, session.world), seed=seed)
    if not session.run(pgan, batches, _as_it_is):
        return None
    patch_generator.restoration.load_state_dict(pgan.ema.module.state_dict())
    return Networks(image_generator=generator, discriminator=discriminator, patch_generator=patch_generator)


def _stream(data: TrainingData, recipe: Recipe, batch_size: int, *, seed: int) -> SampleStream:
    """Samples of the training pictures and pairs."""
    return SampleStream(data.pictures, recipe.samples, seed=seed, batch_size=batch_size, pairs=data.pairs)


def _with_seed(batch: Batch, number: int) -> Cells:
    return Cells(batch=batch, seed=number)


def _as_it_is(batch: BatchT, _number: int) -> BatchT:
    return batch


def _one_batch(recipe: Recipe) -> PganSettings:
    """Settings to mine in one batch of pictures alone."""
    return replace(recipe.pgan, num_pictures=1)


def _origin(recipe: Recipe, igan_step: int) -> dict[str, object]:
    """What mined windows depend on."""
    mined = {"num_pictures": recipe.pgan.num_pictures, "windows_per_picture": recipe.pgan.windows_per_picture}
    return {"igan_step": igan_step, "samples": asdict(recipe.samples), **mined}


def _fast(recipe: Recipe, session: Session) -> tuple[ConcertGenerator, ConcertDiscriminator, ConcertPatchGenerator]:
    networks = first_networks(recipe)
    generator, discriminator, patch = networks.image_generator, networks.discriminator, networks.patch_generator
    assert isinstance(generator, ConcertGenerator)
    assert isinstance(discriminator, ConcertDiscriminator)
    assert isinstance(patch, ConcertPatchGenerator)
    return _placed(generator, session), _placed(discriminator, session), _placed(patch, session)


def _paper(recipe: Recipe, session: Session) -> tuple[PaperGenerator, PaperDiscriminator, PaperPatchGenerator]:
    networks = first_networks(recipe)
    generator, discriminator, patch = networks.image_generator, networks.discriminator, networks.patch_generator
    assert isinstance(generator, PaperGenerator)
    assert isinstance(discriminator, PaperDiscriminator)
    assert isinstance(patch, PaperPatchGenerator)
    return _placed(generator, session), _placed(discriminator, session), _placed(patch, session)


def _placed(network: Network, session: Session) -> Network:
    """On the session's device; on a GPU with channels last, which its convolutions in bfloat16 want."""
    if session.device.type == "cuda":
        return network.to(session.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return network
