"""What passes between a generator's look at the whole frame and its work on tiles."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a generator knows of N whole frames before it restores them, whole or in tiles."""

    guess_NCHW: Tensor  # a first guess at the result (G_i of `concert`: the inverse-filtered frames)
    embedding_NE: Tensor  # of each frame's blur
    trust_N: Tensor  # how much of the change is worth making, 0 to 1
