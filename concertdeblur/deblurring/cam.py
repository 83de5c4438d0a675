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
import torch
from torch import Tensor

from concertdeblur.frame import Pixels, full_scale

Map = npt.NDArray[np.float64]

MAP_PX = 8  # px a map value stands for
WINDOW_PX = 128  # mined windows (paper section 3.4)
SEARCH_STRIDE_PX = 64
_FADE_PX = 16  # on either side of a border between cells
CELL_PX = 256  # on larger frames Algorithm 1 runs in each cell of this grid (METHOD.md)


@dataclass(frozen=True, kw_only=True, slots=True)
class Area:
    """A rectangle of a frame in px; all four are multiples of MAP_PX."""

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
        """Slices of what has one value for `step_px` x `step_px`."""
        bottom, right = self.y + self.height, self.x + self.width
        return slice(self.y // step_px, bottom // step_px), slice(self.x // step_px, right // step_px)

    def in_begun_steps(self, step_px: int) -> tuple[slice, slice]:
        """As `in_steps`, with those that are only begun at the bottom and right."""
        bottom, right = self.y + self.height, self.x + self.width
        return slice(self.y // step_px, -(-bottom // step_px)), slice(self.x // step_px, -(-right // step_px))

    def grown(self, margin_px: int) -> "Area":
        """Larger by `margin_px` on every side; may reach beyond the frame."""
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


@lru_cache(maxsize=64)
def cells_of(height: int, width: int) -> tuple[Cell, ...]:
    """The grid of a frame whose sides are multiples of MAP_PX.

    Cells are 256 px; what is left over at the right and bottom is a cell of its own if a window fits
    into it, else it is added to the last cell.
    """
    if height % MAP_PX or width % MAP_PX:
        raise ValueError(f"sides must be multiples of {MAP_PX} px, but {height = }, {width = }")
    return tuple(
        Cell(area=(area := Area(y=y, x=x, height=h, width=w)), windows=_windows_of(area))
        for y, h in _spans(height)
        for x, w in _spans(width)
    )


def delta(map_hw: Map, cell: Cell) -> float:
    """Confidence that a cell is sharp: the mean of H^s - H^b over it."""
    return float(map_hw[cell.area.of_map()].mean())


def most_blurred(map_hw: Map, cell: Cell) -> tuple[Area, float]:
    """The window of a cell with the highest mean of H^b, and that mean; the first one of equals."""
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


def ramps(length: int, *, device: torch.device) -> Tensor:
    """Of each row (or column) of cells its share in each pixel of `length` px, (rows, length).

    They fall over `_FADE_PX` on either side, and sum to 1 everywhere; a cell's share in a pixel is the product of its
    row's and its column's.
    """
    position = torch.arange(length, device=device) + 0.5
    starts = [start for start, _ in _spans(length)]
    # how far each px lies past the beginning of each span, 0 to 1; everything is past the first
    passed = [((position - start) / (2 * _FADE_PX) + 0.5).clamp(0 if start else 1, 1) for start in starts]
    return torch.stack(
        [here - after for here, after in zip(passed, [*passed[1:], torch.zeros_like(position)], strict=True)]
    )


def _spans(length: int) -> list[tuple[int, int]]:
    num_cells = max(1, length // CELL_PX + (length % CELL_PX >= WINDOW_PX))
    starts = [number * CELL_PX for number in range(num_cells)]
    return [(start, (length if start == starts[-1] else start + CELL_PX) - start) for start in starts]


def _windows_of(area: Area) -> tuple[Area, ...]:
    height, width = min(WINDOW_PX, area.height), min(WINDOW_PX, area.width)
    return tuple(
        Area(y=area.y + y, x=area.x + x, height=height, width=width)
        for y in _window_starts(area.height - height)
        for x in _window_starts(area.width - width)
    )


def _window_starts(last: int) -> list[int]:
    starts = list(range(0, last + 1, SEARCH_STRIDE_PX))
    return starts if starts[-1] == last else [*starts, last]
