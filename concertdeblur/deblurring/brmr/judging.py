"""Whether a step is kept: D_i must find the cell sharper than before.

Shape suffixes: N frames, C channels, H height, W width, h, w map values (MAP_PX px each).
"""

from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring.brmr.state import REFUSED
from concertdeblur.deblurring.cam import MAP_PX
from concertdeblur.engines import Engine

SHIFT_GRAIN_PX = 32  # the side of the squares whose mean a step must hardly move


class Judge:
    """D_i, made ready to run.

    Args:
        discriminator: D_i(B, X) -> map.
        margin_px: How far beyond its MAP_PX px a map value looks; None: everywhere.
    """

    def __init__(self, discriminator: Engine, *, margin_px: int | None) -> None:
        self._discriminator = discriminator
        self.margin_px = margin_px

    def maps(self, blurred_NCHW: Tensor, candidate_NCHW: Tensor) -> Tensor:
        """H^s - H^b of each frame, (N, h, w) float64."""
        maps = self._discriminator(blurred_NCHW, candidate_NCHW)
        size = (candidate_NCHW.shape[2] // MAP_PX, candidate_NCHW.shape[3] // MAP_PX)
        if maps.shape[1:] != size:  # the paper's 4x4 convolutions give 31x31 at 256x256
            maps = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        return maps.double()


def is_kept(deltas: Tensor, new_deltas: Tensor, previous: Tensor, *, hysteresis: float, margin: float) -> Tensor:
    """Whether steps are kept: the discriminator must find the cell sharper than before. False where it says NaN.

    Args:
        deltas: Confidence before the step.
        new_deltas: Confidence after it.
        previous: What was decided in this cell of the previous frame, as in `Decisions`.
        hysteresis: Growth that is asked for where the previous frame's step was not kept, so that a
            cell at the edge of the decision does not flicker.
        margin: Growth that is asked for everywhere.

    """
    return new_deltas > deltas + margin + hysteresis * (previous == REFUSED)
