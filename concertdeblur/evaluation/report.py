"""The report of an evaluation as plain data and as Markdown."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from concertdeblur.evaluation.clips import RealClipReport
from concertdeblur.evaluation.detection import PAPER_IOU, DetectionReport
from concertdeblur.evaluation.generated_clips import STEP_PX, ClipsReport
from concertdeblur.evaluation.refining import RefiningReport
from concertdeblur.evaluation.statistics import Estimate
from concertdeblur.evaluation.tables import Margin, Speed, Table

_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """What becomes of sharp pictures."""

    psnr_db: Estimate
    worst_db: float
    worst_picture: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the figures are of, and by what."""

    data: str
    layout: str
    split: str
    num_pictures: int
    num_pairs: int
    data_sha256: str  # over names and decoded pixels
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
    refining: RefiningReport
    fidelity: Fidelity
    detection: DetectionReport | None
    steadiness: ClipsReport | None
    shaking: Mapping[str, ClipsReport]  # by the speed of the picture, px a frame
    clips: tuple[RealClipReport, ...]
    speeds: tuple[Speed, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True, default=str) + "\n"


def to_markdown(report: Report) -> str:
    """The report as Markdown."""
    blocks = [f"# Evaluation of {report.origin.weights}", *_about(report.origin)]
    for table in report.tables:
        blocks += [f"## {table.title}", _table(table)]
    blocks += ["## Margins", _margins(report.margins)]
    blocks += ["## Refining (BRMR)", _list(refining_lines(report.refining))]
    if report.detection is not None:
        blocks += ["## Blur detection", _list(detection_lines(report.detection))]
    blocks += ["## Sharp input", f"{fidelity_text(report.fidelity)}."]
    if lines := clip_lines(report):
        blocks += ["## Clips", _list(lines)]
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
    return made + [
        f"{clip.clip}, {clip.num_frames} frames as 'video' deblurs them, by the motion of the clip as it was given:"
        f" warping error (times 10 000) given {_small(clip.given)}, deblurred {_small(clip.deblurred)};"
        f" deblurred over given: {clip.ratio:.2f}"
        for clip in report.clips
    ]


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


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}." for line in lines)


def about_lines(origin: Origin) -> list[tuple[str, str]]:
    """What the figures are of, as (name, text)."""
    return [
        ("data", f"{origin.data}: {origin.num_pairs} pairs of {origin.num_pictures} {origin.split}"),
        ("data digest", f"sha256 {origin.data_sha256}"),
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


def _about(origin: Origin) -> list[str]:
    intro = (
        "Figures are means of single pictures; behind them stands the 95 % bootstrap interval."
        " PSNR and SSIM are those of RGB in [0, 1] before any encoding."
    )
    return [intro, "\n".join(f"- {name}: {text}" for name, text in about_lines(origin))]


def _table(table: Table) -> str:
    lines = [f"| | pairs | {' | '.join(table.columns.values())} |", f"| --- | --- |{' --- |' * len(table.columns)}"]
    for row in table.rows:
        fields = [f"{field.psnr_db.text()}; {field.ssim.mean:.4f}" for field in row.fields.values()]
        lines.append(f"| {row.name} | {row.num_pairs} | {' | '.join(fields)} |")
    return "\n".join(["PSNR in dB; SSIM.", "", *lines])


def _margins(margins: tuple[Margin, ...]) -> str:
    lines = ["| adversarial BRMR over | dB | the paper's |", "| --- | --- | --- |"]
    for margin in margins:
        paper = "" if margin.paper_db is None else f"{margin.paper_db:+.2f}"
        lines.append(f"| {margin.over} | {margin.gain_db.text(sign=True)} | {paper} |")
    return "\n".join(lines)


def _speeds(speeds: tuple[Speed, ...]) -> str:
    lines = ["| | s a picture |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {speed.label} | {speed.seconds.text(3)} |" for speed in speeds)])
