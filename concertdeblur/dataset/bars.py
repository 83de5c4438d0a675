"""Bars around the picture: empty rows and columns, as many on one side as on the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import Box

Luma = npt.NDArray[np.uint8]
_CONSTANT_LEVELS = 6  # bars vary by less over all frames of a shot; darkness around a stage has noise and stray light
_MARGIN_PX = 2  # the edge of a bar leaves ringing in the picture
_LARGEST_SHARE = 0.7  # most of a side that can be bars; more than that is a dark stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """The least and the largest luma of every row and of every column."""

    least: tuple[Luma, Luma]
    largest: tuple[Luma, Luma]


def lines_of(luma_HW: Luma) -> Lines:
    """What `BarFinder` needs of a frame."""
    rows, columns = 1, 0  # the axis that is reduced
    return Lines(
        least=(np.min(luma_HW, axis=rows), np.min(luma_HW, axis=columns)),
        largest=(np.max(luma_HW, axis=rows), np.max(luma_HW, axis=columns)),
    )


@dataclass(slots=True)
class BarFinder:
    """Collects the lines of the frames of one shot."""

    height: int
    width: int
    _lines: Lines | None = None

    def add(self, lines: Lines) -> None:
        """Take one more frame."""
        if (before := self._lines) is not None:
            (least_y, least_x), (largest_y, largest_x) = before.least, before.largest
            lines = Lines(
                least=(np.minimum(least_y, lines.least[0]), np.minimum(least_x, lines.least[1])),
                largest=(np.maximum(largest_y, lines.largest[0]), np.maximum(largest_x, lines.largest[1])),
            )
        self._lines = lines

    def picture(self) -> Box:
        """The picture without the bars; the whole frame if there are none."""
        if self._lines is None:
            return Box(0, 0, self.height, self.width)
        sides = zip(self._lines.least, self._lines.largest, strict=True)
        (top, bottom), (left, right) = (_inner(least, largest) for least, largest in sides)
        return Box(top, left, bottom - top, right - left)


def _inner(least: Luma, largest: Luma) -> tuple[int, int]:
    """The first and the last line that are not empty."""
    is_bar = largest.astype(int) - least <= _CONSTANT_LEVELS
    held = np.flatnonzero(~is_bar)
    length = len(least)
    if not held.size or (held[-1] + 1 - held[0]) < (1 - _LARGEST_SHARE) * length:
        return 0, length
    # bars are equal on both sides; the dark upper half of a stage is no bar, but may lie below one
    bar = min(int(held[0]), length - 1 - int(held[-1]))
    margin = bar + _MARGIN_PX if bar else 0
    return margin, length - margin
