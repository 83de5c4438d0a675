"""Class activation maps: heatmaps of what is still blurred, and mining the most blurred window.

Everything here works on the map H^s - H^b that a CAM discriminator gives (models/discriminator.py),
one value for 8x8 px, as float64 arrays: the maps are small, and decisions must not depend on the device.

Shape suffixes: h, w are map cells of MAP_PX px.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from concertdeblur.frame import Pixels, full_scale
from concertdeblur.models.crossfade import crossfade

Map = npt.NDArray[np.float64]

MAP_PX = 8  # px a map value stands for
PATCH_PX = 128  # the side of a window that is mined and refined (paper section 3.4)
SEARCH_STRIDE_PX = 64
_FADE_PX = 16  # how far cells fade into each other on either side of their border
BRMR_CELL_PX = 256  # on larger frames Algorithm 1 runs in each cell of this grid (docs/method.md)


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """A rectangle of a frame in px. Inside BRMR all four are multiples of MAP_PX."""

    y: int
    x: int
    height: int
    width: int

    def of_pixels(self) -> tuple[slice, slice]:
        """Slices of the last two axes of a picture."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def of_map(self) -> tuple[slice, slice]:
        """Slices of a map."""
        return self.in_steps(MAP_PX)

    def in_steps(self, step_px: int) -> tuple[slice, slice]:
        """Slices of a block map, which has one value for `step_px` x `step_px`."""
        bottom, right = self.y + self.height, self.x + self.width
        return slice(self.y // step_px, bottom // step_px), slice(self.x // step_px, right // step_px)

    def enlarged(self, size: tuple[int, int], whole: tuple[int, int]) -> "Area":
        """The same place in a larger picture; what lies beyond the picture is cut off.

        Args:
            size: Height and width of the picture in which this area lies.
            whole: Height and width of the larger one.
        """
        (top, bottom), (left, right) = (
            (round(first * large / small), round(min(last, small) * large / small))
            for first, last, small, large in zip(
                (self.y, self.x), (self.y + self.height, self.x + self.width), size, whole, strict=True
            )
        )
        return Area(y=top, x=left, height=bottom - top, width=right - left)

    def grown(self, margin_px: int) -> "Area":
        """The area with `margin_px` more on every side; it may reach beyond the frame."""
        return Area(
            y=self.y - margin_px,
            x=self.x - margin_px,
            height=self.height + 2 * margin_px,
            width=self.width + 2 * margin_px,
        )

    def within(self, other: "Area") -> "Area":
        """The part that lies in `other`."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        bottom = min(self.y + self.height, other.y + other.height)
        right = min(self.x + self.width, other.x + other.width)
        return Area(y=y, x=x, height=max(0, bottom - y), width=max(0, right - x))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of the grid and the windows that are searched in it, left to right, top to bottom."""

    area: Area
    windows: tuple[Area, ...]
    covering: tuple[Area, ...]  # the fewest of them that cover the cell


@lru_cache(maxsize=64)
def cells_of(height: int, width: int) -> tuple[Cell, ...]:
    """The grid of a frame whose sides are multiples of MAP_PX.

    Cells have 256 px. The rest at the right and bottom is a cell of its own if a window fits into it, else it belongs
    to the last cell.
    """
    if height % MAP_PX or width % MAP_PX:
        raise ValueError(f"sides must be multiples of {MAP_PX} px, but {height = }, {width = }")
    return tuple(
        Cell(
            area=(area := Area(y=y, x=x, height=h, width=w)),
            windows=_windows_of(area, SEARCH_STRIDE_PX),
            covering=_windows_of(area, PATCH_PX),
        )
        for y, h in _spans(height)
        for x, w in _spans(width)
    )


def delta(map_hw: Map, cell: Cell) -> float:
    """Confidence that a cell is sharp: the mean of H^s - H^b over it."""
    return float(map_hw[cell.area.of_map()].mean())


def most_blurred(map_hw: Map, cell: Cell) -> tuple[Area, float]:
    """The window of a cell with the highest mean of H^b, and that mean; of equal windows the first one."""
    scores = [-0.5 * float(map_hw[window.of_map()].mean()) for window in cell.windows]
    best = int(np.argmax(scores))
    return cell.windows[best], scores[best]


def blur_heatmap(map_hw: Map, height: int, width: int) -> npt.NDArray[np.float32]:
    """Probability that a pixel is still blurred, (height, width), from the map of the padded frame."""
    probability = (1 / (1 + np.exp(np.clip(map_hw, -30, 30)))).astype(np.float32)
    full_size = (map_hw.shape[1] * MAP_PX, map_hw.shape[0] * MAP_PX)
    upsampled = cv2.resize(probability, full_size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(upsampled[:height, :width], dtype=np.float32)


def heat_overlay(pixels: Pixels, heatmap_HW: npt.NDArray[np.float32]) -> Pixels:
    """The heatmap's colours over the picture: blue sharp, red still blurred; (H, W, 3) of the type of `pixels`."""
    levels = np.clip(heatmap_HW * 255, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    full = full_scale(pixels)
    mixed = 0.55 * pixels + np.float32(0.45 * full / 255) * colours
    return (mixed if full == 1 else np.clip(np.rint(mixed), 0, full)).astype(pixels.dtype)


def cell_shares(length: int, like: Tensor) -> Tensor:
    """The share of each row (or column) of cells in each pixel of `length` px, (rows, length).

    A cell's share in a pixel is the product of its row's and its column's.

    Args:
        length: Length of a side of the frame, px.
        like: A tensor of the device and type that are wanted.
    """
    return crossfade([start for start, _ in _spans(length)], length, reach_px=_FADE_PX, like=like)


def _spans(length: int) -> list[tuple[int, int]]:
    num_cells = max(1, length // BRMR_CELL_PX + (length % BRMR_CELL_PX >= PATCH_PX))
    starts = [number * BRMR_CELL_PX for number in range(num_cells)]
    return [(start, (length if start == starts[-1] else start + BRMR_CELL_PX) - start) for start in starts]


def _windows_of(area: Area, stride_px: int) -> tuple[Area, ...]:
    height, width = min(PATCH_PX, area.height), min(PATCH_PX, area.width)
    return tuple(
        Area(y=area.y + y, x=area.x + x, height=height, width=width)
        for y in _window_starts(area.height - height, stride_px)
        for x in _window_starts(area.width - width, stride_px)
    )


def _window_starts(last: int, stride_px: int) -> list[int]:
    starts = list(range(0, last + 1, stride_px))
    return starts if starts[-1] == last else [*starts, last]
