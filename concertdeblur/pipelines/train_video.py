"""The stages of the networks that work along the motion.

First G_i's restoration, then the predictor of a single picture's smear, then G_p and D_i on windows of G_i's results:
those of stored sequences, and of scenes that are rendered and stored for them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import TrainingError
from concertdeblur.models import Networks
from concertdeblur.models.concert import ConcertGenerator
from concertdeblur.models.discriminator import ConcertDiscriminator
from concertdeblur.training.data.guesses import Guesser, make_guesses
from concertdeblur.training.data.loader import Order, on_device
from concertdeblur.training.data.motion import MotionBatch, MotionCrops, MotionStream
from concertdeblur.training.data.pictures import PictureStore, read_contents
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.data.stored_scenes import StoredScenes, build_scene_store
from concertdeblur.training.distributed import others_wait, share_of
from concertdeblur.training.motion_gain import gain_judge
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.run_folder import PICTURES, SCENES
from concertdeblur.training.session import Session
from concertdeblur.training.smear import SmearStage
from concertdeblur.training.stage import Stage
from concertdeblur.training.start import begin_with_weights_of, networks_of_start
from concertdeblur.training.video import VideoIganStage, take_over_alike
from concertdeblur.training.video_windows import (
    RENDERED_WINDOWS,
    WINDOWS,
    PathWindowBatch,
    PathWindowStream,
    VideoPganStage,
    frame_results,
    make_result_flows,
)
from concertdeblur.training.whole_frames import WholeFrames

_JUDGED_WINDOWS = 24  # held-out windows
_JUDGED_CROPS = 24  # held-out crops by which the predictor of smears is judged
_SMEAR_SEED, _JUDGED_SEED = 4, 1000
_SEED = 10  # added to the run's seed, so that these stages draw other numbers


class VideoStages:
    """Trains the networks that only videos have; each stage returns whether it has ended.

    Args:
        recipe: The recipe.
        session: The call of `train`.
        networks: The networks, with those for videos; the analysis of G_i is trained.
        samples: Makes cells of the training pictures: samples(batch_size, seed=...).
    """

    def __init__(
        self, recipe: Recipe, session: Session, networks: Networks, samples: Callable[..., SampleStream]
    ) -> None:
        assert networks.video is not None
        assert isinstance(networks.image_generator, ConcertGenerator)
        self._recipe, self._session, self._samples = recipe, session, samples
        self._networks, self._video, self._generator = networks, networks.video, networks.image_generator
        self._given = networks_of_start(recipe)

    def igan(self, pictures: PictureStore, sequences: Path | None) -> bool:
        """Train the restoration of G_i along the motion; a fresh one begins with the weights of that of pictures."""
        settings, session = self._recipe.video_igan, self._session
        restoration = self._video.restoration
        if "video_image_generator" not in self._given:
            begin_with_weights_of(self._generator.restoration, restoration, self._recipe.seed + _SEED)
        guesser = Guesser(self._generator)
        train, held_out = _both_splits(sequences)
        for store in (train, held_out):
            if store is not None:
                self._by_first(partial(make_guesses, store, guesser, on_progress=self._counted("guess blur")))
        size = share_of(settings.batch_size, session.world)
        stream = motion_stream(self._recipe, pictures, self._samples, train, guesser, batch_size=size)
        judge = gain_judge(held_out, guesser) if held_out is not None and held_out.of_kind("real") else None
        return self._train_on(stream, VideoIganStage(restoration, settings, session.out, judge=judge))

    def smear(self, pictures: PictureStore, held_out: PictureStore, sequences: Path | None) -> bool:
        """Train the predictor of a single picture's smear, on samples as the video's G_i has them."""
        predictor, session, settings = self._video.smear_predictor, self._session, self._recipe.smear
        assert predictor is not None
        if not settings.steps:
            return True  # the predictor stays as it is
        recipe, (train, judging) = _with_known_paths(self._recipe), _both_splits(sequences)
        judged = on_device(_judged_crops(recipe, held_out, judging), session.device)
        size = share_of(settings.batch_size, session.world)
        stream = motion_stream(recipe, pictures, self._samples, train, None, batch_size=size)
        return self._train_on(stream, SmearStage(predictor, settings, session.out, held_out=judged))

    def _train_on(self, stream: MotionStream, stage: Stage[MotionCrops]) -> bool:
        """Train a stage; each crop of a sample goes into another step."""
        uses = self._recipe.video_igan.crops_per_clip
        order, world_size = Order(uses), self._session.world.size

        def used(batch: MotionBatch, number: int) -> MotionCrops:
            return batch.crops[order.use(number // world_size)]

        return self._session.train(stage, stream.batch, used, uses=uses)

    def pgan(self, pictures: PictureStore, held_out: PictureStore, sequences: Path | None) -> bool:
        """Train G_p and D_i of videos; fresh ones begin as G_i along the motion and as the pictures' D_i."""
        generator, discriminator = self._video.patch_generator, self._video.discriminator
        assert generator is not None
        assert isinstance(discriminator, ConcertDiscriminator)
        recipe, session = self._recipe, self._session
        if not recipe.video_pgan.steps:
            return True  # G_p and D_i stay as they are
        if "video_patch_generator" not in self._given:
            take_over_alike(self._video.restoration, generator.restoration)
        if "video_discriminator" not in self._given:
            take_over_alike(self._networks.discriminator, discriminator)
        stores = {WINDOWS: _both_splits(sequences), RENDERED_WINDOWS: self._scenes(pictures, held_out)}
        made_with = f"{_digest(self._generator.analysis, self._video.restoration)}, at the working size"
        for store in (store for both in stores.values() for store in both if store is not None):
            self._by_first(partial(self._make_results, store, made_with))
        size, seed = share_of(recipe.video_pgan.batch_size, session.world), recipe.seed + _SEED + 2
        train = [store for store, _ in stores.values() if store is not None]
        stream = PathWindowStream(train, recipe.motion, seed=seed, batch_size=size)
        if not len(stream):
            raise TrainingError(
                "the G_p of a video learns on windows of 128 px in sequences of 4 frames at least; name such real pairs"
                " with --real, or clips with --clips, or let motion.stored_scenes be more than 0"
            )
        judged = {
            name: PathWindowStream([store], recipe.motion, seed=seed, batch_size=_JUDGED_WINDOWS, is_turned=False)
            for name, (_, store) in stores.items()
            if store is not None
        }
        judged = {name: windows for name, windows in judged.items() if len(windows)}
        stage = VideoPganStage(generator, discriminator, recipe.video_pgan, session.out, held_out=judged)
        return session.train(stage, stream.batch, _as_it_is)

    def _scenes(
        self, pictures: PictureStore, held_out: PictureStore
    ) -> tuple[SequenceStore | None, SequenceStore | None]:
        """Rendered scenes to train on, and held-out ones."""
        motion, session = self._recipe.motion, self._session
        if not motion.stored_scenes:
            return None, None
        folder = session.out / SCENES
        scenes = StoredScenes(number=motion.stored_scenes, lights_share=motion.stored_lights, scene=motion.scene)
        build = partial(
            build_scene_store, folder, scenes, train=pictures, held_out=held_out, seed=self._recipe.seed,
            pictures_sha256=read_contents(session.out / PICTURES).sha256,
            on_progress=session.narrator.counted("render scenes", "scenes"),
        )  # fmt: skip
        self._by_first(build)
        return _both_splits(folder)

    def _make_results(self, store: SequenceStore, made_with: str) -> None:
        """Make G_i's results of a store's frames, and search the flow between them."""
        guesser, restoration = Guesser(self._generator), self._video.restoration
        make_guesses(store, guesser, on_progress=self._counted("guess blur"))
        whole_frames = WholeFrames(store, guesser)

        def make(row: StoredSequence, number: int) -> Picture:
            made = whole_frames.at_working_size(restoration, row, number)[0]
            return np.asarray((made * 255 + 0.5).byte().permute(1, 2, 0).numpy(force=True), dtype=np.uint8)

        frame_results(store).make(make, made_with=made_with, on_progress=self._counted("deblur frames"))
        make_result_flows(store, made_with=made_with, on_progress=self._counted("search flow"))

    def _counted(self, what: str) -> Callable[[int, int], None]:
        return self._session.narrator.counted(what, "frames")

    def _by_first(self, work: Callable[[], None]) -> None:
        """Let the first process do something while the others wait."""
        with others_wait(self._session.device):
            if self._session.world.is_first:
                work()


