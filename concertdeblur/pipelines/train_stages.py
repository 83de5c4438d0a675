"""The stages of a training run in their order: one runner, and the stages of each architecture."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from concertdeblur.errors import UsageError
from concertdeblur.models import Networks
from concertdeblur.models.concert import ConcertGenerator, ConcertPatchGenerator
from concertdeblur.models.discriminator import ConcertDiscriminator, PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.pipelines.train_data import TrainingData
from concertdeblur.pipelines.train_video import VideoStages
from concertdeblur.training.analysis import AnalysisStage
from concertdeblur.training.data.loader import BatchT, on_device
from concertdeblur.training.data.samples import Batch, SampleStream
from concertdeblur.training.distributed import World, share_of
from concertdeblur.training.igan import Cells, IganStage
from concertdeblur.training.mining import mined_windows
from concertdeblur.training.paper import (
    PaperIganStage,
    PaperPganStage,
    PaperWindows,
    drawn_windows,
    mine_paper_windows,
)
from concertdeblur.training.pgan import MinedWindows, PganSettings, PganStage, drawn, mine_windows
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.session import GivenT, Session
from concertdeblur.training.stage import Schedule, Stage
from concertdeblur.training.start import first_networks

Network = TypeVar("Network", bound=nn.Module)
WindowsT = TypeVar("WindowsT")
GeneratorT = TypeVar("GeneratorT")
DiscriminatorT = TypeVar("DiscriminatorT")
PatchGeneratorT = TypeVar("PatchGeneratorT")

_MOST_JUDGED = 64  # held-out cells by which the analysis is judged
_JUDGED_A_PICTURE = 8  # such cells of each held-out picture


def stages_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of a recipe's stages, in their order."""
    of_pictures, video = ("igan", "mining", "pgan"), recipe.architecture.video
    if recipe.architecture.kind == "paper":
        return of_pictures
    if video is None:
        return ("analysis", *of_pictures)
    smear = () if video.smear_predictor is None else ("smear",)
    refining = () if video.patch_generator is None else ("video-pgan",)
    return ("analysis", *of_pictures, "video-igan", *smear, *refining)


def check_stages(recipe: Recipe, *, last: str | None, world: World) -> None:
    """Check before any work that the recipe's stages can be run.

    Raises:
        UsageError: If it has no stage `last`, or a batch of a stage up to that cannot be shared by the processes.
    """
    names = stages_of(recipe)
    if last is not None and last not in names:
        raise UsageError(
            f"recipe {recipe.name} has no stage {last}, or nothing to learn in it; choose one of {', '.join(names)}"
        )
    schedules: dict[str, Schedule] = {
        "analysis": recipe.analysis, "igan": recipe.igan, "pgan": recipe.pgan, "video-igan": recipe.video_igan,
        "smear": recipe.smear, "video-pgan": recipe.video_pgan,
    }  # fmt: skip
    for name in names[: names.index(last) + 1] if last else names:
        if name in schedules and schedules[name].steps:
            share_of(schedules[name].batch_size, world)


def train_stages(recipe: Recipe, session: Session, data: TrainingData, *, last: str | None) -> Networks | None:
    """Train the recipe's networks stage by stage; None if a stage has not ended, or `last` is not the last one."""
    is_paper = recipe.architecture.kind == "paper"
    chosen: type[_ArchitectureStages[Any]] = _PaperStages if is_paper else _ConcertStages
    training = chosen(recipe, session, data)
    stages, names = training.stages(), stages_of(recipe)
    for name in names:
        if not stages[name]() or (name == last and name != names[-1]):
            return None
    return training.networks


