"""`concertdeblur evaluate`: the paper's tables for pictures, and real pairs as videos, in JSON, Markdown and HTML.

Read `evaluate` from top to bottom to see the whole job.
"""

import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from concertdeblur import pretrained
from concertdeblur.errors import TargetError, UsageError
from concertdeblur.evaluation.baselines import baseline_contender, is_baseline
from concertdeblur.evaluation.clips import frames_of, judge_real_clips
from concertdeblur.evaluation.contenders import Contender, WeightSet, blurred_input, contenders_of, load_weight_set
from concertdeblur.evaluation.exhibits import Exhibit
from concertdeblur.evaluation.judge import Judge
from concertdeblur.evaluation.page import Shown, to_html
from concertdeblur.evaluation.pairs import EvaluationData, PairOptions, find_pairs
from concertdeblur.evaluation.real_videos import LEAST_FRAMES, RealReport, RealVideoJudge
from concertdeblur.evaluation.report import Origin, RealData, Report, to_markdown
from concertdeblur.evaluation.stages import Stages
from concertdeblur.evaluation.tables import Scored, Table, Tables
from concertdeblur.evaluation.video_contenders import (
    VideoContender,
    of_pictures,
    picture_by_picture,
    video_contenders_of,
)
from concertdeblur.media.sequences import find_sequences
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import Runtime, choose_runtime
from concertdeblur.version import __version__

