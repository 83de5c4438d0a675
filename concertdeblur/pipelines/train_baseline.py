"""Train a baseline of the paper's comparison on the data and samples of a recipe.

`python -m concertdeblur.pipelines.train_baseline --name multi_scale --data PHOTOS --out DIR --crop 64 --cpu-minutes 60`
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch

from concertdeblur.errors import ConcertDeblurError, TrainingError
from concertdeblur.evaluation.baselines import save_baseline
from concertdeblur.models.baselines import PAPER_SIZES, Baseline, BaselineSettings, Kind, build_baseline
from concertdeblur.runtime import choose_runtime, flush_denormals
from concertdeblur.settings import parse_json
from concertdeblur.training.baselines import BaselineSchedule, BaselineStage, paper_schedule
from concertdeblur.training.data.loader import Loader, num_workers
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.data.pictures import PictureStore, build_store, read_contents
from concertdeblur.training.recipe import read_recipe
from concertdeblur.training.report import Report
from concertdeblur.training.data.samples import SampleStream

_MIN_SIDE_PX = 256
_FILE = "baseline.json"  # the settings that the run was begun with


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
    on_report: Callable[[Report], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> BaselineRun:
    """Train a baseline; the same call goes on exactly where the last one stopped.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user.
    """
    recipe = read_recipe(job.recipe)
    flush_denormals()
    store = out / "pictures"
    build_store(data, store, recipe.data, min_side_px=_MIN_SIDE_PX, on_warning=on_warning)
    held_out = PictureStore(store, "held_out")
    device = choose_runtime(job.device, "torch").device
    torch.manual_seed(recipe.seed)
    network = build_baseline(job.kind, job.settings).to(device)

    def stream(schedule: BaselineSchedule) -> SampleStream:
        train, pairs = PictureStore(store, "train"), PairStore(store, "train")
        return SampleStream(train, recipe.samples, seed=recipe.seed, batch_size=schedule.batch_size, pairs=pairs)

    def seconds_a_step(trial: BaselineSchedule) -> float:
        return _seconds_a_step(job.kind, stream(trial), network, trial, held_out)

    schedule = _schedule(out, job, recipe.seed, seconds_a_step)
    stage = BaselineStage(job.kind, network, schedule, out, held_out=held_out)
    stage.resume()
    workers = num_workers(device, num_threads=torch.get_num_threads())
    with Loader(stream(schedule).batch, device, workers=workers) as batches:
        until_s = float("inf") if job.minutes is None else 60 * job.minutes
        stage.run(batches, until_s=until_s, on_report=on_report)
    if not stage.is_done:
        return BaselineRun(weights=None, cpu_s=stage.cpu_s)
    provenance = {
        "cpu_seconds": stage.cpu_s,
        "schedule": asdict(schedule),
        "recipe": asdict(recipe),
        "data": asdict(read_contents(store)),
    }
    save_baseline(out / "weights", job.kind, job.settings, cast(Baseline, stage.ema.module), provenance=provenance)
    return BaselineRun(weights=out / "weights", cpu_s=stage.cpu_s)


def _schedule(
    out: Path, job: BaselineJob, seed: int, seconds_a_step: Callable[[BaselineSchedule], float]
) -> BaselineSchedule:
    """The schedule that the run was begun with; a run with other settings is an error.

    Raises:
        TrainingError: If the folder holds another run.
    """
    fixed: dict[str, Any] = {**asdict(job), "minutes": None, "device": None, "steps": None}
    file = out / _FILE
    if file.is_file():
        began = parse_json(file.read_text(encoding="utf-8"))
        if began["job"] != fixed or job.steps not in (None, began["steps"]):
            raise TrainingError(f"{out} holds a run of other settings; name another folder")
        return paper_schedule(job.kind, steps=began["steps"], crop_px=job.crop_px, seed=seed)
    steps = job.steps
    if steps is None:
        trial = paper_schedule(job.kind, steps=1000, crop_px=job.crop_px, seed=seed)
        steps = max(1, int(60 * job.cpu_minutes / seconds_a_step(trial)))
    _write(file, {"job": fixed, "steps": steps})
    return paper_schedule(job.kind, steps=steps, crop_px=job.crop_px, seed=seed)


def _write(file: Path, facts: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def _seconds_a_step(
    kind: Kind, stream: SampleStream, network: Baseline, trial: BaselineSchedule, held_out: PictureStore
) -> float:
    """CPU seconds of a step: the shorter of two steps of a copy, after a first one; a busy machine changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        stage = BaselineStage(kind, copy.deepcopy(network), trial, Path(folder), held_out=held_out)
        times = []
        for step in range(3):
            begun_s = time.process_time()
            stage.train_step(stream.batch(step))
            times.append(time.process_time() - begun_s)
    return min(times[1:])


def _say(report: Report) -> None:
    losses = ", ".join(f"{name} {value:.4f}" for name, value in report.figures.items())
    gain = sum(report.held_out.values()) / len(report.held_out) if report.held_out else None
    shown = "" if gain is None else f", held out {gain:+.2f} dB"
    sys.stderr.write(f"step {report.step} of {report.steps}, {report.elapsed_s:.0f} s, {losses}{shown}\n")


def _warn(message: str) -> None:
    sys.stderr.write(f"Warning: {message}\n")


def main(given: Sequence[str] | None = None) -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m concertdeblur.pipelines.train_baseline", description=__doc__)
    parser.add_argument("--name", choices=list(PAPER_SIZES), required=True)
    parser.add_argument("--data", type=Path, required=True, help="pictures, as 'concertdeblur train' takes them")
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
    paper = PAPER_SIZES[args.name]
    settings = BaselineSettings(width=args.width or paper.width, num_blocks=args.blocks or paper.num_blocks)
    job = BaselineJob(
        kind=args.name, settings=settings, recipe=args.recipe, crop_px=args.crop, steps=args.steps,
        cpu_minutes=args.cpu_minutes, minutes=args.minutes, device=args.device,
    )  # fmt: skip
    try:
        run = train_baseline(args.data, args.out, job, on_report=_say, on_warning=_warn)
    except ConcertDeblurError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Error: stopped; the checkpoint is kept, and the same command goes on from there\n")
        return 130
    told = f"{run.weights} is written" if run.weights else "Steps are left: the same command goes on"
    sys.stderr.write(f"{told}; {run.cpu_s / 60:.1f} CPU minutes so far.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
