"""The promise to users: no NaN, flat areas stay, the level hardly moves, whatever the networks say.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.blocks import local_range

_BLOCK_PX = 4
_FLAT_RANGE = (
    1.5 / 255,
    4 / 255,
)  # local range of a channel: below the first nothing changes, above the second all may
# Of a uniform frame's mean: absolute, or relative, whichever is larger; a tenth below what is promised. Twice that
# where all has texture: where lamps streak, the sharp picture is darker, and holding it back costs `capture-mid`
# 0.07 dB. Without lamps no picture came to more than 0.7 of the promise, bright, dark or whitened.
_MAX_LEVEL_SHIFT = (0.9 / 255, 0.009)
# So many times the limit where the motion is known. A camera averages light, so the encoded mean of what moves rises:
# the blurred frames of a real collection are 5 grey levels of 90 brighter. With the plain limit it gains 0.5 dB less.
_MOVING_FACTOR = 4.0


def guarded(frames_NCHW: Tensor, results_NCHW: Tensor, *, is_motion_known: bool = False) -> Tensor:
    """The promise to users: no NaN, flat areas stay, the mean level moves within a limit.

    Args:
        frames_NCHW: The input in [0, 1].
        results_NCHW: The networks' result.
        is_motion_known: Whether the frames belong to a video in which their path was found.

    Returns:
        The result where it may differ from the input, in [0, 1].

    """
    # in place: on a CPU a new tensor of a frame's size costs more than the arithmetic
    texture_N1HW = _texture(frames_NCHW)
    change = results_NCHW.clamp(0, 1).sub_(frames_NCHW).nan_to_num_(nan=0.0).mul_(texture_N1HW)
    limit = (frames_NCHW.mean((2, 3), keepdim=True) * _MAX_LEVEL_SHIFT[1]).clamp(min=_MAX_LEVEL_SHIFT[0])
    limit = limit * (1 + texture_N1HW.mean((2, 3), keepdim=True))
    if is_motion_known:
        limit = limit * _MOVING_FACTOR
    shift = change.mean((2, 3), keepdim=True)
    # Weakening the whole change brings the level back without moving what did not change.
    kept = torch.where(shift == 0, torch.ones_like(shift), shift.clamp(-limit, limit) / shift)
    return torch.addcmul(frames_NCHW, change, kept, out=change)


def _texture(frames_NCHW: Tensor) -> Tensor:
    """0 where the neighbourhood is flat, 1 where it has texture, (N, 1, H, W)."""
    height, width = frames_NCHW.shape[2:]
    span = local_range(frames_NCHW, _BLOCK_PX).amax(1, keepdim=True)
    texture = ((span - _FLAT_RANGE[0]) / (_FLAT_RANGE[1] - _FLAT_RANGE[0])).clamp(0, 1)
    return F.interpolate(texture, scale_factor=_BLOCK_PX, mode="nearest")[..., :height, :width]
