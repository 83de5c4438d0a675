"""Pictures in square blocks."""

from torch import Tensor
from torch.nn import functional as F


def local_range(pictures_NCHW: Tensor, block_px: int) -> Tensor:
    """Highest less lowest value in three by three blocks around each block, (N, C, rows, columns).

    Blocks at the bottom and right may be smaller. Reductions along two axes take a quarter of max_pool2d's time.
    """
    num, channels, height, width = pictures_NCHW.shape
    padding = (0, -width % block_px, 0, -height % block_px)
    grid = F.pad(pictures_NCHW, padding, mode="replicate") if any(padding) else pictures_NCHW
    rows, columns = grid.shape[2] // block_px, grid.shape[3] // block_px
    by_row = grid.reshape(num, channels, rows, block_px, -1)
    highest = by_row.amax(3).view(num, channels, rows, columns, block_px).amax(4)
    lowest = by_row.amin(3).view(num, channels, rows, columns, block_px).amin(4)
    return F.max_pool2d(highest, 3, stride=1, padding=1) + F.max_pool2d(-lowest, 3, stride=1, padding=1)
