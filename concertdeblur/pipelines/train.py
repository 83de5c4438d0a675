"""`concertdeblur train`: the stages one after the other (analysis, iGAN, mining, pGAN), and the weight set.

Read `train` and then `train_stages` from top to bottom to see the whole job.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from concertdeblur.errors import UsageError
from concertdeblur.models import Networks
from concertdeblur.pipelines.train_data import DataSources
from concertdeblur.pipelines.train_stages import check_stages, train_stages
from concertdeblur.pretrained import digest_of, find_weights, save_weight_set
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import choose_runtime, flush_denormals
from concertdeblur.training.curves import Curves
from concertdeblur.training.data.pictures import SkippedPicture, read_skipped
from concertdeblur.training.data.sequences import read_sequence_contents
from concertdeblur.training.distributed import joined, local_device, others_wait, started_world
from concertdeblur.training.motion_gain import REAL, REAL_WORST
from concertdeblur.training.narration import Narrator, mean_gain_db
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.run_folder import PICTURES, RunFolder, locked
from concertdeblur.training.session import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainJob:
    """Every choice of a user."""

    recipe: Recipe
    data: Path  # sharp pictures (blur is made on the fly), or pairs
    real: Path | None = None  # a folder of real pairs, as sequences
    clips: Path | None = None  # a folder of clips: their motion and averages of their frames give more pairs
    out: Path  # checkpoints, the picture store, curves and the weight set go here
    # The last stage of this call; None: all stages.
    stage: Literal["analysis", "igan", "mining", "pgan", "video-igan", "smear", "video-pgan"] | None = None
    minutes: float | None = None  # stop after this time; the same call goes on
    resume: bool = False  # fail unless there is a run to go on with
    restart: bool = False  # delete the run's results, from `stage` on
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"--minutes must be more than 0, but it is {self.minutes:g}")
        _ = self.sources  # it refuses real pairs where the recipe does not take them

    @property
    def start_sha256(self) -> str:
        """Digest of the weight set that the run starts from; empty: fresh networks."""
        return digest_of(find_weights(self.recipe.start_from)) if self.recipe.start_from else ""

    @property
    def sources(self) -> DataSources:
        """What the run learns from."""
        return DataSources(recipe=self.recipe, out=self.out, data=self.data, real=self.real, clips=self.clips)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSummary:
    """The result of one call of `train`."""

    recipe: str
    out: Path
    weights: Path | None  # the weight set; None if the run is not at its end
    stands_at: str  # how far the run has come, in words
    is_stage_done: bool  # whether the stage has ended that the user wanted to stop after
    num_pictures: int
    num_pairs: int
    num_sequences: int = 0  # sequences of real frames at all sizes, and of averages of clips
    # The gain of iGAN alone in dB: by kernel on held-out pictures, and on real frames.
    held_out: dict[str, float] = field(default_factory=dict)
    elapsed_s: float
    waited_share: float  # share of the training time that was spent waiting for data
    skipped: tuple[SkippedPicture, ...] = ()  # pictures that cannot be trained on

    def text(self) -> str:
        """In words."""
        if self.weights is not None:
            lines = [f"The weight set is written: {self.weights}"]
            lines.append(f"  use it      concertdeblur video --weights {self.weights} IN OUT")
        else:
            goes_on = "without --stage the run goes on" if self.is_stage_done else "the same command goes on"
            lines = [f"Stopped after {self.stands_at}, saved in {self.out}; {goes_on}."]
        counted = f"{self.num_pictures} sharp pictures" + (f", {self.num_pairs} pairs" if self.num_pairs else "")
        counted += f", {self.num_sequences} sequences" if self.num_sequences else ""
        lines.append(f"  data        {counted}")
        if self.skipped:
            lines.append(f"  skipped     {len(self.skipped)}: {', '.join(map(str, self.skipped))}")
        gain_db = mean_gain_db(self.held_out)
        if gain_db is not None:
            lines.append(f"  held-out    {gain_db:+.2f} dB, mean over the seven kernels at level 0.5, iGAN alone")
        if REAL in self.held_out:
            gain_db, worst_db = self.held_out[REAL], self.held_out[REAL_WORST]
            lines.append(
                f"  real        {gain_db:+.2f} dB on held-out real frames, the worst {worst_db:+.2f}, iGAN alone"
            )
        spent = f"{self.elapsed_s / 60:.1f} min" if self.elapsed_s >= 60 else f"{self.elapsed_s:.0f} s"
        lines.append(f"  time        {spent}; {100 * self.waited_share:.0f} % of the training was waiting for data")
        return "\n".join(lines)


def train(
    job: TrainJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _progress: None,
    on_warning: Callable[[str], None] = lambda _message: None,
    stop: threading.Event | None = None,
) -> TrainSummary:
    """Train a weight set, going on from what `job.out` holds.

    Started by torchrun, every process trains with its share of each batch, and the first one writes.

    Args:
        job: What to do.
        on_progress: Called with the progress of each stage.
        on_warning: Called once for each choice that cannot be kept.
        stop: Set it to end after the step in hand, saved.

    Raises:
        TrainingError: If the data cannot be used, the folder holds another run, or a loss is not a number.
        Interrupted: If `stop` was set.
    """
    wanted, job, began_s = job, _with_what_can_be_learned(job), time.monotonic()
    recipe, start_sha256 = job.recipe, job.start_sha256
    check_stages(recipe, last=job.stage, world=started_world())
    flush_denormals()
    device = choose_runtime(local_device(job.device), "torch").device
    stop = stop or threading.Event()
    narrator = Narrator(on_progress=on_progress, on_warning=on_warning, stop=stop)
    with joined(device) as world, ExitStack() as lock:
        session = Session(
            out=job.out,
            device=device,
            world=world,
            until_s=began_s + (60 * job.minutes if job.minutes else float("inf")),
            stop=stop,
            narrator=narrator,
        )
        with others_wait(device):
            if world.is_first:
                _open(job, session, lock)
                if job is not wanted:
                    on_warning(
                        "refining of videos is not learned: it takes steps (video_pgan.steps), and real pairs (--real),"
                        " clips (--clips) or rendered scenes (motion.stored_scenes)"
                    )
        contents, data, recipe = job.sources.stored()
        with Curves(job.out, is_writing=world.is_first, on_warning=on_warning) as narrator.curves:
            torch.manual_seed(recipe.seed)
            networks = train_stages(recipe, session, data, last=job.stage)
        weights = None
        if networks is not None and world.is_first:
            made_with = {"data": asdict(contents), "start_sha256": start_sha256, "cpu_seconds": session.cpu_s}
            weights = _save(job, networks, made_with)
    return TrainSummary(
        recipe=recipe.name,
        out=job.out,
        weights=weights,
        stands_at=session.stands_at,
        is_stage_done=job.stage is not None and job.stage == session.done_stage,
        num_pictures=contents.num_pictures,
        num_pairs=contents.num_pairs,
        num_sequences=0 if data.sequences is None else read_sequence_contents(data.sequences).num_sequences,
        held_out=narrator.held_out,
        elapsed_s=time.monotonic() - began_s,
        waited_share=narrator.waited_s / narrator.trained_s if narrator.trained_s else 0.0,
        skipped=read_skipped(job.out / PICTURES),
    )


def _with_what_can_be_learned(job: TrainJob) -> TrainJob:
    """The job without networks that have nothing to learn from: the G_p of videos needs sequences, or scenes."""
    video, has_scenes = job.recipe.architecture.video, job.recipe.video_pgan.steps and job.recipe.motion.stored_scenes
    if video is None or video.patch_generator is None or job.sources.has_sequences or has_scenes:
        return job
    alone = replace(video, patch_generator=None, discriminator=None)
    architecture = replace(job.recipe.architecture, video=alone)
    return replace(job, recipe=replace(job.recipe, architecture=architecture))


def _open(job: TrainJob, session: Session, lock: ExitStack) -> None:
    """Check whether this run may go on in its folder, lock that, and store the pictures there.

    Nothing that a run has made is deleted before all is checked: a mistyped name costs no checkpoint and no store.
    """
    sources = {option: str(folder) for option, folder in job.sources.folders.items()}
    folder = RunFolder(job.out, job.recipe, sources=sources, start_sha256=job.start_sha256)
    is_anew = job.restart and job.stage is None
    changes = folder.check(resume=job.resume, is_anew=is_anew)
    job.sources.check()
    if changes:
        session.narrator.on_warning(f"going on with other settings than before: {'; '.join(changes)}")
    lock.enter_context(locked(job.out))
    with folder.keeping_stores():
        job.sources.store(session.narrator)
        contents = job.sources.stored()[0]
        if not is_anew:
            folder.check_data(contents)
    if job.restart:
        folder.restart(job.stage)
    folder.begin(contents)


def _save(job: TrainJob, networks: Networks, made_with: dict[str, Any]) -> Path:
    folder = job.out / "weights"
    save_weight_set(
        folder,
        networks,
        recipe=job.recipe.name,
        architecture=job.recipe.architecture,
        brmr=job.recipe.brmr,
        provenance={**made_with, "settings": asdict(job.recipe)},
    )
    return folder
