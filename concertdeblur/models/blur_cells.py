"""The cells of a frame in which its blur is identified, and the window of the picture around each of them.

Cells lie on a fixed grid. So tiles of one frame agree on the blur, memory does not grow with the frame, and each cell
may have a blur of its own. The window of a cell is the part of the picture that one FFT sees. Beyond the frame's border
the window holds the frame's reflection, which is OpenCV's default border: a blur made with it is undone exactly up to
the border. EXPERIMENTS.md, 2026-11-23, "how much must a filter see around its cell", has the sizes that were tried.

Shape suffixes: N frames, C channels, H height, W width.
"""

import math

import torch
from torch import Tensor

from concertdeblur.models.crossfade import crossfade

BLUR_CELL_PX = 256  # the side of a cell
REACH_PX = 48  # of the picture that a window holds before its cell
_AHEAD_PX = 32  # of the picture that it holds after its cell: as far as cells fade into each other
# Over its last px the window fades into the picture before its beginning, so that nothing jumps where the FFT wraps.
_LOOP_PX = 64
FFT_PX = REACH_PX + BLUR_CELL_PX + _AHEAD_PX + _LOOP_PX  # the side of a cell's window: 2^4 * 5^2
BEFORE_PX = REACH_PX + _LOOP_PX  # from the first px of a cell's surroundings to the cell
_FADE_PX = _AHEAD_PX  # on either side of a border between cells, where their results fade into each other


def blur_grid(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of cells of a frame."""
    return math.ceil(height / BLUR_CELL_PX), math.ceil(width / BLUR_CELL_PX)


def looped(surrounded_CHW: Tensor) -> Tensor:
    """A window with `_LOOP_PX` more px before it -> the window, its end faded into those px."""
    fade = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(_LOOP_PX, device=surrounded_CHW.device) + 0.5) / _LOOP_PX)
    for dim in (-2, -1):
        before, window = torch.split(surrounded_CHW, [_LOOP_PX, FFT_PX], dim)
        body, end = torch.split(window, [FFT_PX - _LOOP_PX, _LOOP_PX], dim)
        along = fade[:, None] if dim == -2 else fade
        surrounded_CHW = torch.cat([body, end + along * (before - end)], dim)
    return surrounded_CHW


def surrounded_index(cell: int, length: int, *, device: torch.device | None = None) -> Tensor:
    """The places, in a row of `length` px, of a cell's window and of `_LOOP_PX` px before it; reflected at the ends."""
    first = cell * BLUR_CELL_PX - BEFORE_PX
    return _reflected(torch.arange(first, first + _LOOP_PX + FFT_PX, device=device), length)


def surrounded_window(frames: Tensor, row: int, column: int) -> Tensor:
    """A cell's window of frames (..., H, W), with `_LOOP_PX` more px before it, as `looped` takes it."""
    return _span(_span(frames, -2, row), -1, column)


def _span(frames: Tensor, dim: int, cell: int) -> Tensor:
    """The px at `surrounded_index`. Where they are reflected once at most they are sliced, which copies no frame."""
    length, start = frames.shape[dim], cell * BLUR_CELL_PX - BEFORE_PX
    stop = start + _LOOP_PX + FFT_PX
    before, after = max(0, -start), max(0, stop - length)
    inside = frames.narrow(dim, max(0, start), min(stop, length) - max(0, start))
    size = inside.shape[dim]
    if not before and not after:
        return inside
    if max(before, after) >= size:
        return frames.index_select(dim, surrounded_index(cell, length, device=frames.device))
    first, last = inside.narrow(dim, 1, before), inside.narrow(dim, size - 1 - after, after)
    return torch.cat([first.flip(dim), inside, last.flip(dim)], dim)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Reflect indices into [0, size), as often as needed, without repeating the edge."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return torch.where(index < size, index, period - index)


def faded_area(cell: int, length: int) -> tuple[int, int]:
    """The first px, and the last px + 1, of a row of `length` px in which a cell has a share."""
    return max(0, cell * BLUR_CELL_PX - _FADE_PX), min(length, (cell + 1) * BLUR_CELL_PX + _FADE_PX)


def crossfades(num_cells: int, length: int, like: Tensor) -> Tensor:
    """The share of each cell in each pixel of a row, (num_cells, length); the shares of a pixel sum to 1."""
    return crossfade(range(0, num_cells * BLUR_CELL_PX, BLUR_CELL_PX), length, reach_px=_FADE_PX, like=like)
