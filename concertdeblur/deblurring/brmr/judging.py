"""D_i decides whether a step is kept: it must find the cell sharper than before.

Shape suffixes: N frames, C channels, H height, W width, h, w map values (MAP_PX px each).
"""

from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring.brmr.state import REFUSED
from concertdeblur.deblurring.cam import MAP_PX
from concertdeblur.engines import Engine

SHIFT_GRAIN_PX = 32  # side of the squares in which a step must hardly move the mean


class Judge:
    """D_i, made ready to run.

    Args:
        discriminator: D_i(B, X) -> map.
        margin_px: How far a map value looks beyond its MAP_PX x MAP_PX px; None: it sees the whole picture.
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
    """Whether each step is kept, bool: True where the delta grew by enough; False where the new delta is NaN.

    Args:
        deltas: Confidence delta of the cell before the step.
        new_deltas: Its delta after the step.
        previous: The decision in the same cell of the frame before, as in `Decisions`.
        hysteresis: The delta must grow by this much more where the frame before refused its step. A cell at the edge
            of the decision then does not flicker.
        margin: The delta must grow by this much in any cell; a negative margin lets it fall.

    """
    return new_deltas > deltas + margin + hysteresis * (previous == REFUSED)
