"""Large frames are restored in tiles that fade into each other: memory does not grow with the frame.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor

from concertdeblur.deblurring.cam import Area
from concertdeblur.engines import Engine

_TILE_PX = 1024  # larger frames are restored in tiles of this size, plus margins
_BLEND_PX = 32  # tiles fade into each other over this many px beyond their margins
_UNBOUNDED_MARGIN_PX = 32  # tile margin of a network that sees its whole tile (recipe `paper`)


def in_tiles(restore: Engine, frames_NCHW: Tensor, *context: Tensor, margin_px: int | None, multiple_px: int) -> Tensor:
    """G_i's convolutions, in tiles where the frame is large.

    Args:
        restore: Called with frames (N, 3, H, W) and their context, of a tile or of all.
        frames_NCHW: Sides are multiples of `multiple_px`.
        context: What else the network is given, as maps of the frames (N, channels, H / step, W / step). Each map has
            its own step, which divides `multiple_px`: 1 px for guesses, HINT_PX for hints.
        margin_px: How far `restore` looks around a pixel; None: at the whole frame.
        multiple_px: What sides of tiles must be multiples of.

    """
    height, width = frames_NCHW.shape[2:]
    margin = _UNBOUNDED_MARGIN_PX if margin_px is None else margin_px
    margin += -margin % multiple_px
    side = _TILE_PX + 2 * margin + -(_TILE_PX + 2 * margin) % multiple_px
    if height * width <= side * side:
        return restore(frames_NCHW, *context)
    out = torch.zeros_like(frames_NCHW)
    total = frames_NCHW.new_zeros(height, width)
    for area in tiles_of(height, width, side, step=side - 2 * (margin + _BLEND_PX)):
        at = (..., *area.of_pixels())
        weight = _weight(area, height, width, margin).to(out.device)
        of_tile = [some[(..., *area.in_steps(height // some.shape[2]))] for some in context]
        out[at] += weight * restore(frames_NCHW[at], *of_tile)
        total[at] += weight
    return out.div_(total)


def tiles_of(height: int, width: int, side: int, *, step: int) -> list[Area]:
    """Tiles of `side` px (or the frame's, if smaller), `step` px apart, the last ones moved inwards."""

    def starts(length: int) -> list[int]:
        last = max(0, length - side)
        return [*range(0, last, step), last]

    return [
        Area(y=y, x=x, height=min(side, height), width=min(side, width)) for y in starts(height) for x in starts(width)
    ]


def _weight(area: Area, height: int, width: int, margin_px: int) -> Tensor:
    along_y = _fade(area.height, margin_px, at_start=area.y > 0, at_end=area.y + area.height < height)
    along_x = _fade(area.width, margin_px, at_start=area.x > 0, at_end=area.x + area.width < width)
    return along_y[:, None] * along_x[None, :]


def _fade(length: int, margin_px: int, *, at_start: bool, at_end: bool) -> Tensor:
    """0 in the margins that touch another tile, rising to 1 over the blend."""
    position = torch.arange(length) + 0.5
    fade = torch.ones(length)
    if at_start:
        fade = torch.minimum(fade, ((position - margin_px) / _BLEND_PX).clamp(0, 1))
    if at_end:
        fade = torch.minimum(fade, ((length - position - margin_px) / _BLEND_PX).clamp(0, 1))
    return fade
