"""Pictures in square blocks."""

import torch
from torch import Tensor
from torch.nn import functional as F


def local_range(pictures_NCHW: Tensor, block_px: int) -> Tensor:
    """Highest less lowest value in three by three blocks around each block, (N, C, rows, columns).

    Blocks at the bottom and right may be smaller. Reductions along two axes take a quarter of max_pool2d's time.
    """
    by_row = _by_row(pictures_NCHW, block_px)
    highest = _by_block(by_row.amax(3), block_px).amax(4)
    return _highest_of_three(highest) + _highest_of_three(-_lowest(by_row, block_px))


def lowest_of_blocks(pictures_NCHW: Tensor, block_px: int) -> Tensor:
    """Lowest value in each block, (N, C, rows, columns). Blocks at the bottom and right may be smaller."""
    return _lowest(_by_row(pictures_NCHW, block_px), block_px)


def _by_row(pictures_NCHW: Tensor, block_px: int) -> Tensor:
    """The pictures in rows of blocks, (N, C, rows, block_px, width); they are extended to whole blocks."""
    height, width = pictures_NCHW.shape[2:]
    padding = (0, -width % block_px, 0, -height % block_px)
    grid = F.pad(pictures_NCHW, padding, mode="replicate") if any(padding) else pictures_NCHW
    return grid.reshape(*grid.shape[:2], grid.shape[2] // block_px, block_px, -1)


def _lowest(by_row_NCRyW: Tensor, block_px: int) -> Tensor:
    return _by_block(by_row_NCRyW.amin(3), block_px).amin(4)


def _by_block(rows_NCRW: Tensor, block_px: int) -> Tensor:
    return rows_NCRW.view(*rows_NCRW.shape[:3], -1, block_px)


def local_mean(pictures_NCHW: Tensor, side_px: int) -> Tensor:
    """Mean over a square of an odd side around each pixel; the border is repeated.

    Takes an eighth of avg_pool2d's time.
    """
    reach = side_px // 2
    summed = F.pad(pictures_NCHW, (reach, reach, reach, reach), mode="replicate")
    for dim in (2, 3):
        summed = _sum_along(summed, dim, side_px)
    return summed.mul_(1 / side_px**2)


def _sum_along(pictures: Tensor, dim: int, count: int) -> Tensor:
    """Sums of `count` neighbours, made of the sums of 1, 2, 4 and so on; the result is shorter by `count` - 1."""
    length = pictures.shape[dim] - count + 1
    summed, power, size, start = None, pictures, 1, 0
    while True:
        if count & size:
            part = power.narrow(dim, start, length)
            summed = part.clone() if summed is None else summed.add_(part)
            start += size
        if 2 * size > count:
            break
        rest = power.shape[dim] - size
        power, size = power.narrow(dim, 0, rest) + power.narrow(dim, size, rest), 2 * size
    assert summed is not None
    return summed


def _highest_of_three(blocks_NChw: Tensor) -> Tensor:
    """Highest value of three by three blocks, as max_pool2d gives it in five times the time."""
    highest = blocks_NChw
    for dim in (2, 3):
        count = highest.shape[dim] - 1
        before, after = highest.narrow(dim, 0, count), highest.narrow(dim, 1, count)
        made = highest.clone()
        made.narrow(dim, 1, count).copy_(torch.maximum(before, after))
        first = made.narrow(dim, 0, count)
        first.copy_(torch.maximum(first, after))
        highest = made
    return highest
