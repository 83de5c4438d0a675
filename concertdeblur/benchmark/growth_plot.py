"""A plot of how cost grows with the frame: seconds a frame and memory over megapixels, on logarithmic axes."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.benchmark.tables import SizeRow

_Picture: TypeAlias = npt.NDArray[np.uint8]
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 620, 460, 80, 50, 60  # of one panel, and its margins
_COLOURS = ((180, 119, 31), (14, 127, 255))  # BGR, one for each number of threads
_INK, _GRID = (60, 60, 60), (225, 225, 225)


def plot_growth(target: Path, rows: Sequence[SizeRow]) -> None:
    """Write a PNG of two panels; sizes that did not run are left out."""
    panels = [
        _panel(rows, lambda row: row.seconds_per_frame, "seconds a frame, file to file"),
        _panel(rows, lambda row: row.peak_rss_mb, "memory, MB"),
    ]
    target.write_bytes(cv2.imencode(".png", np.hstack(panels))[1].tobytes())


def _panel(rows: Sequence[SizeRow], value: Callable[[SizeRow], float | None], title: str) -> _Picture:
    picture = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    _write(picture, title, (_LEFT, 30), scale=0.6)
    points = [(row.width * row.height / 1e6, found, row) for row in rows if (found := value(row)) is not None]
    if not points:
        _write(picture, "nothing ran", (_LEFT, _HEIGHT // 2))
        return picture
    across = _Axis([area for area, _, _ in points], _LEFT, _WIDTH - 30)
    upward = _Axis([found for _, found, _ in points], _HEIGHT - _BOTTOM, _TOP)
    for tick in across.ticks():
        cv2.line(picture, (across.at(tick), _TOP), (across.at(tick), _HEIGHT - _BOTTOM), _GRID, 1)
        _write(picture, f"{tick:g}", (across.at(tick) - 12, _HEIGHT - _BOTTOM + 20))
    for tick in upward.ticks():
        cv2.line(picture, (_LEFT, upward.at(tick)), (_WIDTH - 30, upward.at(tick)), _GRID, 1)
        _write(picture, f"{tick:g}", (10, upward.at(tick) + 5))
    _write(picture, "megapixels", (_WIDTH - 120, _HEIGHT - 15))
    for number, threads in enumerate(sorted({row.threads for row in rows})):
        line = [(across.at(area), upward.at(found)) for area, found, row in points if row.threads == threads]
        colour = _COLOURS[number % len(_COLOURS)]
        cv2.polylines(picture, [np.array(line, np.int32)], False, colour, 2, cv2.LINE_AA)
        for point in line:
            cv2.circle(picture, point, 4, colour, -1, cv2.LINE_AA)
        text = f"{threads} thread{'s' if threads > 1 else ''}"
        _write(picture, text, (_LEFT + 12, _TOP + 22 + 20 * number), colour=colour)
    return picture


class _Axis:
    """Values to px, by their logarithm."""

    def __init__(self, values: Sequence[float], first_px: int, last_px: int) -> None:
        self._low, self._high = math.log10(min(values) / 1.25), math.log10(max(values) * 1.25)
        self._first_px, self._last_px = first_px, last_px

    def at(self, value: float) -> int:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._first_px + share * (self._last_px - self._first_px))

    def ticks(self) -> list[float]:
        """The ticks: 1, 2 and 5 times powers of ten, as far as they lie on the axis."""
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        return [tick for tick in ticks if self._low <= math.log10(tick) <= self._high]


def _write(
    picture: _Picture, text: str, at: tuple[int, int], *, scale: float = 0.45, colour: tuple[int, int, int] = _INK
) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
