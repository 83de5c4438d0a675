"""The training stages of the paper, one after the other: iGAN, inside testing and mining, pGAN, weight set.

Read `train` from top to bottom to see the whole job.
"""

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from concertdeblur.errors import TrainingError, UsageError
from concertdeblur.models import Networks, build_networks
from concertdeblur.models.discriminator import FastDiscriminator
from concertdeblur.models.fast import FastGenerator, FastPatchGenerator
from concertdeblur.pretrained import save_weight_set
from concertdeblur.progress import StageProgress
from concertdeblur.training.curves import Curves
from concertdeblur.training.igan import IganStage
from concertdeblur.training.pgan import PganStage, mine_windows
from concertdeblur.training.pictures import PictureStore, build_store, read_contents
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.run_folder import RunFolder
from concertdeblur.training.samples import Batch, SampleStream
from concertdeblur.training.session import Session, mean_gain_db

_MINING_CROP_PX = 256  # the paper's pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """Every choice of a user."""

    recipe: Recipe
    data: Path  # sharp pictures (blur is made on the fly), or pairs
    out: Path  # checkpoints, the picture store, curves and the weight set go here
    stage: Literal["analysis", "igan", "mining", "pgan"] | None = None  # the last one of this call; None: all
    minutes: float | None = None  # stop after this long; run again to go on
    resume: bool = False  # there must be a run to go on with
    restart: bool = False  # throw away what is there, from `stage` on
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"--minutes must be more than 0, but it is {self.minutes:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSummary:
    """What a call has made."""

    recipe: str
    out: Path
    weights: Path | None  # the weight set; None if the run is not at its end
    stage: str  # where the run stands, in words
    num_pictures: int
    num_pairs: int
    held_out: dict[str, float] = field(default_factory=dict)  # dB gained by kernel on held-out pictures, iGAN alone
    elapsed_s: float
    waited_share: float  # of the training time, waiting for data

    def text(self) -> str:
        """What a user reads at the end."""
        if self.weights is not None:
            lines = [f"The weight set is written: {self.weights}"]
            lines.append(f"  use it      concertdeblur video --weights {self.weights} IN OUT")
        else:
            lines = [f"{self.stage}; saved in {self.out}, and the same command goes on from there."]
        counted = f"{self.num_pictures} pictures" + (f", {self.num_pairs} pairs" if self.num_pairs else "")
        lines.append(f"  data        {counted}")
        gain_db = mean_gain_db(self.held_out)
        if gain_db is not None:
            lines.append(f"  held-out    {gain_db:+.2f} dB, mean over the seven kernels, iGAN alone")
        minutes = f"{self.elapsed_s / 60:.1f} min" if self.elapsed_s >= 60 else f"{self.elapsed_s:.0f} s"
        lines.append(f"  time        {minutes}, {100 * self.waited_share:.0f} % of training was waiting for data")
        return "\n".join(lines)


def train(
    job: TrainJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _progress: None,
    on_warning: Callable[[str], None] = lambda _message: None,
    stop: threading.Event | None = None,
) -> TrainSummary:
    """Train a weight set, going on from what `job.out` holds.

    Args:
        job: What to do.
        on_progress: Told how each stage comes along.
        on_warning: Told what is not as asked for.
        stop: Set it to end after the step in hand, saved.

    Raises:
        TrainingError: If the data cannot be used, the folder holds another run, or a loss is not a number.
        Interrupted: If `stop` was set.
    """
    recipe, began_s = job.recipe, time.monotonic()
    if recipe.architecture.kind != "fast":
        raise TrainingError(
            f"recipe '{recipe.name}': training of the {recipe.architecture.kind} networks is not built yet"
        )
    folder = RunFolder(job.out, recipe)
    if job.restart:
        folder.restart(job.stage)
    changes = folder.check(resume=job.resume)
    if changes:
        on_warning(f"going on with other settings than before: {'; '.join(changes)}")
    until_s = began_s + (60 * job.minutes if job.minutes else float("inf"))
    session = Session(
        out=job.out, curves=None, on_progress=on_progress, stop=stop or threading.Event(), until_s=until_s
    )
    store = job.out / "pictures"
    reading = session.counted("read pictures", "pictures")
    build_store(job.data, store, recipe.data, min_side_px=_MINING_CROP_PX, on_progress=reading)
    data = read_contents(store)
    folder.begin(data)
    with Curves(job.out, on_warning=on_warning) as session.curves:
        stage, networks = _train_fast(job, session, store)
    weights = None
    if networks is not None:
        weights = job.out / "weights"
        save_weight_set(
            weights, networks, recipe=recipe.name, architecture=recipe.architecture, brmr=recipe.brmr,
            provenance={"data": dataclasses.asdict(data), "settings": dataclasses.asdict(recipe)},
        )  # fmt: skip
    return TrainSummary(
        recipe=recipe.name,
        out=job.out,
        weights=weights,
        stage=stage,
        num_pictures=data.num_pictures,
        num_pairs=data.num_pairs,
        held_out=session.held_out,
        elapsed_s=time.monotonic() - began_s,
        waited_share=session.waited_s / session.stage_s if session.stage_s else 0.0,
    )


def _train_fast(job: TrainJob, session: Session, store: Path) -> tuple[str, Networks | None]:
    """The stages of the fast networks; where they came to, and the networks once all are done."""
    recipe = job.recipe
    pictures, held_out = PictureStore(store, "train"), PictureStore(store, "held_out")
    torch.manual_seed(recipe.seed)
    networks = _fast(build_networks(recipe.architecture))

    igan = IganStage(networks.image_generator, networks.discriminator, recipe.igan, job.out)
    igan.resume()
    session.begin("igan", igan.step)
    stream = _Stoppable(
        SampleStream(pictures, recipe.samples, seed=recipe.seed, batch_size=recipe.igan.batch_size),
        lambda step: session.check("igan", step, recipe.igan.steps),
    )
    igan.run(stream, held_out, until_s=session.left_s, on_report=session.report)
    if igan.step < recipe.igan.steps or job.stage == "igan":
        return f"iGAN stands at step {igan.step} of {recipe.igan.steps}", None

    patch_discriminator = FastDiscriminator(recipe.architecture.discriminator.width)
    pgan = PganStage(networks.patch_generator, patch_discriminator, recipe.pgan, job.out, seed=recipe.seed)
    pgan.resume()
    whole = dataclasses.replace(recipe.samples, crop_px=_MINING_CROP_PX)
    mining = SampleStream(pictures, whole, seed=recipe.seed + 1, batch_size=recipe.igan.batch_size)
    mined = session.counted("mine windows", "crops")
    windows = mine_windows(igan.ema.module, igan.discriminator, mining, recipe.pgan, on_progress=mined)
    session.begin("pgan", pgan.step)
    pgan.run(windows, until_s=session.left_s, on_report=session.report)
    if pgan.step < recipe.pgan.steps:
        return f"pGAN stands at step {pgan.step} of {recipe.pgan.steps}", None
    made = Networks(image_generator=igan.ema.module, discriminator=igan.discriminator, patch_generator=pgan.ema.module)
    return "all stages are done", made


class _Stoppable(SampleStream):
    """A stream that ends where the user wants to stop."""

    def __init__(self, stream: SampleStream, check: Callable[[int], None]) -> None:
        self._stream, self._check = stream, check

    def batch(self, step: int) -> Batch:
        self._check(step)
        return self._stream.batch(step)


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
