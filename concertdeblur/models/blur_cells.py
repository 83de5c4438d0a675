"""The cells of a frame in which its blur is identified, and the window of the picture around each of them.

Cells lie on a fixed grid, so tiles of one frame agree, memory does not grow with the frame, and each cell may have
a blur of its own. The window of a cell is what one FFT sees. Beyond the frame's border the window holds the frame's
reflection: a blur made with OpenCV's default border is undone exactly up to there.

Shape suffixes: N frames, C channels, H height, W width.
"""

import math

import torch
from torch import Tensor

from concertdeblur.models.crossfade import crossfade

BLUR_CELL_PX = 256  # the side of a cell
REACH_PX = 48  # of real picture that a filter sees before its cell; twice as much gains lines 0.1 dB
_AHEAD_PX = 32  # and after it: as far as cells fade into each other
# The window's end fades into what lies before its beginning over so many px: no jump where the FFT wraps. Half as
# much costs lines 1 dB.
_LOOP_PX = 64
FFT_PX = REACH_PX + BLUR_CELL_PX + _AHEAD_PX + _LOOP_PX  # the side of a cell's window: 2^4 * 5^2
BEFORE_PX = REACH_PX + _LOOP_PX  # of a cell's surroundings, before it
_FADE_PX = _AHEAD_PX  # on either side of a border between cells, where their results fade into each other


def blur_grid(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of cells of a frame."""
    return math.ceil(height / BLUR_CELL_PX), math.ceil(width / BLUR_CELL_PX)


def looped(surrounded_CHW: Tensor) -> Tensor:
    """A window with `_LOOP_PX` more before it -> the window, its end faded into what lies before its beginning."""
    fade = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(_LOOP_PX, device=surrounded_CHW.device) + 0.5) / _LOOP_PX)
    for dim in (-2, -1):
        before, window = torch.split(surrounded_CHW, [_LOOP_PX, FFT_PX], dim)
        body, end = torch.split(window, [FFT_PX - _LOOP_PX, _LOOP_PX], dim)
        along = fade[:, None] if dim == -2 else fade
        surrounded_CHW = torch.cat([body, end + along * (before - end)], dim)
    return surrounded_CHW


def surrounded_index(cell: int, length: int, *, device: torch.device | None = None) -> Tensor:
    """Where the pixels of a cell's window, and `_LOOP_PX` before it, lie in a row of `length` px; reflected."""
    first = cell * BLUR_CELL_PX - BEFORE_PX
    return _reflected(torch.arange(first, first + _LOOP_PX + FFT_PX, device=device), length)


def surrounded_window(frames: Tensor, row: int, column: int) -> Tensor:
    """A cell's window of frames (..., H, W), with `_LOOP_PX` more before it; ready for `looped`."""
    return _span(_span(frames, -2, row), -1, column)


def _span(frames: Tensor, dim: int, cell: int) -> Tensor:
    """The px of `surrounded_index`, by slices where the reflection is a single one: no copy of the frame."""
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
    """Reflect indices into [0, size) without repeating the edge, as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return torch.where(index < size, index, period - index)


def faded_area(cell: int, length: int) -> tuple[int, int]:
    """First px, and last px + 1, that a cell has a share in, of a row of `length` px."""
    return max(0, cell * BLUR_CELL_PX - _FADE_PX), min(length, (cell + 1) * BLUR_CELL_PX + _FADE_PX)


def crossfades(num_cells: int, length: int, like: Tensor) -> Tensor:
    """The share of each cell in each pixel of a row, (num_cells, length); they sum to 1 everywhere."""
    return crossfade(range(0, num_cells * BLUR_CELL_PX, BLUR_CELL_PX), length, reach_px=_FADE_PX, like=like)
