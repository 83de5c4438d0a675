"""What users are promised whatever the networks do: no NaN, flat areas stay, and the level hardly moves.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.blocks import local_range

_BLOCK_PX = 4
# The range of a channel around a pixel. Below the first value the pixel stays as it is, above the second the whole
# change is made, and in between a share of it that grows linearly.
_FLAT_RANGE = (1.5 / 255, 4 / 255)
# How far the mean of a frame without texture may move: an absolute value, and a share of the mean; the larger one
# counts. Users are promised a tenth more. The limit grows with texture, up to twice as much: where lamps leave streaks
# the sharp picture is darker. EXPERIMENTS.md, 2026-11-29, "what stood between the networks and the video".
_MAX_LEVEL_SHIFT = (0.9 / 255, 0.009)
# The limit is so many times larger where the motion is known. A camera averages light, and its encoding then makes the
# mean of what moves brighter; the sharp picture is darker again. The same section of EXPERIMENTS.md has the figures.
_MOVING_FACTOR = 4.0
# Where the motion is known, a value up to the second loses at most the first. A lamp that goes out leads the flow
# astray, and without this a dark disc lost half of its light, 8 grey levels. What is twice as bright as the second may
# become black, and in between the bound falls: a smear on a black ground goes without a trace.
_MOST_DARKER, _DARK = 5 / 255, 17 / 255


def guarded(frames_NCHW: Tensor, results_NCHW: Tensor, *, is_motion_known: bool = False) -> Tensor:
    """Keep the promise: no NaN, flat areas stay, and the mean level moves within a limit.

    Args:
        frames_NCHW: The input in [0, 1].
        results_NCHW: The networks' result.
        is_motion_known: Whether the frames belong to a video in which their path was found.

    Returns:
        The result, changed back towards the input where the promise asks for it, in [0, 1].

    """
    # in place: on a CPU a new tensor of a frame's size costs more than the arithmetic
    texture_N1HW = _texture(frames_NCHW)
    change = results_NCHW.clamp(0, 1).sub_(frames_NCHW).nan_to_num_(nan=0.0).mul_(texture_N1HW)
    if is_motion_known:
        fall = (_DARK - _MOST_DARKER) / _DARK
        darkest = torch.minimum(frames_NCHW - _MOST_DARKER, (2 * _DARK - frames_NCHW).mul_(fall)).clamp_(min=0)
        change = torch.maximum(change, darkest.sub_(frames_NCHW))
    limit = (frames_NCHW.mean((2, 3), keepdim=True) * _MAX_LEVEL_SHIFT[1]).clamp(min=_MAX_LEVEL_SHIFT[0])
    limit = limit * (1 + texture_N1HW.mean((2, 3), keepdim=True))
    if is_motion_known:
        limit = limit * _MOVING_FACTOR
    shift = change.mean((2, 3), keepdim=True)
    # The whole change is weakened: that brings the level back, and moves nothing that did not change.
    kept = torch.where(shift == 0, torch.ones_like(shift), shift.clamp(-limit, limit) / shift)
    return torch.addcmul(frames_NCHW, change, kept, out=change)


def _texture(frames_NCHW: Tensor) -> Tensor:
    """0 where the neighbourhood is flat, 1 where it has texture, (N, 1, H, W)."""
    height, width = frames_NCHW.shape[2:]
    span = local_range(frames_NCHW, _BLOCK_PX).amax(1, keepdim=True)
    texture = ((span - _FLAT_RANGE[0]) / (_FLAT_RANGE[1] - _FLAT_RANGE[0])).clamp(0, 1)
    return F.interpolate(texture, scale_factor=_BLOCK_PX, mode="nearest")[..., :height, :width]
