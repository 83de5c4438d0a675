"""How neighbours share the pixels around the border between them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def crossfade(starts: Sequence[int], length: int, *, reach_px: int, like: Tensor) -> Tensor:
    """The share of each span in each pixel of a row, (spans, length); the shares of a pixel sum to 1.

    Args:
        starts: The first pixel of each span, ascending; the first is 0.
        length: Length of the row, px.
        reach_px: How far the crossfade reaches on either side of a border between two spans.
        like: A tensor of the device and type that are wanted.
    """
    position = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    borders = torch.tensor(starts[1:], device=like.device, dtype=like.dtype)
    passed = ((position - borders[:, None]) / (2 * reach_px) + 0.5).clamp(0, 1)  # 0 before a border, 1 after it
    ones, zeros = torch.ones_like(position)[None], torch.zeros_like(position)[None]
    return torch.cat([ones, passed]) - torch.cat([passed, zeros])
