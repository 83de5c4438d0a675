"""`report.html`: the report as one page without scripts and without requests."""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import cv2

from concertdeblur.blur.kernels import Picture
from concertdeblur.evaluation import real_text
from concertdeblur.evaluation.exhibits import Exhibit, Panel
from concertdeblur.evaluation.plots import Series, histogram, interval_plot
from concertdeblur.evaluation.real_text import TextTable
from concertdeblur.evaluation.real_videos import RealReport
from concertdeblur.evaluation.refining import RefiningReport
from concertdeblur.evaluation.report import (
    Report,
    about_lines,
    clip_lines,
    detection_lines,
    fidelity_text,
    refining_lines,
)
from concertdeblur.evaluation.statistics import Estimate
from concertdeblur.evaluation.tables import Table, TableRow

# the page may load and run nothing, because names of pictures come from anywhere
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation: concertdeblur</title>
<style>
:root { color-scheme: light dark; --ink: #1c1c1e; --faint: #5f6368; --line: #ddd; --paper: #fff; --tile: #f4f5f7;
  --c0: #8a8f98; --c1: #2f6fde; --c2: #d1495b; --c3: #2a9d6f; --c4: #b8860b; --c5: #7b4fc9; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececee; --faint: #a2a7ae; --line: #34363a; --paper: #161618;
  --tile: #222327; --c0: #9aa0a8; --c1: #7aa7ff; --c2: #ff8492; --c3: #5fd3a4; --c4: #e2b84a; --c5: #b396f5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 76rem; padding: 1.5rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { margin: 2.6rem 0 .4rem; font-size: 1.25rem; }
h3 { margin: 1.6rem 0 .4rem; font-size: 1rem; } p, ul { max-width: 60rem; }
.faint, .ci, figcaption { color: var(--faint); } .ci, figcaption { font-size: 12px; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.2rem 0; }
.tile { background: var(--tile); border-radius: .5rem; padding: .7rem 1rem; flex: 1 1 11rem; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; vertical-align: bottom; } td.n, th.n { text-align: right; }
th, td { padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line); }
tr.mean td { font-weight: 600; border-top: 2px solid var(--faint); } .ci { display: block; font-weight: 400; }
svg { width: 100%; max-width: 60rem; height: auto; font: 13px system-ui, sans-serif; display: block; }
svg text { fill: var(--ink); } svg .tick { fill: var(--faint); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .zero { stroke: var(--faint); } svg .whisker { stroke-width: 2.5; opacity: .55; }
svg .mark { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.s0 { fill: var(--c0); stroke: var(--c0); } .s1 { fill: var(--c1); stroke: var(--c1); }
.s2 { fill: var(--c2); stroke: var(--c2); } .s3 { fill: var(--c3); stroke: var(--c3); }
.s4 { fill: var(--c4); stroke: var(--c4); } .s5 { fill: var(--c5); stroke: var(--c5); }
rect.s0 { fill: var(--c1); stroke: none; }
.key span { margin-right: 1.2rem; white-space: nowrap; } .key i { display: inline-block; width: .8rem; height: .8rem;
  border-radius: 50%; margin-right: .35rem; vertical-align: -.08rem; }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: .7rem; margin: .5rem 0; }
.row.crops { grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); }
figure { margin: 0; } img { width: 100%; display: block; background: #000; } .crops img { image-rendering: pixelated; }
details { margin: .4rem 0; } summary { cursor: pointer; } pre { overflow-x: auto; background: var(--tile);
  padding: .8rem; border-radius: .5rem; font-size: 12px; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
</style></head><body>
"""
_COLOURS = 6
_NAME_LETTERS = 16
_OWN = "adversarial BRMR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What the page shows beside the report's figures."""

    pairs: tuple[Exhibit, ...] = ()
    real: tuple[Exhibit, ...] = ()
    detection: Exhibit | None = None
    refining_gains_db: tuple[float, ...] = ()  # gain over iGAN alone of each picture with an accepted step


def to_html(report: Report, shown: Shown) -> str:
    """The page."""
    parts = [_HEAD, f"<h1>Evaluation of {escape(report.origin.weights)}</h1>", _intro(report), _tiles(report)]
    if report.real is not None:
        parts += [_real(report.real, shown)]
    for table in report.tables:
        parts += [f"<h2>{escape(table.title)}</h2>", _table(table), _gain_plot(table)]
    parts += [_margins(report)]
    if shown.pairs:
        parts += ["<h2>Pictures</h2>", *(_exhibit(exhibit) for exhibit in shown.pairs)]
    if report.refining is not None:
        parts += [_refining(report.refining, shown)]
    if report.detection is not None:
        parts += ["<h2>Blur detection</h2>", _list(detection_lines(report.detection))]
        parts += [_exhibit(shown.detection)] if shown.detection else []
    if report.fidelity is not None:
        parts += ["<h2>Sharp input</h2>", f"<p>{escape(fidelity_text(report.fidelity))}.</p>"]
    if lines := clip_lines(report):
        parts += ["<h2>Clips</h2>", _list(lines)]
    parts += [_speed(report), _list(report.notes) if report.notes else "", _origin(report), "</body></html>\n"]
    return "\n".join(part for part in parts if part)


def _intro(report: Report) -> str:
    origin, texts = report.origin, []
    if origin.real is not None:
        texts.append(f"{origin.real.num_frames} frames of {origin.real.num_clips} real clips.")
    if origin.data is not None:
        texts.append(f"{origin.num_pairs} pairs of {origin.num_pictures} {origin.split}.")
    texts.append(
        "Figures are means with their 95 % bootstrap interval; PSNR and SSIM are those of RGB before encoding."
    )
    return f'<p class="faint">{escape(" ".join(texts))}</p>'


def _tiles(report: Report) -> str:
    tiles = [] if report.real is None else _real_tiles(report.real)
    for table in report.tables[:1]:
        mean = _mean(table)
        tiles.append(_tile(mean.fields["brmr"].gain_db, "+.2f", "dB", f"gain, {mean.name}"))
    tiles += [_tile(m.gain_db, "+.2f", "dB", f"over {m.over}") for m in report.margins if m.over == "iGAN alone"]
    if report.detection is not None:
        tiles.append(_tile(report.detection.grid, ".3f", "", "blur detection, IoU (a)"))
    if report.fidelity is not None:
        tiles.append(_tile(report.fidelity.psnr_db, ".1f", "dB", "sharp input comes back at"))
    tiles += [_tile(s.seconds, ".3f", "s", f"a picture, {s.label}") for s in report.speeds if s.label == _OWN]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _real_tiles(real: RealReport) -> list[str]:
    return [
        _tile(real.figures["brmr"].gain_db, "+.2f", "dB", "gain on real clips"),
        _tile(real.refining.gain_db, "+.3f", "dB", "of it BRMR over its own iGAN"),
    ]


def _real(real: RealReport, shown: Shown) -> str:
    parts = [f"<h2>{real_text.TITLE}</h2>", f"<p>{escape(real_text.ABOUT)}</p>"]
    for table in real_text.text_tables(real):
        parts += [f"<h3>{escape(table.title)}</h3>", _text_table(table)]
    rows = [one.figures for one in real.sequences] + ([real.figures] if len(real.sequences) > 1 else [])
    names = [*(_ending(one.name) for one in real.sequences), "mean of the clips"][: len(rows)]
    series = [
        Series(label=label, estimates=tuple(figures[key].gain_db for figures in rows))
        for key, label in list(real.columns.items())[:_COLOURS]
    ]
    title = "Gain over the input"
    plot = interval_plot(names, series, unit="dB over the input", title=title)
    parts += [f"<h3>{title}</h3>", _key([one.label for one in series]), plot]
    return "\n".join([*parts, *(_exhibit(exhibit) for exhibit in shown.real)])


def _ending(name: str) -> str:
    """The end of a name, as long as a plot has room for; sequences of a folder differ at the end."""
    return name if len(name) <= _NAME_LETTERS else f"…{name[1 - _NAME_LETTERS :]}"


def _text_table(table: TextTable) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in table.rows)
    return f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'


def _tile(e: Estimate, form: str, unit: str, name: str) -> str:
    digits = int(form[-2])
    return f'<div class="tile"><b>{e.mean:{form}} {unit}</b>{escape(name)}{_interval(e, digits)}</div>'


def _mean(table: Table) -> TableRow:
    return next((row for row in table.rows if row.name.startswith("mean")), table.rows[-1])


def _interval(e: Estimate, digits: int = 2) -> str:
    if e.num_groups < 2:
        return '<span class="ci">one alone: no interval</span>'
    return f'<span class="ci">{e.low:.{digits}f} to {e.high:.{digits}f}</span>'


def _table(table: Table) -> str:
    heads = "".join(f'<th class="n">{escape(label)}</th><th class="n">SSIM</th>' for label in table.columns.values())
    lines = [f'<tr><th></th><th class="n">pairs</th>{heads}</tr>']
    for row in table.rows:
        fields = "".join(
            f'<td class="n">{f.psnr_db.mean:.2f} dB{_interval(f.psnr_db)}</td>'
            f'<td class="n">{f.ssim.mean:.3f}{_interval(f.ssim, 3)}</td>'
            for f in row.fields.values()
        )
        kind = ' class="mean"' if row.name.startswith("mean") else ""
        lines.append(f'<tr{kind}><td>{escape(row.name)}</td><td class="n">{row.num_pairs}</td>{fields}</tr>')
    return f'<p class="faint">PSNR, and SSIM beside it.</p><div class="wide"><table>{"".join(lines)}</table></div>'


def _gain_plot(table: Table) -> str:
    keys = [key for key in table.columns if key != "blurred"][:_COLOURS]
    series = [
        Series(label=table.columns[key], estimates=tuple(row.fields[key].gain_db for row in table.rows)) for key in keys
    ]
    plot = interval_plot([row.name for row in table.rows], series, unit="dB over the blurred input", title=table.title)
    return f"<h3>Gain over the blurred input</h3>{_key([one.label for one in series])}{plot}"


def _key(labels: Sequence[str]) -> str:
    spans = [f'<span><i style="background: var(--c{n})"></i>{escape(label)}</span>' for n, label in enumerate(labels)]
    return f'<p class="key">{"".join(spans)}</p>'


def _margins(report: Report) -> str:
    if not report.margins:
        return ""
    series = Series(
        label="adversarial BRMR",
        estimates=tuple(margin.gain_db for margin in report.margins),
        marks=tuple(margin.paper_db for margin in report.margins),
    )
    names = [margin.over for margin in report.margins]
    plot = interval_plot(names, [series], unit="dB (diamond: the paper's margin)", title="Margins of adversarial BRMR")
    lines = ["<tr><th>over</th><th class='n'>dB</th><th class='n'>the paper's</th></tr>"]
    for m in report.margins:
        paper = "" if m.paper_db is None else f"{m.paper_db:+.2f}"
        mean = f"{m.gain_db.mean:+.2f}{_interval(m.gain_db)}"
        lines.append(f"<tr><td>{escape(m.over)}</td><td class='n'>{mean}</td><td class='n'>{paper}</td></tr>")
    return f'<h2>Margins of adversarial BRMR</h2><div class="wide"><table>{"".join(lines)}</table></div>{plot}'


def _refining(found: RefiningReport, shown: Shown) -> str:
    parts = ["<h2>Refining (BRMR)</h2>", _list(refining_lines(found))]
    if shown.refining_gains_db:
        title = "Gain over iGAN alone of the pictures with an accepted step"
        parts += [f"<h3>{title}</h3>", histogram(shown.refining_gains_db, unit="dB", title=title)]
    return "\n".join(parts)


def _speed(report: Report) -> str:
    if not report.speeds:
        return ""
    lines = ["<tr><th></th><th class='n'>s a picture</th></tr>"]
    for speed in report.speeds:
        mean = f"{speed.seconds.mean:.3f}{_interval(speed.seconds, 3)}"
        lines.append(f"<tr><td>{escape(speed.label)}</td><td class='n'>{mean}</td></tr>")
    return f"<h2>Speed</h2><p>On {escape(report.origin.runtime)}.</p><table>{''.join(lines)}</table>"


def _origin(report: Report) -> str:
    terms = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in about_lines(report.origin))
    settings = escape(json.dumps(report.origin.weight_settings, indent=1, default=str))
    return (
        f"<h2>What this is of</h2><dl>{terms}</dl>"
        f"<details><summary>Settings of the weight set</summary><pre>{settings}</pre></details>"
    )


def _exhibit(exhibit: Exhibit) -> str:
    wholes = [panel for panel in exhibit.panels if not panel.is_crop]
    crops = [panel for panel in exhibit.panels if panel.is_crop]
    parts = [f"<h3>{escape(exhibit.title)}</h3>", _row(wholes, "row")]
    return "\n".join([*parts, _row(crops, "row crops")] if crops else parts)


def _row(panels: Iterable[Panel], kind: str) -> str:
    figures = [
        f'<figure><img alt="{escape(panel.caption, quote=True)}" width="{panel.picture.shape[1]}"'
        f' height="{panel.picture.shape[0]}" style="height: auto" src="{_data(panel.picture)}">'
        f"<figcaption>{escape(panel.caption)}</figcaption></figure>"
        for panel in panels
    ]
    return f'<div class="{kind}">{"".join(figures)}</div>'


def _data(picture: Picture) -> str:
    _, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return f"data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}.</li>' for line in lines)}</ul>"