class _ArchitectureStages(ABC, Generic[WindowsT]):
    """The stages of one architecture; each returns whether it has ended."""

    def __init__(self, recipe: Recipe, session: Session, data: TrainingData) -> None:
        self.recipe, self.session, self.data = recipe, session, data
        self.networks = first_networks(recipe)
        for network in self.networks.by_name().values():
            _placed(network, session)
        self.igan_step = 0
        self.windows: WindowsT | None = None

    def stages(self) -> dict[str, Callable[[], bool]]:
        """The stages by name."""
        return {"igan": self.igan, "mining": self.mining, "pgan": self.pgan}

    @abstractmethod
    def igan(self) -> bool:
        """Train G_i against D_i."""

    @abstractmethod
    def mining(self) -> bool:
        """Mine windows: G_i deblurs its training pictures, and D_i finds the most blurred windows."""

    @abstractmethod
    def pgan(self) -> bool:
        """Train G_p against D_p on those windows."""

    def samples(self, batch_size: int, *, seed: int, recipe: Recipe | None = None) -> SampleStream:
        """Samples of the training pictures and pairs."""
        settings = (recipe or self.recipe).samples
        return SampleStream(self.data.pictures, settings, seed=seed, batch_size=batch_size, pairs=self.data.pairs)

    def share(self, batch_size: int) -> int:
        """The part of a batch that this process makes."""
        return share_of(batch_size, self.session.world)

    def trained_igan(
        self,
        stage: Stage[GivenT],
        batches: Callable[[int], BatchT],
        prepared: Callable[[BatchT, int], GivenT],
        *,
        uses: int = 1,
    ) -> bool:
        """Train iGAN; at its end G_i is ready for inside testing."""
        if not self.session.train(stage, batches, prepared, uses=uses):
            return False
        self.igan_step = stage.step
        self.networks.image_generator.requires_grad_(False).eval()
        return True

    def mine(self, kind: type[WindowsT], mine_step: Callable[[int], WindowsT]) -> bool:
        """Mine windows, or load those of an earlier call; `mine_step` mines the windows of one step."""
        recipe = self.recipe
        origin = {
            "igan_step": self.igan_step,
            "samples": asdict(recipe.samples),
            "num_pictures": recipe.pgan.num_pictures,
            "windows_per_picture": recipe.pgan.windows_per_picture,
        }
        self.windows = mined_windows(
            self.session, kind, origin, mine_step,
            num_pictures=recipe.pgan.num_pictures, batch_size=recipe.igan.batch_size,
        )  # fmt: skip
        return self.windows is not None

    def one_batch(self) -> PganSettings:
        """Settings for mining in a single batch of pictures."""
        return replace(self.recipe.pgan, num_pictures=1)


class _ConcertStages(_ArchitectureStages[MinedWindows]):
    """Analysis, iGAN, mining, pGAN of architecture `concert`."""

    def __init__(self, recipe: Recipe, session: Session, data: TrainingData) -> None:
        super().__init__(recipe, session, data)
        self.generator, self.discriminator, self.patch_generator = _of_kinds(
            self.networks, ConcertGenerator, ConcertDiscriminator, ConcertPatchGenerator
        )

    def stages(self) -> dict[str, Callable[[], bool]]:
        """The analysis, the stages of every architecture, and those of the networks for videos."""
        stages = {"analysis": self.analysis} | super().stages()
        if self.networks.video is None:
            return stages
        videos = VideoStages(self.recipe, self.session, self.networks, self.samples)
        sequences = self.data.sequences
        stages["video-igan"] = lambda: videos.igan(self.data.pictures, sequences)
        stages["smear"] = lambda: videos.smear(self.data.pictures, self.data.held_out, sequences)
        stages["video-pgan"] = lambda: videos.pgan(self.data.pictures, self.data.held_out, sequences)
        return stages

    def analysis(self) -> bool:
        """Train the analysis, which names the filter that leaves the least error of a cell."""
        recipe, session, held_out = self.recipe, self.session, self.data.held_out
        cells = self.samples(self.share(recipe.analysis.batch_size), seed=recipe.seed)
        num_judged = min(_MOST_JUDGED, _JUDGED_A_PICTURE * len(held_out))
        judged = SampleStream(held_out, recipe.samples, seed=recipe.seed, batch_size=num_judged).batch(0)
        stage = AnalysisStage(
            self.generator.analysis, recipe.analysis, session.out, held_out=on_device(judged, session.device),
            seed=recipe.seed, world=session.world,
        )  # fmt: skip
        return self.session.train(stage, cells.batch, _as_it_is, is_heavy=True)

    def igan(self) -> bool:
        """Train G_i against D_i on crops of cells."""
        settings = self.recipe.igan
        cells = self.samples(self.share(settings.batch_size), seed=self.recipe.seed + 1)
        stage = IganStage(self.generator, self.discriminator, settings, self.session.out, held_out=self.data.held_out)
        return self.trained_igan(stage, cells.batch, _with_seed, uses=settings.crops_per_cell)

    def mining(self) -> bool:
        """Mine windows in pictures of one cell."""
        recipe = self.recipe
        if not recipe.pgan.steps:
            return True  # G_p stays as it is
        of_one_cell = replace(recipe, samples=replace(recipe.samples, framed_share=1))
        cells = self.samples(recipe.igan.batch_size, seed=recipe.seed + 2, recipe=of_one_cell)

        def mine_step(step: int) -> MinedWindows:
            return mine_windows(self.generator, self.discriminator, cells, self.one_batch(), first_step=step)

        return self.mine(MinedWindows, mine_step)

    def pgan(self) -> bool:
        """Train G_p against D_p; D_i learns on."""
        recipe, session = self.recipe, self.session
        if not recipe.pgan.steps:
            return True
        assert self.windows is not None
        discriminator = _placed(ConcertDiscriminator(recipe.architecture.discriminator.width), session)
        stage = PganStage(
            self.patch_generator, discriminator, recipe.pgan, session.out, image_discriminator=self.discriminator
        )
        batches = drawn(self.windows, batch_size=self.share(recipe.pgan.batch_size), seed=recipe.seed)
        return self.session.train(stage, batches, _as_it_is)