_FILES = ("report.json", "report.md", "report.html")
_OWN_KEYS = ("blurred", "igan", "brmr", "pictures", "sharp")
_MOST_SHOWN = 8  # most clips with pictures on the page
_PACKAGES = ("torch", "torchmetrics", "numpy", "opencv-python", "openvino")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateJob:
    """What a user decides about an evaluation."""

    weights: str = pretrained.DEFAULT_WEIGHTS
    baselines: tuple[tuple[str, Path], ...] = ()  # (name, folder)
    real: Path | None = None  # sequences of real pairs, measured as videos
    max_frames: int | None = None  # most frames of each of them
    picture_by_picture: bool = False  # whether these are also measured as single pictures
    clips: tuple[Path, ...] = ()  # clips without truth, for the warping error
    limit: int | None = None  # most pictures
    is_all: bool = False  # whether pictures that training may have seen are used, too
    level: float = 0.5  # level of the seven kernels
    seed: int = 0  # the bootstrap and all random choices follow it
    device: str = "auto"
    backend: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise UsageError(f"level must lie between 0 and 1, but it is {self.level}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be 1 at least, but it is {self.limit}")
        if self.max_frames is not None and self.max_frames < LEAST_FRAMES:
            raise UsageError(f"max-frames must be {LEAST_FRAMES} at least, but it is {self.max_frames}")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 at least, but it is {self.seed}")
        if self.real is None and (self.max_frames is not None or self.picture_by_picture):
            raise UsageError("max-frames and picture-by-picture are about real clips; name their folder with --real")
        names = [name for name, _ in self.baselines]
        taken = {*_OWN_KEYS, *(f"{name}-igan" for name in names), *(f"{name}-brmr" for name in names)}
        if len(set(names)) < len(names) or not taken.isdisjoint(names):
            own = ", ".join(_OWN_KEYS)
            raise UsageError(f"each baseline needs a name of its own, other than {own}; given: {', '.join(names)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSummary:
    """The main figures of an evaluation."""

    target: Path
    num_pairs: int
    num_clips: int  # number of real clips
    rows: tuple[tuple[str, str], ...]
    elapsed_s: float

    def text(self) -> str:
        """In words."""
        lines = [f"  {name:<9} {text}" for name, text in self.rows]
        return "\n".join([f"{self.target / _FILES[-1]} is written.", *lines])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pictures:
    """The results for pictures."""

    judge: Judge
    contenders: tuple[Contender, ...]
    scored: list[Scored]


def evaluate(
    data: Path | None,
    target: Path,
    job: EvaluateJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> EvaluateSummary:
    """Evaluate a weight set, and write the report when it is complete.

    Args:
        data: Sharp pictures, or pairs as build-dataset, GOPRO or REDS lay them out; None if the job names real clips.
        target: The folder of the report.
        job: The user's choices.
        on_progress: Called after every picture and frame.
        on_warning: Called for what is left out: a real clip, or pictures; the report says it, too.
        stop: When set, the run ends with `Interrupted` and writes nothing.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; nothing is written then.
    """
    started_s = time.monotonic()
    _check_asked(data, job)
    _check_target(target, job)
    for clip in job.clips:
        frames_of(clip, 2)
    sequences = [] if job.real is None else find_sequences(job.real)
    options = PairOptions(level=job.level, is_all=job.is_all, limit=job.limit)
    found = None if data is None else find_pairs(data, options)
    runtime = choose_runtime(job.device, job.backend)
    weights = load_weight_set(job.weights, runtime)
    others = tuple(_loaded(name, folder, runtime) for name, folder in job.baselines)
    stages = Stages(on_progress=on_progress, stop=stop or threading.Event())
    notes = [other.note for other in others if isinstance(other, Contender) and other.note]

    def warn(message: str) -> None:
        notes.append(message)
        on_warning(message)

    real_judge = _real_judge(weights, others, job, stages, warn)
    real = real_judge.judge(sequences) if sequences else None
    pictures = None if found is None else _scored(found, weights, others, job, stages, warn)
    report = Report(
        **_picture_parts(pictures, job.seed),
        origin=_origin(data, job, weights, pictures, real, real_judge.sha256),
        real=real,
        clips=judge_real_clips(weights.deblurrer(), job.clips, seed=job.seed, stages=stages),
        notes=tuple(notes),
    )
    shown = Shown() if pictures is None else pictures.judge.exhibits(pictures.scored, pictures.contenders)
    page = to_html(report, replace(shown, real=_most_telling(real, real_judge)))
    _write(target, dict(zip(_FILES, (report.to_json(), to_markdown(report), page), strict=True)))
    return _summary(target, report, time.monotonic() - started_s)


def _loaded(name: str, folder: Path, runtime: Runtime) -> Contender | WeightSet:
    """A baseline, or another weight set."""
    return (
        baseline_contender(name, folder, runtime)
        if is_baseline(folder)
        else load_weight_set(folder, runtime, name=name)
    )


def _real_judge(
    weights: WeightSet, others: tuple[Contender | WeightSet, ...], job: EvaluateJob, stages: Stages,
    on_warning: Callable[[str], None],
) -> RealVideoJudge:  # fmt: skip
    columns: list[VideoContender] = []
    for other in others:
        if isinstance(other, Contender):
            columns.append(of_pictures(other))
        else:
            columns += video_contenders_of(other, prefix=other.name)
    columns += video_contenders_of(weights)
    if job.picture_by_picture:
        columns.append(picture_by_picture(weights))
    return RealVideoJudge(
        weights=weights, contenders=tuple(columns), seed=job.seed, stages=stages, most_frames=job.max_frames,
        on_warning=on_warning,
    )  # fmt: skip


def _scored(
    found: EvaluationData, weights: WeightSet, others: tuple[Contender | WeightSet, ...], job: EvaluateJob,
    stages: Stages, on_warning: Callable[[str], None],
) -> _Pictures:  # fmt: skip
    """Every contender on every pair of pictures."""
    columns = [blurred_input()]
    for other in others:
        columns += [other] if isinstance(other, Contender) else contenders_of(other, prefix=other.name)
    contenders = (*columns, *contenders_of(weights))
    judge = Judge(data=found, weights=weights, level=job.level, seed=job.seed, stages=stages, on_warning=on_warning)
    judge.check()
    judge.warm_up(contenders)
    return _Pictures(judge=judge, contenders=contenders, scored=judge.score(contenders))


def _picture_parts(pictures: _Pictures | None, seed: int) -> dict[str, Any]:
    """The parts of the report that are about pictures."""
    if pictures is None:
        empty: dict[str, Any] = dict.fromkeys(("refining", "fidelity", "detection", "steadiness"))
        return {**empty, "tables": (), "margins": (), "shaking": {}, "speeds": ()}
    judge, tables = pictures.judge, Tables(pictures.scored, pictures.contenders, seed=seed)
    return {
        "tables": _tables(tables),
        "margins": tables.margins(),
        "refining": judge.refining(),
        "fidelity": judge.fidelity(),
        "detection": judge.detection(),
        "steadiness": judge.steadiness(),
        "shaking": judge.shaking(),
        "speeds": (*tables.speeds(), judge.frame_speed()),
    }


def _most_telling(real: RealReport | None, judge: RealVideoJudge) -> tuple[Exhibit, ...]:
    """Worst and best frame of some clips: all, or evenly chosen from the least gain to the most."""
    ordered = sorted(real.sequences, key=lambda one: one.figures["brmr"].gain_db.mean) if real else []
    last = len(ordered) - 1
    if last >= _MOST_SHOWN:
        ordered = [ordered[number * last // (_MOST_SHOWN - 1)] for number in range(_MOST_SHOWN)]
    return tuple(exhibit for one in ordered for exhibit in judge.exhibits[one.name])


def _tables(tables: Tables) -> tuple[Table, ...]:
    made = (
        tables.by_kernel(),
        tables.by_shot_type(),
        tables.of_unknown_blur("Table 3: pairs of a camera (GOPRO protocol: RGB, no border cut, mean of pictures)"),
    )
    return tuple(table for table in made if table is not None)


def _origin(
    data: Path | None, job: EvaluateJob, weights: WeightSet, pictures: _Pictures | None, real: RealReport | None,
    real_sha256: str,
) -> Origin:  # fmt: skip
    options = {name: value for name, value in asdict(job).items() if name != "overwrite"}
    options["clips"] = ", ".join(str(clip) for clip in job.clips) or None
    options["baselines"] = {name: str(folder) for name, folder in job.baselines}
    of_pictures: dict[str, Any] = {}
    if pictures is not None:
        judge = pictures.judge
        of_pictures = {
            "layout": judge.data.layout, "split": judge.data.split, "num_pictures": len(judge.data.sharp),
            "num_pairs": len(judge.data.pairs), "data_sha256": judge.data_sha256,
        }  # fmt: skip
    of_real = None
    if real is not None:
        num_frames = sum(one.num_frames for one in real.sequences)
        of_real = RealData(
            folder=str(job.real), num_clips=len(real.sequences), num_frames=num_frames, sha256=real_sha256
        )
    return Origin(
        data=None if data is None else str(data),
        real=of_real,
        weights=f"{weights.name} ({weights.folder.name})",
        runtime=str(weights.runtime),
        options=options,
        weight_settings=asdict(weights.manifest),
        versions=_versions(),
        **of_pictures,
    )


def _versions() -> dict[str, str]:
    found = {"concertdeblur": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _check_asked(data: Path | None, job: EvaluateJob) -> None:
    """Refuse an evaluation of nothing, and choices that have no effect.

    Raises:
        UsageError: If there is nothing to measure, or a choice needs pictures that are not there.
    """
    if data is None and job.real is None:
        raise UsageError("nothing to measure: name pictures with --data, or real clips with --real")
    if data is None and (job.limit is not None or job.is_all):
        raise UsageError("limit and all are about pictures; name their folder with --data")


def _check_target(target: Path, job: EvaluateJob) -> None:
    """Check the report's folder before the work, and not after it.

    Raises:
        TargetError: If the report could not be written, or would replace one.
    """
    if target.exists() and not target.is_dir():
        raise TargetError(f"{target} is a file; name a folder for the report")
    there = [name for name in _FILES if (target / name).exists()]
    if there and not job.overwrite:
        raise TargetError(f"{target / there[0]} exists already; name another folder, or add --overwrite")
    parent = next(folder for folder in (target, *target.absolute().parents) if folder.is_dir())
    if not os.access(parent, os.W_OK):
        raise TargetError(f"{parent}: no folder can be made there, it is not writable")


def _write(target: Path, texts: dict[str, str]) -> None:
    """Write all files of a report, or none."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".report-", dir=target))
        try:
            for name, text in texts.items():
                (part / name).write_text(text, encoding="utf-8")
            for name in texts:
                (part / name).replace(target / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise TargetError(f"{target}: the report cannot be written ({error.strerror or error})") from error


def _summary(target: Path, report: Report, elapsed_s: float) -> EvaluateSummary:
    rows = []
    if report.real is not None:
        found = report.real.figures["brmr"]
        refining = report.real.refining
        rows.append(("as video", f"{found.gain_db.text(sign=True)} dB to {found.psnr_db.text()} dB"))
        kept = f"{refining.windows_kept} of {refining.windows_tried} windows kept"
        rows.append(("BRMR", f"{refining.gain_db.text(3, sign=True)} dB over its own iGAN, {kept}"))
    for table in report.tables:
        mean = next((row for row in table.rows if row.name.startswith("mean")), None)
        if mean is not None:
            field_ = mean.fields["brmr"]
            rows.append(("gain", f"{field_.gain_db.text(sign=True)} dB to {field_.psnr_db.text()} dB"))
    if report.fidelity is not None:
        rows.append(("sharp", f"input comes back at {report.fidelity.psnr_db.text(1)} dB"))
    if report.detection is not None:
        rows.append(("detection", f"IoU {report.detection.grid.text(3)}"))
    return EvaluateSummary(
        target=target, num_pairs=report.origin.num_pairs,
        num_clips=len(report.real.sequences) if report.real else 0, rows=tuple(rows), elapsed_s=elapsed_s,
    )  # fmt: skip
