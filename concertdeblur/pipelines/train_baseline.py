"""Train a baseline of the paper's comparison on the data and samples of a recipe.

`python -m concertdeblur.pipelines.train_baseline --name multi_scale --data PHOTOS --out DIR --crop 64 --cpu-minutes 60`

With `--real` or `--clips` it learns from the samples of the recipe's stage video iGAN: of each it gets the frame in the
middle and its truth.
"""

import argparse
import copy
import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from concertdeblur.errors import ConcertDeblurError, TrainingError, UsageError
from concertdeblur.evaluation.baselines import save_baseline
from concertdeblur.models.baselines import PAPER_SIZES, Baseline, BaselineSettings, Kind, build_baseline
from concertdeblur.pipelines.train_data import DataSources, TrainingData
from concertdeblur.pipelines.train_video import motion_stream
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import choose_runtime, flush_denormals
from concertdeblur.settings import parse_json
from concertdeblur.training.baselines import (
    BaselineSchedule,
    BaselineStage,
    PairBatch,
    TrainingPairs,
    pairs_of_cells,
    pairs_of_motion,
    paper_schedule,
)
from concertdeblur.training.data.loader import Loader, Order, num_workers, on_device
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.data.sequences import SequenceStore
from concertdeblur.training.narration import Narrator
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.report import Report
from concertdeblur.training.run_folder import locked

