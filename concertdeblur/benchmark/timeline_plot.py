"""A stage timeline as a picture: one row a stage, one bar a span."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from concertdeblur.streaming.timeline import Span

_WIDTH, _LEFT, _ROW, _TOP = 1400, 130, 34, 30
_COLOURS = ((180, 119, 31), (14, 127, 255), (44, 160, 44), (40, 39, 214), (189, 103, 148), (75, 86, 140))  # BGR
_INK = (60, 60, 60)


def plot_timeline(target: Path, spans: Sequence[Span]) -> None:
    """Write a PNG; times are shown from the first span's start, in seconds."""
    names = list(dict.fromkeys(one.name for one in sorted(spans, key=lambda one: one.start_s)))
    first_s = min((one.start_s for one in spans), default=0.0)
    length_s = max((one.end_s for one in spans), default=1.0) - first_s or 1.0
    scale = (_WIDTH - _LEFT - 20) / length_s
    picture = np.full((_TOP + _ROW * len(names) + 40, _WIDTH, 3), 255, np.uint8)
    bottom = _TOP + _ROW * len(names)
    for tick in range(11):
        x = round(_LEFT + tick / 10 * length_s * scale)
        cv2.line(picture, (x, _TOP), (x, bottom), (225, 225, 225), 1)
        _write(picture, f"{tick / 10 * length_s:.2f}", (x - 14, bottom + 20))
    for row, name in enumerate(names):
        y = _TOP + _ROW * row
        _write(picture, name, (8, y + 22))
        for one in spans:
            if one.name == name:
                x, end = (round(_LEFT + (at_s - first_s) * scale) for at_s in (one.start_s, one.end_s))
                cv2.rectangle(picture, (x, y + 5), (max(end - 1, x), y + _ROW - 5), _COLOURS[row % len(_COLOURS)], -1)
    _write(picture, "seconds", (_WIDTH - 70, bottom + 36))
    target.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _write(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], text: str, at: tuple[int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
