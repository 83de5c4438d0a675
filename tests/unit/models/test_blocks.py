"""Local ranges are those of the nine blocks around, local means those of a square."""

import pytest
import torch
from torch.nn import functional as F

from concertdeblur.models.blocks import local_mean, local_range, lowest_of_blocks


@pytest.mark.parametrize(("height", "width", "block_px"), [(37, 51, 4), (64, 48, 8), (5, 1, 4)])
def test_the_range_of_nine_blocks(height: int, width: int, block_px: int) -> None:
    pictures = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    made = local_range(pictures.contiguous(memory_format=torch.channels_last), block_px)
    assert made.shape == (2, 3, -(-height // block_px), -(-width // block_px))
    for row in range(made.shape[2]):
        for column in range(made.shape[3]):
            y, x = max(0, row - 1) * block_px, max(0, column - 1) * block_px
            around = pictures[:, :, y : (row + 2) * block_px, x : (column + 2) * block_px]
            assert torch.equal(made[:, :, row, column], around.amax((2, 3)) - around.amin((2, 3)))


@pytest.mark.parametrize(("height", "width", "block_px"), [(37, 51, 4), (64, 48, 8), (5, 1, 4)])
def test_the_lowest_of_each_block(height: int, width: int, block_px: int) -> None:
    pictures = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    made = lowest_of_blocks(pictures, block_px)
    assert torch.equal(made, -F.max_pool2d(-pictures, block_px, ceil_mode=True))


@pytest.mark.parametrize("side_px", [1, 3, 5, 9])
def test_the_mean_of_a_square(side_px: int) -> None:
    pictures = torch.rand(2, 3, 23, 31, generator=torch.Generator().manual_seed(side_px))
    reach = side_px // 2
    repeated = F.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    assert torch.allclose(local_mean(pictures, side_px), F.avg_pool2d(repeated, side_px, 1), atol=1e-6)