_FILE = "baseline.json"  # the settings that the run was begun with
_CROPS_PX, _LEAST_CROP_PX = 4, 24  # both networks halve twice, and DeblurGAN's critic needs two pixels at the end
_TRIED_SAMPLES = 24  # how long it takes to make a sample is measured by as many; a rendered one takes longest


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineJob:
    """The choices for the training of a baseline."""

    kind: Kind
    settings: BaselineSettings
    recipe: str = "concert"  # the recipe whose data, samples and seed are used
    crop_px: int = 256
    steps: int | None = None  # steps of the schedule; None: as many as fit into the CPU minutes, by a trial
    cpu_minutes: float = 60.0  # of all threads and all calls together, for the whole schedule
    minutes: float | None = None  # stop after this long by the clock; None: at the end of the schedule
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.crop_px < _LEAST_CROP_PX or self.crop_px % _CROPS_PX:
            raise UsageError(
                f"--crop must be a multiple of {_CROPS_PX} from {_LEAST_CROP_PX} on, but it is {self.crop_px}"
            )
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps must be 1 at least, but it is {self.steps}")
        if not 0 < self.cpu_minutes < math.inf:
            raise UsageError(f"--cpu-minutes must be more than 0, but it is {self.cpu_minutes:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineRun:
    """How far the training of a baseline is."""

    weights: Path | None  # the baseline's folder, as `evaluate --baseline` takes it; None while steps are left
    cpu_s: float  # CPU time of all its training so far, of all threads


def train_baseline(
    data: Path,
    out: Path,
    job: BaselineJob,
    *,
    real: Path | None = None,
    clips: Path | None = None,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_report: Callable[[Report], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> BaselineRun:
    """Train a baseline; the same call goes on exactly where the last one stopped.

    Args:
        data: Pictures, as `train` takes them.
        out: The run's folder.
        job: The choices.
        real: A folder of real pairs, as `train` takes it.
        clips: A folder of clips.
        on_progress: Called while the data are stored.
        on_report: Called with a report now and then.
        on_warning: Called with what is said of the data.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user.
    """
    recipe = read_recipe(job.recipe)
    flush_denormals()
    sources = DataSources(recipe=recipe, out=out, data=data, real=real, clips=clips)
    sources.check()
    with locked(out):
        sources.store(Narrator(on_progress=on_progress, on_warning=on_warning, stop=threading.Event()))
        contents, stored, recipe = sources.stored()
        device = choose_runtime(job.device, "torch").device
        torch.manual_seed(recipe.seed)
        network = build_baseline(job.kind, job.settings).to(device)
        made = _Pairs(recipe, stored)

        def seconds_a_step(trial: BaselineSchedule) -> float:
            return _seconds_a_step(job.kind, made, network, trial, stored.held_out)

        schedule = _schedule(out, job, contents.sha256, recipe.seed, seconds_a_step)
        stage = BaselineStage(job.kind, network, schedule, out, held_out=stored.held_out)
        stage.resume()
        workers = num_workers(device, num_threads=torch.get_num_threads())
        with Loader(made.batches(schedule.batch_size), device, workers=workers, uses=made.uses) as loader:
            until_s = float("inf") if job.minutes is None else 60 * job.minutes
            stage.run(lambda step: made.of_step(loader(step), step), until_s=until_s, on_report=on_report)
        if not stage.is_done:
            return BaselineRun(weights=None, cpu_s=stage.cpu_s)
        provenance = {
            "cpu_seconds": stage.cpu_s,
            "schedule": asdict(schedule),
            "recipe": asdict(recipe),
            "data": asdict(contents),
        }
        save_baseline(out / "weights", job.kind, job.settings, cast(Baseline, stage.ema.module), provenance=provenance)
        return BaselineRun(weights=out / "weights", cpu_s=stage.cpu_s)


class _Pairs:
    """The pairs that a baseline learns from: cells of pictures, or crops of frames that move if there are sequences."""

    def __init__(self, recipe: Recipe, data: TrainingData) -> None:
        self._recipe, self._data = recipe, data
        self.uses = 1 if data.sequences is None else recipe.video_igan.crops_per_clip
        self._order = Order(self.uses)

    def batches(self, batch_size: int) -> Callable[[int], PairBatch]:
        """Makes a batch by its number."""
        if self._data.sequences is None:
            cells = self._cells(batch_size, seed=self._recipe.seed)
            return lambda number: pairs_of_cells(cells.batch(number))
        train = SequenceStore(self._data.sequences, "train")
        stream = motion_stream(self._recipe, self._data.pictures, self._cells, train, None, batch_size=batch_size)
        return lambda number: pairs_of_motion(stream.batch(number))

    def of_step(self, batch: PairBatch, step: int) -> TrainingPairs:
        """The pairs of a step."""
        return batch.uses[self._order.use(step)]

    def _cells(self, batch_size: int, *, seed: int) -> SampleStream:
        data = self._data
        return SampleStream(data.pictures, self._recipe.samples, seed=seed, batch_size=batch_size, pairs=data.pairs)


def _schedule(
    out: Path, job: BaselineJob, data_sha256: str, seed: int, seconds_a_step: Callable[[BaselineSchedule], float]
) -> BaselineSchedule:
    """The schedule that the run was begun with; a run with other settings or on other data is an error.

    Raises:
        TrainingError: If the folder holds another run.
    """
    fixed: dict[str, Any] = {**asdict(job), "minutes": None, "device": None, "steps": None}
    file = out / _FILE
    if file.is_file():
        began = parse_json(file.read_text(encoding="utf-8"))
        if began["job"] != fixed or job.steps not in (None, began["steps"]):
            raise TrainingError(f"{out} holds a run of other settings; name another folder")
        if began.get("data_sha256") != data_sha256:
            raise TrainingError(f"{out} holds a run on other data; name another folder")
        return paper_schedule(job.kind, steps=began["steps"], crop_px=job.crop_px, seed=seed)
    steps = job.steps
    if steps is None:
        trial = paper_schedule(job.kind, steps=1000, crop_px=job.crop_px, seed=seed)
        steps = max(1, int(60 * job.cpu_minutes / seconds_a_step(trial)))
    _write(file, {"job": fixed, "steps": steps, "data_sha256": data_sha256})
    return paper_schedule(job.kind, steps=steps, crop_px=job.crop_px, seed=seed)


def _write(file: Path, facts: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def _seconds_a_step(
    kind: Kind, made: _Pairs, network: Baseline, trial: BaselineSchedule, held_out: PictureStore
) -> float:
    """CPU seconds of a step: the shorter of two steps of a copy, after a first one, and its share of making samples.

    A busy machine changes nothing.
    """
    batches = made.batches(trial.batch_size)
    begun_s = time.process_time()
    made_ones = [batches(number) for number in range(-(-_TRIED_SAMPLES // trial.batch_size))]
    making_s = (time.process_time() - begun_s) / (len(made_ones) * made.uses)
    with tempfile.TemporaryDirectory() as folder:
        stage = BaselineStage(kind, copy.deepcopy(network), trial, Path(folder), held_out=held_out)
        times = []
        for batch in made_ones[:3]:
            pairs = on_device(batch.uses[0], stage.device)
            begun_s = time.process_time()
            stage.train_step(pairs)
            times.append(time.process_time() - begun_s)
    return making_s + min(times[1:])


def _say(report: Report) -> None:
    losses = ", ".join(f"{name} {value:.4f}" for name, value in report.figures.items())
    gain = sum(report.held_out.values()) / len(report.held_out) if report.held_out else None
    shown = "" if gain is None else f", held out {gain:+.2f} dB"
    sys.stderr.write(f"step {report.step} of {report.steps}, {report.elapsed_s:.0f} s, {losses}{shown}\n")


def _telling() -> Callable[[StageProgress], None]:
    """Tells of each part of the work on the data, once."""
    told: set[str] = set()

    def tell(progress: StageProgress) -> None:
        if progress.stage not in told:
            sys.stderr.write(f"{progress.stage}: {progress.total} {progress.unit}\n")
        told.add(progress.stage)

    return tell


def _warn(message: str) -> None:
    sys.stderr.write(f"Warning: {message}\n")


def main(given: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m concertdeblur.pipelines.train_baseline", description=__doc__)
    parser.add_argument("--name", choices=list(PAPER_SIZES), required=True)
    parser.add_argument("--data", type=Path, required=True, help="pictures, as 'concertdeblur train' takes them")
    parser.add_argument("--real", type=Path, help="real pairs, as 'concertdeblur train' takes them")
    parser.add_argument("--clips", type=Path, help="clips, as 'concertdeblur train' takes them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=60.0, help="of the whole schedule, all threads together")
    parser.add_argument("--minutes", type=float, help="stop after this long; the same command goes on")
    parser.add_argument("--recipe", default="concert", help="whose data, samples and seed are taken")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops in px")
    parser.add_argument("--steps", type=int, help="of the schedule; without it as many as fit into the CPU minutes")
    parser.add_argument("--width", type=int, help="channels, in place of the paper's")
    parser.add_argument("--blocks", type=int, help="residual blocks, in place of the paper's")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(given)
    try:
        job = _job(args)
    except ValueError as error:  # a UsageError is one, too
        sys.stderr.write(f"Error: {error}\n")
        return 2
    try:
        run = train_baseline(
            args.data, args.out, job, real=args.real, clips=args.clips, on_progress=_telling(), on_report=_say,
            on_warning=_warn,
        )  # fmt: skip
    except ConcertDeblurError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Error: stopped; the checkpoint is kept, and the same command goes on from there\n")
        return 130
    told = f"{run.weights} is written" if run.weights else "Steps are left: the same command goes on"
    sys.stderr.write(f"{told}; {run.cpu_s / 60:.1f} CPU minutes so far.\n")
    return 0


def _job(args: argparse.Namespace) -> BaselineJob:
    paper = PAPER_SIZES[args.name]
    settings = BaselineSettings(
        width=paper.width if args.width is None else args.width,
        num_blocks=paper.num_blocks if args.blocks is None else args.blocks,
    )
    return BaselineJob(
        kind=args.name, settings=settings, recipe=args.recipe, crop_px=args.crop, steps=args.steps,
        cpu_minutes=args.cpu_minutes, minutes=args.minutes, device=args.device,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
