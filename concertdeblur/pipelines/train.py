"""The training stages of the paper, one after the other: iGAN, inside testing and mining, pGAN, weight set.

Read `train` from top to bottom to see the whole job.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from concertdeblur.errors import TrainingError
from concertdeblur.models import Networks, build_networks
from concertdeblur.models.discriminator import FastDiscriminator
from concertdeblur.models.fast import FastGenerator, FastPatchGenerator
from concertdeblur.pretrained import save_weight_set
from concertdeblur.training.igan import IganStage
from concertdeblur.training.pgan import PganStage, mine_windows
from concertdeblur.training.pictures import PictureStore, build_store, store_digest
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.report import Report
from concertdeblur.training.samples import SampleStream

_MINING_CROP_PX = 256  # the paper's pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """Every choice of a user."""

    recipe: Recipe
    data: Path  # folder of sharp pictures; blur is made on the fly
    out: Path  # checkpoints, the picture store and the weight set go here
    minutes: float | None = None  # stop each stage after this long; run again to go on


def train(job: TrainJob, *, on_report: Callable[[Report], None] = lambda _report: None) -> Path | None:
    """Train a weight set, going on from what `job.out` holds.

    Returns:
        The folder of the weight set; None if time ran out before the end (run again to go on).

    Raises:
        TrainingError: If the data cannot be used, or a loss is not a number.
    """
    recipe, until_s = job.recipe, 60 * job.minutes if job.minutes else float("inf")
    if recipe.architecture.kind != "fast":
        raise TrainingError(
            f"recipe '{recipe.name}': training of the {recipe.architecture.kind} networks is not built yet"
        )
    build_store(job.data, job.out / "pictures", min_side_px=_MINING_CROP_PX)
    pictures = PictureStore(job.out / "pictures", "train")
    held_out = PictureStore(job.out / "pictures", "held_out")
    torch.manual_seed(recipe.seed)
    networks = _fast(build_networks(recipe.architecture))

    igan = IganStage(networks.image_generator, networks.discriminator, recipe.igan, job.out)
    igan.resume()
    stream = SampleStream(pictures, recipe.samples, seed=recipe.seed, batch_size=recipe.igan.batch_size)
    igan.run(stream, held_out, until_s=until_s, on_report=on_report)
    if igan.step < recipe.igan.steps:
        return None

    patch_discriminator = FastDiscriminator(recipe.architecture.discriminator.width)
    pgan = PganStage(networks.patch_generator, patch_discriminator, recipe.pgan, job.out, seed=recipe.seed)
    pgan.resume()
    whole = dataclasses.replace(recipe.samples, crop_px=_MINING_CROP_PX)
    mining = SampleStream(pictures, whole, seed=recipe.seed + 1, batch_size=recipe.igan.batch_size)
    windows = mine_windows(igan.ema.module, igan.discriminator, mining, recipe.pgan)
    pgan.run(windows, until_s=until_s, on_report=on_report)
    if pgan.step < recipe.pgan.steps:
        return None

    made = Networks(image_generator=igan.ema.module, discriminator=igan.discriminator, patch_generator=pgan.ema.module)
    folder = job.out / "weights"
    save_weight_set(
        folder,
        made,
        recipe=recipe.name,
        architecture=recipe.architecture,
        brmr=recipe.brmr,
        provenance={
            "seed": recipe.seed,
            "data": store_digest(job.out / "pictures"),
            "settings": {
                "samples": dataclasses.asdict(recipe.samples),
                "igan": dataclasses.asdict(recipe.igan),
                "pgan": dataclasses.asdict(recipe.pgan),
            },
        },
    )
    return folder


@dataclass(frozen=True, kw_only=True, slots=True)
class _FastNetworks:
    image_generator: FastGenerator
    discriminator: FastDiscriminator
    patch_generator: FastPatchGenerator


def _fast(networks: Networks) -> _FastNetworks:
    generator, discriminator, patch = networks.image_generator, networks.discriminator, networks.patch_generator
    assert isinstance(generator, FastGenerator)
    assert isinstance(discriminator, FastDiscriminator)
    assert isinstance(patch, FastPatchGenerator)
    return _FastNetworks(image_generator=generator, discriminator=discriminator, patch_generator=patch)
