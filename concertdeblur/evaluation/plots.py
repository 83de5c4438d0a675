"""Plots as SVG text; they use the colours and fonts of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from concertdeblur.evaluation.statistics import Estimate

_WIDTH = 860
_LEFT = 150  # room for the names
_RIGHT = 20
_NUM_BINS = 31
_SLACK = 0.05  # a value so little below 0, as a share of a step between ticks, needs no tick


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One colour of a plot: an estimate for each row."""

    label: str
    estimates: tuple[Estimate, ...]
    marks: tuple[float | None, ...] = ()  # values of another source, one for each row


def interval_plot(rows: Sequence[str], series: Sequence[Series], *, unit: str, title: str) -> str:
    """Means as dots with their intervals as lines; rows downward, 0 marked."""
    lows = [e.low for s in series for e in s.estimates]
    highs = [e.high for s in series for e in s.estimates]
    marks = [mark for s in series for mark in s.marks if mark is not None]
    ticks = _ticks(min(0.0, *lows, *marks), max(0.0, *highs, *marks))
    band = 16 * len(series) + 12
    bottom = 10 + band * len(rows)
    parts = [_opened(bottom + 44, title)]
    for tick in ticks:
        x = _at(tick, ticks)
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" y1="6" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{bottom + 34}" text-anchor="end">{escape(unit)}</text>')
    for number, name in enumerate(rows):
        top = 10 + band * number
        parts.append(f'<text x="{_LEFT - 12}" y="{top + band / 2 + 1:.1f}" text-anchor="end">{escape(name)}</text>')
        for index, one in enumerate(series):
            y = top + 14 + 16 * index
            text = f"{name}, {one.label}: {one.estimates[number].text()} {unit}"
            parts.append(_whisker(one.estimates[number], ticks, y, f"s{index}", text))
            if one.marks and (mark := one.marks[number]) is not None:
                parts.append(_diamond(_at(mark, ticks), y, f"{name}: the paper, {mark:+g} {unit}"))
    return "\n".join([*parts, "</svg>"])


def histogram(values: Sequence[float], *, unit: str, title: str) -> str:
    """How often each range of values came up; 0 marked."""
    ticks = _ticks(min(0.0, *values), max(0.0, *values))
    low, high = ticks[0], ticks[-1]
    counts = [0] * _NUM_BINS
    for value in values:
        counts[min(_NUM_BINS - 1, int((value - low) / (high - low) * _NUM_BINS))] += 1
    height, width = 150, (_WIDTH - _LEFT - _RIGHT) / _NUM_BINS
    parts = [_opened(height + 54, title)]
    for number, count in enumerate(counts):
        tall = height * count / max(counts)
        x, y = _LEFT + number * width, 10 + height - tall
        start = low + (high - low) * number / _NUM_BINS
        name = f"{start:+.3f} to {start + (high - low) / _NUM_BINS:+.3f} {unit}: {count}"
        parts.append(
            f'<rect class="s0" x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{tall:.1f}">'
            f"<title>{escape(name)}</title></rect>"
        )
    for tick in ticks:
        x = _at(tick, ticks)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height + 26}" text-anchor="middle">{tick:g}</text>')
    zero = _at(0.0, ticks)
    parts.append(f'<line class="zero" x1="{zero:.1f}" y1="6" x2="{zero:.1f}" y2="{height + 10}"/>')
    parts.append(f'<text x="{_LEFT - 12}" y="20" text-anchor="end">{max(counts)} at most</text>')
    parts.append(f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{height + 46}" text-anchor="end">{escape(unit)}</text>')
    return "\n".join([*parts, "</svg>"])


def _opened(height: float, title: str) -> str:
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{name}"><title>{escape(title)}</title>'


def _whisker(e: Estimate, ticks: Sequence[float], y: float, colour: str, text: str) -> str:
    low, mean, high = (_at(value, ticks) for value in (e.low, e.mean, e.high))
    return (
        f'<g class="{colour}"><title>{escape(text)}</title>'
        f'<line class="whisker" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}"/>'
        f'<circle cx="{mean:.1f}" cy="{y}" r="4.5"/></g>'
    )


def _diamond(x: float, y: float, text: str) -> str:
    return f'<path class="mark" d="M{x:.1f} {y - 6}l5 6l-5 6l-5 -6z"><title>{escape(text)}</title></path>'


def _at(value: float, ticks: Sequence[float]) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - ticks[0]) / (ticks[-1] - ticks[0])


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around a range, 0 among them if it lies inside."""
    span = max(high - low, 1e-3)
    rough = span / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + _SLACK), math.ceil(high / step - _SLACK)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
