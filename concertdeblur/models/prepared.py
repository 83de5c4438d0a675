"""What passes between a generator's look at the whole frame and its work on tiles."""

from dataclasses import dataclass

from torch import Tensor

from concertdeblur.models.data_consistency import DataConsistency

HINT_PX = 16  # one hint for so many px, so that hints can be cut with their tile


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a generator knows of N whole frames before it restores them, whole or in tiles.

    `guess` holds guesses at the result (G_i of `concert`: the inverse-filtered frame in RGB, and the luma
    of a cautiously filtered one); `hints` what is known of the blur at each place.
    """

    guess_NGHW: Tensor
    hints_NEhw: Tensor  # (N, E, H / HINT_PX, W / HINT_PX), rounded up; E may be 0
    trust_N1hw: Tensor  # how much of the change is worth making, 0 to 1, (N, 1, H / HINT_PX, W / HINT_PX), rounded up
    consistency: DataConsistency | None = None  # what G_p is told beside: None where nothing was identified
