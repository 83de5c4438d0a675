"""Reduced copies of the frames of a real sequence: smaller ones, with the pixel grid elsewhere, by one of two filters.

A network knows the few frames of a scene by heart. The same frames at other sizes, cut by a few pixels at their sides
and reduced by another filter are other pixels with the same motion. They also have the short blur of a phone that is
held still. The filters are the mean of an area (OpenCV) and the bicubic one with antialiasing (Pillow, whose filter
grows with the reduction; OpenCV's does not).
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from concertdeblur.blur.kernels import Picture

# Px of a frame that become one, along a side, are drawn evenly between these, so most copies are small: the mean copy
# of 1280x720 has a sixth of the pixels if crops of 160 px must fit.
_LEAST_REDUCTION, _MOST_REDUCTION = 4 / 3, 5.0
_MOST_CUT_PX = 12  # at each side: wherever a grid of one px in 5 may begin, and what lies at the border differs


@dataclass(frozen=True, kw_only=True, slots=True)
class ReducedCopy:
    """How each frame of a sequence is reduced."""

    scale: float  # of the sides
    rows: slice  # the part of the frame that is reduced
    columns: slice
    reduction: Literal["area", "bicubic"] = "area"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a copy."""
        height, width = (round(self.scale * (part.stop - part.start)) for part in (self.rows, self.columns))
        return height, width

    def of(self, picture: Picture) -> Picture:
        """The copy of a picture (H, W, 3), RGB uint8."""
        part, (height, width) = np.ascontiguousarray(picture[self.rows, self.columns]), self.size
        if self.reduction == "bicubic":
            return np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)
        return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def whole_copy(height: int, width: int, scale: float) -> ReducedCopy:
    """A copy of whole frames of (height, width), by the mean of areas."""
    return ReducedCopy(scale=scale, rows=slice(0, height), columns=slice(0, width))


def drawn_copies(
    height: int, width: int, num_copies: int, *, least_side_px: int, rng: np.random.Generator
) -> list[ReducedCopy]:
    """Copies of frames of (height, width), drawn at random, from large to small.

    The range of reductions is divided evenly among the copies, so that also a few have different sizes.

    Returns:
        `num_copies` of them, whose sides have `least_side_px` or more; none if the frames are too small for that.
    """
    most = min(_MOST_REDUCTION, (min(height, width) - 2 * _MOST_CUT_PX) / least_side_px)
    if most < _LEAST_REDUCTION:
        return []
    return [
        ReducedCopy(
            scale=1 / (_LEAST_REDUCTION + (most - _LEAST_REDUCTION) * (number + rng.random()) / num_copies),
            rows=_cut(height, rng),
            columns=_cut(width, rng),
            reduction="bicubic" if rng.random() < 0.5 else "area",
        )
        for number in range(num_copies)
    ]


def _cut(side: int, rng: np.random.Generator) -> slice:
    first, last = (int(cut_px) for cut_px in rng.integers(_MOST_CUT_PX + 1, size=2))
    return slice(first, side - last)
