"""`concertdeblur evaluate`: the paper's tables on any pair data, as JSON, Markdown and one HTML page.

Read `evaluate` from top to bottom to see the whole job.
"""

import hashlib
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from concertdeblur import __version__, pretrained
from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import Interrupted, TargetError, UsageError
from concertdeblur.evaluation.contenders import Contender, WeightSet, blurred_input, contenders_of, load_weight_set
from concertdeblur.evaluation.metrics import Frame, psnr_db, ssim
from concertdeblur.evaluation.pairs import EvaluationData, PairOptions, find_pairs
from concertdeblur.evaluation.refining import Refining, RefiningReport, follow, summarise
from concertdeblur.evaluation.report import Fidelity, Origin, Report, to_markdown
from concertdeblur.evaluation.statistics import estimate
from concertdeblur.evaluation.tables import Figures, Scored, Table, Tables
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import choose_runtime

_FILES = ("report.json", "report.md")
_PACKAGES = ("torch", "torchmetrics", "numpy", "opencv-python", "openvino")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateJob:
    """What a user decides about an evaluation."""

    weights: str = pretrained.DEFAULT_WEIGHTS
    baselines: tuple[tuple[str, Path], ...] = ()  # (name, folder)
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
        if len(set(names)) < len(names):
            raise UsageError("two baselines have the same name; give each its own")


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
    found = find_pairs(data, PairOptions(level=job.level, is_all=job.is_all, limit=job.limit))
    weights = load_weight_set(job.weights, choose_runtime(job.device, job.backend))
    run = _Run(data=found, weights=weights, seed=job.seed, on_progress=on_progress, stop=stop or threading.Event())
    contenders = (blurred_input(), *contenders_of(weights))
    scored = run.score(contenders)
    tables = Tables(scored, contenders, seed=job.seed)
    report = Report(
        origin=_origin(data, job, run),
        tables=_tables(tables),
        margins=tables.margins(),
        refining=run.refining_report(),
        fidelity=run.fidelity(),
        speeds=tables.speeds(),
        notes=(),
    )
    _write(target, {"report.json": report.to_json(), "report.md": to_markdown(report)})
    return _summary(target, report, time.monotonic() - started_s)


@dataclass(kw_only=True, slots=True)
class _Run:
    """One evaluation: its data and weight set, and what has been seen so far."""

    data: EvaluationData
    weights: WeightSet
    seed: int
    on_progress: Callable[[StageProgress], None]
    stop: threading.Event
    refinings: list[Refining] = field(default_factory=list)
    data_sha256: str = ""

    def score(self, contenders: Sequence[Contender]) -> list[Scored]:
        """Every contender on every pair."""
        digest = hashlib.sha256()
        scored: list[Scored] = []
        step = self.stage("deblur pairs", len(self.data.pairs), "pairs")
        for pair in self.data.pairs:
            blurred_u8, sharp_u8 = pair.read()
            digest.update(pair.name.encode() + blurred_u8.tobytes() + sharp_u8.tobytes())
            blurred, sharp = as_float(blurred_u8), as_float(sharp_u8)
            made = {}
            figures = {}
            for contender in contenders:
                begun_s = time.perf_counter()
                restored = contender.restore(blurred)
                seconds = time.perf_counter() - begun_s
                made[contender.key] = restored
                figures[contender.key] = Figures(
                    psnr_db=psnr_db(restored.pixels, sharp), ssim=ssim(restored.pixels, sharp), seconds=seconds
                )
            self.refinings.append(follow(self.weights, blurred, sharp, made["igan"].pixels, made["brmr"]))
            scored.append(Scored(pair=pair, figures=figures))
            gains = [one.figures["brmr"].psnr_db - one.figures["blurred"].psnr_db for one in scored]
            step({"gain": f"{np.mean(gains):+.2f} dB"})
        self.data_sha256 = digest.hexdigest()
        return scored

    def refining_report(self) -> RefiningReport:
        """BRMR's own figures."""
        groups = [pair.group for pair in self.data.pairs]
        return summarise(self.refinings, groups, max_iterations=self.weights.max_iterations, seed=self.seed)

    def fidelity(self) -> Fidelity:
        """Sharp pictures through everything."""
        step = self.stage("deblur sharp pictures", len(self.data.sharp), "pictures")
        found: list[float] = []
        for pair in self.data.sharp:
            sharp = as_float(pair.read()[1])
            found.append(psnr_db(self.weights.refine(sharp).pixels, sharp))
            step({})
        worst = int(np.argmin(found))
        return Fidelity(
            psnr_db=estimate(found, [pair.group for pair in self.data.sharp], seed=self.seed),
            worst_db=found[worst],
            worst_picture=self.data.sharp[worst].picture,
        )

    def stage(self, name: str, total: int, unit: str) -> Callable[[dict[str, float | str]], None]:
        """Begin a stage; what is returned is called after each of its pieces, and says when to stop."""
        started_s = time.monotonic()
        done = 0
        self.on_progress(StageProgress(stage=name, done=0, total=total, unit=unit, elapsed_s=0.0))

        def step(facts: dict[str, float | str]) -> None:
            nonlocal done
            done += 1
            elapsed_s = time.monotonic() - started_s
            self.on_progress(
                StageProgress(stage=name, done=done, total=total, unit=unit, elapsed_s=elapsed_s, facts=facts)
            )
            if self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {total} {unit} ({name}); no report is written")

        return step


def as_float(picture: Picture) -> Frame:
    """In [0, 1]."""
    return picture.astype(np.float32) / np.float32(255)


def _tables(tables: Tables) -> tuple[Table, ...]:
    made = (
        tables.by_kernel(),
        tables.by_shot_type(),
        tables.of_unknown_blur("Table 3: pairs of a camera (GOPRO protocol: RGB, no border cut, mean of pictures)"),
    )
    return tuple(table for table in made if table is not None)


def _origin(data: Path, job: EvaluateJob, run: _Run) -> Origin:
    options = {name: value for name, value in asdict(job).items() if name not in ("overwrite", "weights")}
    return Origin(
        data=str(data),
        layout=run.data.layout,
        split=run.data.split,
        num_pictures=len(run.data.sharp),
        num_pairs=len(run.data.pairs),
        data_sha256=run.data_sha256,
        weights=f"{run.weights.name} ({run.weights.folder.name})",
        runtime=str(run.weights.runtime),
        options=options,
        weight_settings=asdict(run.weights.manifest),
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
    if report.fidelity is not None:
        rows.append(("sharp", f"comes back at {report.fidelity.psnr_db.text(1)} dB"))
    return EvaluateSummary(target=target, num_pairs=report.origin.num_pairs, rows=tuple(rows), elapsed_s=elapsed_s)