def motion_stream(
    recipe: Recipe, pictures: PictureStore, samples: Callable[..., SampleStream], sequences: SequenceStore | None,
    guesser: Guesser | None, *, batch_size: int,
) -> MotionStream:  # fmt: skip
    """The samples of the recipe's stage video iGAN.

    Args:
        recipe: The recipe.
        pictures: Pictures from which clips are rendered.
        samples: Makes cells of them: samples(batch_size, seed=...).
        sequences: Their sequences; None: there are none.
        guesser: Makes guesses, as `MotionStream` takes it.
        batch_size: Samples of a batch; a sample is the same in whatever batch it is.
    """
    seed, settings = recipe.seed + _SEED, recipe.video_igan
    return MotionStream(
        pictures, samples(batch_size, seed=seed), sequences, guesser, recipe.motion, seed=seed + 1,
        batch_size=batch_size, crop_px=settings.crop_px, uses=settings.crops_per_clip,
    )  # fmt: skip


def _judged_crops(recipe: Recipe, held_out: PictureStore, sequences: SequenceStore | None) -> MotionCrops:
    """Crops of held-out pictures and sequences, drawn by numbers that no training sample is drawn by."""

    def cells(batch_size: int, *, seed: int) -> SampleStream:
        return SampleStream(held_out, recipe.samples, seed=seed, batch_size=batch_size)

    other = replace(recipe, seed=recipe.seed + _JUDGED_SEED)
    return motion_stream(other, held_out, cells, sequences, None, batch_size=_JUDGED_CROPS).batch(0).crops[0]


def _with_known_paths(recipe: Recipe) -> Recipe:
    """The recipe with other samples, none of which is shown as a lone picture of which the path is guessed."""
    return replace(recipe, seed=recipe.seed + _SMEAR_SEED, motion=replace(recipe.motion, lone=0.0))


def _both_splits(sequences: Path | None) -> tuple[SequenceStore | None, SequenceStore | None]:
    """The sequences to train on, and the held-out ones."""
    if sequences is None:
        return None, None
    train, held_out = SequenceStore(sequences, "train"), SequenceStore(sequences, "held_out")
    return train if len(train) else None, held_out if len(held_out) else None


def _digest(*modules: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for value in module.state_dict().values():
            digest.update(value.numpy(force=True).tobytes())
    return digest.hexdigest()


def _as_it_is(batch: PathWindowBatch, _number: int) -> PathWindowBatch:
    return batch
