"""`concertdeblur evaluate`: the paper's tables on any pair data, as JSON, Markdown and one HTML page.

Read `evaluate` from top to bottom to see the whole job.
"""

import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from concertdeblur import pretrained
from concertdeblur.version import __version__
from concertdeblur.errors import TargetError, UsageError
from concertdeblur.evaluation.baselines import baseline_contender, is_baseline
from concertdeblur.evaluation.clips import frames_of
from concertdeblur.evaluation.contenders import Contender, blurred_input, contenders_of, load_weight_set
from concertdeblur.evaluation.judge import Judge
from concertdeblur.evaluation.page import to_html
from concertdeblur.evaluation.pairs import PairOptions, find_pairs
from concertdeblur.evaluation.report import Origin, Report, to_markdown
from concertdeblur.evaluation.tables import Table, Tables
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import Runtime, choose_runtime

_FILES = ("report.json", "report.md", "report.html")
_OWN_KEYS = ("blurred", "igan", "brmr")
_PACKAGES = ("torch", "torchmetrics", "numpy", "opencv-python", "openvino")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateJob:
    """What a user decides about an evaluation."""

    weights: str = pretrained.DEFAULT_WEIGHTS
    baselines: tuple[tuple[str, Path], ...] = ()  # (name, folder)
    clips: tuple[Path, ...] = ()  # real ones, for the warping error
    limit: int | None = None  # pictures at most
    is_all: bool = False  # pictures that training may have seen, too
    level: float = 0.5  # of the seven kernels
    seed: int = 0  # of the bootstrap and of what is drawn
    device: str = "auto"
    backend: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise UsageError(f"level must lie between 0 and 1, but it is {self.level}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit must be 1 at least, but it is {self.limit}")
        names = [name for name, _ in self.baselines]
        if len({*names, *_OWN_KEYS}) < len(names) + len(_OWN_KEYS):
            own = ", ".join(_OWN_KEYS)
            raise UsageError(f"each baseline needs a name of its own, other than {own}; given: {', '.join(names)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSummary:
    """What an evaluation found, in short."""

    target: Path
    num_pairs: int
    rows: tuple[tuple[str, str], ...]
    elapsed_s: float

    def text(self) -> str:
        """In words."""
        lines = [f"  {name:<9} {text}" for name, text in self.rows]
        return "\n".join([f"{self.target / _FILES[-1]} is written.", *lines])


def evaluate(
    data: Path,
    target: Path,
    job: EvaluateJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> EvaluateSummary:
    """Evaluate a weight set, and write the report when it is complete.

    Args:
        data: Sharp pictures, or pairs as build-dataset, GOPRO or REDS lay them out.
        target: The folder of the report.
        job: The user's choices.
        on_progress: Called after every picture.
        stop: When set, the run ends with `Interrupted` and writes nothing.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; nothing is written then.
    """
    started_s = time.monotonic()
    _check_target(target, job)
    for clip in job.clips:
        frames_of(clip, 2)
    found = find_pairs(data, PairOptions(level=job.level, is_all=job.is_all, limit=job.limit))
    runtime = choose_runtime(job.device, job.backend)
    weights = load_weight_set(job.weights, runtime)
    others = [one for name, folder in job.baselines for one in _others(name, folder, runtime)]
    contenders = (blurred_input(), *others, *contenders_of(weights))
    judge = Judge(
        data=found, weights=weights, level=job.level, seed=job.seed, on_progress=on_progress,
        stop=stop or threading.Event(),
    )  # fmt: skip
    judge.check()
    judge.warm_up(contenders)
    scored = judge.score(contenders)
    tables = Tables(scored, contenders, seed=job.seed)
    report = Report(
        origin=_origin(data, job, judge),
        tables=_tables(tables),
        margins=tables.margins(),
        refining=judge.refining(),
        fidelity=judge.fidelity(),
        detection=judge.detection(),
        steadiness=judge.steadiness(),
        shaking=judge.shaking(),
        clips=judge.real_clips(job.clips),
        speeds=(*tables.speeds(), judge.frame_speed()),
        notes=tuple(one.note for one in contenders if one.note),
    )
    page = to_html(report, judge.exhibits(scored, contenders))
    _write(target, dict(zip(_FILES, (report.to_json(), to_markdown(report), page), strict=True)))
    return _summary(target, report, time.monotonic() - started_s)


def _others(name: str, folder: Path, runtime: Runtime) -> tuple[Contender, ...]:
    """The columns of a baseline, or of another weight set."""
    if is_baseline(folder):
        return (baseline_contender(name, folder, runtime),)
    return contenders_of(load_weight_set(folder, runtime, name=name), prefix=name)


def _tables(tables: Tables) -> tuple[Table, ...]:
    made = (
        tables.by_kernel(),
        tables.by_shot_type(),
        tables.of_unknown_blur("Table 3: pairs of a camera (GOPRO protocol: RGB, no border cut, mean of pictures)"),
    )
    return tuple(table for table in made if table is not None)


def _origin(data: Path, job: EvaluateJob, judge: Judge) -> Origin:
    options = {name: value for name, value in asdict(job).items() if name != "overwrite"}
    options["clips"] = ", ".join(str(clip) for clip in job.clips) or None
    options["baselines"] = {name: str(folder) for name, folder in job.baselines}
    return Origin(
        data=str(data),
        layout=judge.data.layout,
        split=judge.data.split,
        num_pictures=len(judge.data.sharp),
        num_pairs=len(judge.data.pairs),
        data_sha256=judge.data_sha256,
        weights=f"{judge.weights.name} ({judge.weights.folder.name})",
        runtime=str(judge.weights.runtime),
        options=options,
        weight_settings=asdict(judge.weights.manifest),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"concertdeblur": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _check_target(target: Path, job: EvaluateJob) -> None:
    """Fail before the work, not after it.

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
    for table in report.tables:
        mean = next((row for row in table.rows if row.name.startswith("mean")), None)
        if mean is not None:
            field_ = mean.fields["brmr"]
            rows.append(("gain", f"{field_.gain_db.text(sign=True)} dB to {field_.psnr_db.text()} dB"))
    rows.append(("sharp", f"input comes back at {report.fidelity.psnr_db.text(1)} dB"))
    if report.detection is not None:
        rows.append(("detection", f"IoU {report.detection.grid.text(3)}"))
    return EvaluateSummary(target=target, num_pairs=report.origin.num_pairs, rows=tuple(rows), elapsed_s=elapsed_s)
