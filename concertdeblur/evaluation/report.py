"""The report of an evaluation as plain data and as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concertdeblur.evaluation import real_text
from concertdeblur.evaluation.clips import RealClipReport
from concertdeblur.evaluation.detection import PAPER_IOU, DetectionReport
from concertdeblur.evaluation.generated_clips import STEP_PX, ClipsReport
from concertdeblur.evaluation.real_videos import RealReport
from concertdeblur.evaluation.refining import RefiningReport
from concertdeblur.evaluation.statistics import Estimate
from concertdeblur.evaluation.tables import Margin, Speed, Table

_FORMAT = 1
_ABOUT_PICTURES = (
    "Of pictures: figures are means of single pictures; behind them stands the 95 % bootstrap interval. PSNR and SSIM"
    " are those of RGB in [0, 1] before any encoding."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """What becomes of sharp pictures."""

    psnr_db: Estimate
    worst_db: float
    worst_picture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RealData:
    """The real videos of an evaluation."""

    folder: str
    num_clips: int
    num_frames: int
    sha256: str  # over names and decoded pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Which data and which weight set the figures are of."""

    data: str | None  # pictures and pairs; None: only real videos were measured
    layout: str = ""
    split: str = ""
    num_pictures: int = 0
    num_pairs: int = 0
    data_sha256: str = ""  # over names and decoded pixels
    real: RealData | None
    weights: str
    runtime: str
    options: Mapping[str, Any]
    weight_settings: Mapping[str, Any]  # manifest of the weight set
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything an evaluation found."""

    origin: Origin
    tables: tuple[Table, ...]
    margins: tuple[Margin, ...]
    refining: RefiningReport | None  # None, and empty fields below: no pictures were measured
    fidelity: Fidelity | None
    detection: DetectionReport | None
    steadiness: ClipsReport | None
    shaking: Mapping[str, ClipsReport]  # by the speed of the picture, px a frame
    real: RealReport | None
    clips: tuple[RealClipReport, ...]
    speeds: tuple[Speed, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True, default=str) + "\n"


def to_markdown(report: Report) -> str:
    """The report as Markdown."""
    blocks = [f"# Evaluation of {report.origin.weights}", _list(about_lines(report.origin))]
    if report.real is not None:
        blocks += [f"## {real_text.TITLE}", real_text.ABOUT]
        for shown in real_text.text_tables(report.real):
            blocks += [f"### {shown.title}", _markdown_table(shown.columns, shown.rows)]
    if report.tables:
        blocks += [_ABOUT_PICTURES]
    for table in report.tables:
        blocks += [f"## {table.title}", _table(table)]
    if report.margins:
        blocks += ["## Margins", _margins(report.margins)]
    if report.refining is not None:
        blocks += ["## Refining (BRMR)", _sentences(refining_lines(report.refining))]
    if report.detection is not None:
        blocks += ["## Blur detection", _sentences(detection_lines(report.detection))]
    if report.fidelity is not None:
        blocks += ["## Sharp input", f"{fidelity_text(report.fidelity)}."]
    if lines := clip_lines(report):
        blocks += ["## Clips", _sentences(lines)]
    if report.speeds:
        blocks += ["## Speed", _speeds(report.speeds)]
    if report.notes:
        blocks += ["## Notes", "\n".join(f"- {note}" for note in report.notes)]
    return "\n\n".join(blocks) + "\n"


def refining_lines(found: RefiningReport) -> list[str]:
    """BRMR's own figures in words."""
    lines = [
        f"steps tried a cell: {found.iterations.text()} (the paper: 2.3 an image); accepted: {found.accepted.text()}",
        f"{_percent(found.capped_share)} of the cells came to the cap of {found.max_iterations} steps",
    ]
    if found.accepted_share is not None:
        lines[-1] = f"{_percent(found.accepted_share)} of the steps tried were accepted; {lines[-1]}"
    if found.step_gain_db is not None and found.lost_share is not None:
        lines.append(
            f"an accepted step gained {found.step_gain_db.text(3, sign=True)} dB in its window;"
            f" {_percent(found.lost_share)} of {found.step_gain_db.num} accepted steps lowered PSNR there"
        )
    accepting = f"pictures with an accepted step: {_percent(found.accepting_share)} of {found.num_pictures}"
    if found.accepting_gain_db is not None and found.worst_accepting_db is not None:
        accepting += (
            f"; over iGAN alone they gained {found.accepting_gain_db.text(3, sign=True)} dB,"
            f" the worst of them {found.worst_accepting_db:+.3f} dB"
        )
    return [*lines, accepting]


def _percent(share: Estimate) -> str:
    if share.num_groups < 2:
        return f"{100 * share.mean:.0f} %"
    return f"{100 * share.mean:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def fidelity_text(found: Fidelity) -> str:
    """What becomes of sharp pictures, in words."""
    mean = f"Sharp pictures come back at {found.psnr_db.text(1)} dB (100 stands for no change at all)"
    return f"{mean}; the worst, {found.worst_picture}, at {found.worst_db:.1f} dB"


