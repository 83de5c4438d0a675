"""What users are promised whatever the networks do: no NaN, flat areas stay, and colours and level hardly move.

Shape suffixes: N frames, C channels, H height, W width (h, w: in blocks of _BLOCK_PX).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.blocks import local_range
from concertdeblur.models.spectrum import luma

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
# How far a result's colour may leave the range of colours around it in the input: an absolute value, and a share of
# that range. The surroundings are so many blocks to each side.
_COLOUR_ROOM = (8 / 255, 0.5)
_COLOUR_REACH = 2
# Rows that are changed at a time on a CPU; they fit into its cache, which takes half of the time of whole frames.
_BAND_PX = 16 * _BLOCK_PX


def guarded(
    frames_NCHW: Tensor, results_NCHW: Tensor, *, trust_N1HW: Tensor | None = None, is_motion_known: bool = False
) -> Tensor:
    """Keep the promise: no NaN, flat areas stay, and the mean level moves within a limit.

    Args:
        frames_NCHW: The input in [0, 1].
        results_NCHW: The networks' result.
        trust_N1HW: Share of the networks' change that is made at most, 0 to 1; None: all of it.
        is_motion_known: Whether the frames belong to a video in which their path was found.

    Returns:
        The result, changed back towards the input where the promise asks for it, in [0, 1].

    """
    texture_N1hw = _texture(frames_NCHW)
    change_NCHW = torch.empty_like(frames_NCHW)
    for band in _bands(frames_NCHW):
        of_blocks = slice(band.start // _BLOCK_PX, -(-band.stop // _BLOCK_PX))
        share_N1HW = _enlarged(texture_N1hw[:, :, of_blocks], like=frames_NCHW[:, :, band])
        if trust_N1HW is not None:
            share_N1HW *= trust_N1HW[:, :, band]
        frames, results = frames_NCHW[:, :, band], results_NCHW[:, :, band]
        change = results.clamp(0, 1).sub_(frames).mul_(share_N1HW).nan_to_num_(nan=0.0)
        if is_motion_known:
            change = torch.maximum(change, _most_darker(frames))
        change_NCHW[:, :, band] = change
    limit = (frames_NCHW.mean((2, 3), keepdim=True) * _MAX_LEVEL_SHIFT[1]).clamp(min=_MAX_LEVEL_SHIFT[0])
    limit = limit * (1 + texture_N1hw.mean((2, 3), keepdim=True))
    if is_motion_known:
        limit = limit * _MOVING_FACTOR
    shift = change_NCHW.mean((2, 3), keepdim=True)
    # The whole change is weakened: that brings the level back, and moves nothing that did not change.
    kept = torch.where(shift == 0, torch.ones_like(shift), shift.clamp(-limit, limit) / shift)
    return torch.addcmul(frames_NCHW, change_NCHW, kept, out=change_NCHW)


def bounded_colours(frames_NCHW: Tensor, results_NCHW: Tensor) -> Tensor:
    """Results without colours that their surroundings in the input do not have; brightness stays.

    Where a grey smear is taken away from a coloured one, the little that is left may be a speck of strong colour.
    """
    own_N2HW, made_N2HW = _colours(frames_NCHW), _colours(results_NCHW)
    of_blocks = F.avg_pool2d(own_N2HW, _BLOCK_PX, ceil_mode=True, count_include_pad=False)
    lowest, highest = -_highest_around(-of_blocks), _highest_around(of_blocks)
    room = _COLOUR_ROOM[0] + _COLOUR_ROOM[1] * (highest - lowest)
    lowest, highest = (_enlarged(bound, like=frames_NCHW) for bound in (lowest - room, highest + room))
    lowest, highest = torch.minimum(lowest, own_N2HW), torch.maximum(highest, own_N2HW)
    more = torch.minimum(torch.maximum(made_N2HW, lowest), highest).sub_(made_N2HW)  # 0 nearly everywhere
    red, blue = more[:, :1], more[:, 1:]
    green = -luma(torch.cat([red, torch.zeros_like(red), blue], 1))  # so that brightness stays
    return (results_NCHW + torch.cat([green + red, green, green + blue], 1)).clamp_(0, 1)


def _colours(pictures_NCHW: Tensor) -> Tensor:
    """Red and blue less green, (N, 2, H, W)."""
    return pictures_NCHW[:, ::2] - pictures_NCHW[:, 1:2]


def _highest_around(blocks_N2hw: Tensor) -> Tensor:
    """The highest value within _COLOUR_REACH blocks."""
    side, reach = 2 * _COLOUR_REACH + 1, _COLOUR_REACH
    of_rows = F.max_pool2d(blocks_N2hw, (1, side), stride=1, padding=(0, reach))
    return F.max_pool2d(of_rows, (side, 1), stride=1, padding=(reach, 0))


def _bands(frames_NCHW: Tensor) -> list[slice]:
    """The rows that are changed at a time."""
    height = frames_NCHW.shape[2]
    step = _BAND_PX if frames_NCHW.device.type == "cpu" else height
    return [slice(first, min(height, first + step)) for first in range(0, height, step)]


def _most_darker(frames_NCHW: Tensor) -> Tensor:
    """The least value, 0 or below, that a change may have where the motion is known."""
    fall = (_DARK - _MOST_DARKER) / _DARK
    darkest = torch.minimum(frames_NCHW - _MOST_DARKER, (2 * _DARK - frames_NCHW).mul_(fall)).clamp_(min=0)
    return darkest.sub_(frames_NCHW)


def _texture(frames_NCHW: Tensor) -> Tensor:
    """0 where the neighbourhood is flat, 1 where it has texture, (N, 1, h, w); a value for _BLOCK_PX x _BLOCK_PX."""
    span = local_range(frames_NCHW, _BLOCK_PX).amax(1, keepdim=True)
    return ((span - _FLAT_RANGE[0]) / (_FLAT_RANGE[1] - _FLAT_RANGE[0])).clamp(0, 1)


def _enlarged(blocks_NChw: Tensor, *, like: Tensor) -> Tensor:
    """A value of each block at each of its pixels; partial blocks count."""
    height, width = like.shape[2:]
    return F.interpolate(blocks_NChw, scale_factor=_BLOCK_PX, mode="nearest")[..., :height, :width]