class _PaperStages(_ArchitectureStages[PaperWindows]):
    """iGAN, mining, pGAN of architecture `paper`."""

    def __init__(self, recipe: Recipe, session: Session, data: TrainingData) -> None:
        super().__init__(recipe, session, data)
        self.generator, self.discriminator, self.patch_generator = _of_kinds(
            self.networks, PaperGenerator, PaperDiscriminator, PaperPatchGenerator
        )

    def igan(self) -> bool:
        """Train G_i against D_i on whole pairs."""
        recipe, out = self.recipe, self.session.out
        cells = self.samples(self.share(recipe.igan.batch_size), seed=recipe.seed)
        stage = PaperIganStage(
            self.generator, self.discriminator, recipe.igan, out, held_out=self.data.held_out, seed=recipe.seed
        )
        return self.trained_igan(stage, cells.batch, _as_it_is)

    def mining(self) -> bool:
        """Mine windows in the pairs themselves."""
        cells = self.samples(self.recipe.igan.batch_size, seed=self.recipe.seed + 1)

        def batch(step: int) -> Batch:
            return on_device(cells.batch(step), self.session.device)

        def mine_step(first: int) -> PaperWindows:
            unet = self.generator.restoration
            return mine_paper_windows(unet, self.discriminator, batch, self.one_batch(), first_step=first)

        return self.mine(PaperWindows, mine_step)

    def pgan(self) -> bool:
        """Train G_p against D_p."""
        recipe, session = self.recipe, self.session
        assert self.windows is not None
        discriminator = _placed(PaperDiscriminator(recipe.architecture.discriminator.width), session)
        stage = PaperPganStage(self.patch_generator, discriminator, recipe.pgan, session.out, seed=recipe.seed)
        batches = drawn_windows(self.windows, batch_size=self.share(recipe.pgan.batch_size), seed=recipe.seed)
        return self.session.train(stage, batches, _as_it_is)


def _of_kinds(
    networks: Networks,
    generator: type[GeneratorT],
    discriminator: type[DiscriminatorT],
    patch_generator: type[PatchGeneratorT],
) -> tuple[GeneratorT, DiscriminatorT, PatchGeneratorT]:
    """G_i, D_i and G_p, which the architecture has made of these classes."""
    image, judging, patch = networks.image_generator, networks.discriminator, networks.patch_generator
    assert isinstance(image, generator)
    assert isinstance(judging, discriminator)
    assert isinstance(patch, patch_generator)
    return image, judging, patch


def _with_seed(batch: Batch, number: int) -> Cells:
    return Cells(batch=batch, seed=number)


def _as_it_is(batch: BatchT, _number: int) -> BatchT:
    return batch


def _placed(network: Network, session: Session) -> Network:
    """The network on the session's device; on a GPU its layout is channels_last, for convolutions in bfloat16."""
    if session.device.type == "cuda":
        return network.to(session.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return network