def detection_lines(found: DetectionReport) -> list[str]:
    """Blur detection in words."""
    kernels = ", ".join(f"{name} {iou.mean:.2f}" for name, iou in found.grid_by_kernel.items())
    return [
        f"(a) patches on the 64-px grid, 64-px search: mean IoU {found.grid.text(3)} over {found.grid.num} patches"
        f" (the paper: {PAPER_IOU}; a window drawn by chance: {found.grid_by_chance:.3f}); by kernel: {kernels}",
        f"(b) patches anywhere, dense search: mean IoU {found.anywhere.text(3)}",
    ]


def clip_lines(report: Report) -> list[str]:
    """Gains and warping errors in words, of the clips made of pictures and of real ones."""
    made = [] if report.steadiness is None else _panning_lines(report.steadiness)
    made += [_shaking_line(speed, found) for speed, found in report.shaking.items()]
    return made + [_real_clip_line(clip) for clip in report.clips]


def _real_clip_line(clip: RealClipReport) -> str:
    line = f"{clip.clip}, {clip.num_frames} frames as 'video' deblurs them, by the motion of the clip as it was given: "
    if clip.given is None or clip.deblurred is None:
        return f"{line}it has no warping error, since nothing is seen in two frames"
    return (
        f"{line}warping error (times 10 000) given {_small(clip.given)}, deblurred {_small(clip.deblurred)};"
        f" deblurred over given: {clip.ratio:.2f}"
    )


def _panning_lines(found: ClipsReport) -> list[str]:
    return [
        f"{found.num_clips} clips of {found.num_frames} frames that pan over sharp pictures by {STEP_PX} px a frame,"
        f" blurred and grainy; deblurring gained {found.gain_db.text(sign=True)} dB",
        f"warping error (times 10 000): blurred {_small(found.blurred)}, deblurred {_small(found.deblurred)}, the sharp"
        f" clip itself {_small(found.sharp)}; deblurred over blurred, mean of the clips: {found.ratio.text()}",
    ]


def _shaking_line(speed_px: str, found: ClipsReport) -> str:
    return (
        f"{found.num_clips} clips of {found.num_frames} frames of a camera that shakes before sharp pictures,"
        f" {speed_px} px a frame: deblurring gained {found.gain_db.text(sign=True)} dB;"
        f" warping error deblurred over blurred: {found.ratio.text()}"
    )


def _small(error: Estimate) -> str:
    return f"{1e4 * error.mean:.3f} ({1e4 * error.low:.3f} to {1e4 * error.high:.3f})"


def _sentences(lines: list[str]) -> str:
    return "\n".join(f"- {line}." for line in lines)


def _list(terms: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in terms)


def about_lines(origin: Origin) -> list[tuple[str, str]]:
    """Which data and weight set the figures are of, as (name, text)."""
    pictures, real = [], []
    if origin.data is not None:
        pictures = [
            ("data", f"{origin.data}: {origin.num_pairs} pairs of {origin.num_pictures} {origin.split}"),
            ("data digest", f"sha256 {origin.data_sha256}"),
        ]
    if origin.real is not None:
        real = [
            ("real pairs", f"{origin.real.folder}: {origin.real.num_clips} clips, {origin.real.num_frames} frames"),
            ("digest of real pairs", f"sha256 {origin.real.sha256}"),
        ]
    return [
        *pictures,
        *real,
        ("weights", origin.weights),
        ("ran on", origin.runtime),
        ("options", ", ".join(_option(name, value) for name, value in origin.options.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in origin.versions.items())),
    ]


def _option(name: str, value: object) -> str:
    if isinstance(value, dict):
        value = " ".join(f"{key}={folder}" for key, folder in value.items()) or None
    words = {None: "none", True: "yes", False: "no"}
    return f"{name} {words[value] if value is None or isinstance(value, bool) else value}"


def _table(table: Table) -> str:
    rows = []
    for row in table.rows:
        fields = [f"{field.psnr_db.text()}; {field.ssim.mean:.4f}" for field in row.fields.values()]
        rows.append((row.name, str(row.num_pairs), *fields))
    return f"PSNR in dB; SSIM.\n\n{_markdown_table(('', 'pairs', *table.columns.values()), rows)}"


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *([text.replace("|", "\\|") for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _margins(margins: tuple[Margin, ...]) -> str:
    rows = []
    for margin in margins:
        paper = "" if margin.paper_db is None else f"{margin.paper_db:+.2f}"
        rows.append((margin.over, margin.gain_db.text(sign=True), paper))
    return _markdown_table(("adversarial BRMR over", "dB", "the paper's"), rows)


def _speeds(speeds: tuple[Speed, ...]) -> str:
    return _markdown_table(("", "s a picture"), [(speed.label, speed.seconds.text(3)) for speed in speeds])
