"""Bars around the picture: rows and columns that never change and hold nothing."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.frames import Box

Luma = npt.NDArray[np.uint8]
_BLACK_LUMA = 28  # video black is 16; codecs ring a little
_CONSTANT_LEVELS = 10  # bars of another colour vary by less over all frames
_MARGIN_PX = 2  # the edge of a bar rings into the picture
_LARGEST_SHARE = 0.7  # of a side; more than that is a dark stage and no bar


@dataclass(slots=True)
class BarFinder:
    """Collects the least and the largest luma of every row and column over frames of one size."""

    _least: list[Luma] = field(default_factory=list)
    _largest: list[Luma] = field(default_factory=list)

    def add(self, luma_HW: Luma) -> None:
        """Take one more frame."""
        least, largest = ([reduce(luma_HW, axis=axis) for axis in (1, 0)] for reduce in (np.min, np.max))
        if not self._least:
            self._least, self._largest = least, largest
            return
        self._least = [np.minimum(a, b) for a, b in zip(self._least, least, strict=True)]
        self._largest = [np.maximum(a, b) for a, b in zip(self._largest, largest, strict=True)]

    def picture(self) -> Box:
        """Where the picture is within the bars; the whole frame if there are none."""
        assert self._least, "no frame was added"
        (top, bottom), (left, right) = (
            _inner(least, largest) for least, largest in zip(self._least, self._largest, strict=True)
        )
        return Box(top, left, bottom - top, right - left)


def _inner(least: Luma, largest: Luma) -> tuple[int, int]:
    """From where to where the lines hold something."""
    is_bar = (largest <= _BLACK_LUMA) | (largest.astype(int) - least <= _CONSTANT_LEVELS)
    held = np.flatnonzero(~is_bar)
    length = len(least)
    if not held.size or (held[-1] + 1 - held[0]) < (1 - _LARGEST_SHARE) * length:
        return 0, length
    start, stop = int(held[0]), int(held[-1]) + 1
    return (start + _MARGIN_PX if start else 0), (stop - _MARGIN_PX if stop < length else length)
