"""Local ranges are those of the nine blocks around."""

import pytest
import torch

from concertdeblur.blocks import local_range


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
