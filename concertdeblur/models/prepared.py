"""What passes between a generator's look at the whole frame and its work on tiles."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concertdeblur.models.data_consistency import DataConsistency, Mixture, cautious_mixture, mixture_of

HINT_PX = 16  # one hint for so many px, so that hints can be cut with their tile
VELOCITY_PX = 4  # one velocity for so many px


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSamples:
    """What a generator is given of the motion of N frames; on the networks' device."""

    taps_NTHW: Tensor  # samples along each pixel's path (path_taps.py), RGB planes; uint8, or float in [0, 1]
    velocity_N2hw: Tensor  # px a frame interval, (N, 2, H / VELOCITY_PX, W / VELOCITY_PX)
    to_before_N2hw: Tensor | None = None  # px, where the content was in the frame before; None: not known
    to_after_N2hw: Tensor | None = None

    def cloned(self) -> "PathSamples":
        """The same in memory of its own."""
        flows = [None if flow is None else flow.clone() for flow in (self.to_before_N2hw, self.to_after_N2hw)]
        return PathSamples(
            taps_NTHW=self.taps_NTHW.clone(),
            velocity_N2hw=self.velocity_N2hw.clone(),
            to_before_N2hw=flows[0],
            to_after_N2hw=flows[1],
        )


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
    path: PathSamples | None = None  # None where nothing is known of the motion

    def without_taps(self) -> "Prepared":
        """The same without the taps, which only G_i looks at and which are large."""
        if self.path is None:
            return self
        return replace(self, path=replace(self.path, taps_NTHW=self.path.taps_NTHW.new_empty(0)))

    def cloned(self) -> "Prepared":
        """The same in memory of its own, allocated on the stream that is current."""
        return replace(
            self,
            guess_NGHW=self.guess_NGHW.clone(),
            hints_NEhw=self.hints_NEhw.clone(),
            trust_N1hw=self.trust_N1hw.clone(),
            consistency=None if self.consistency is None else self.consistency.cloned(),
            path=None if self.path is None else self.path.cloned(),
        )

    def read(self) -> "Plan":
        """Bring to the host what decides how much there is to do; waits for the device once."""
        trust = self.trust_N1hw.nan_to_num(0).max().double()
        if self.consistency is None:
            return Plan(is_changed=trust.item() > 0, mixtures=[], are_repeatable=[])
        rows_NMK2 = self.consistency.heaviest().flatten(1, 2)
        repeatable_NM = self.consistency.repeatable_NRQ.flatten(1)
        first, *others = torch.cat([trust[None], repeatable_NM.flatten(), rows_NMK2.flatten()]).tolist()
        num, num_cells, num_filters = rows_NMK2.shape[:3]
        flags, others = iter(others[: num * num_cells]), others[num * num_cells :]
        pairs = iter(zip(others[::2], others[1::2], strict=True))
        mixtures = [
            [mixture_of([next(pairs) for _ in range(num_filters)]) for _ in range(num_cells)] for _ in range(num)
        ]
        are_repeatable = [[next(flags) > 0 for _ in range(num_cells)] for _ in range(num)]
        return Plan(is_changed=first > 0, mixtures=mixtures, are_repeatable=are_repeatable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the host must know of prepared frames."""

    is_changed: bool  # whether any of the change is worth making
    mixtures: list[list[Mixture]]  # of each frame's cells, for a bare step of data consistency; empty: there is none
    are_repeatable: list[list[bool]]  # the cells that are worth further turns

    @property
    def first_turn(self) -> list[list[Mixture]]:
        """Of each frame's cells: more cautious where there is noise."""
        return self._each(lambda mixture, is_repeatable: mixture if is_repeatable else cautious_mixture(mixture))

    @property
    def repeatable(self) -> list[list[Mixture]]:
        """Of each frame's cells, nothing where they are not worth further turns."""
        return self._each(lambda mixture, is_repeatable: mixture if is_repeatable else [])

    def _each(self, made: Callable[[Mixture, bool], Mixture]) -> list[list[Mixture]]:
        frames = zip(self.mixtures, self.are_repeatable, strict=True)
        return [[made(*cell) for cell in zip(*of_frame, strict=True)] for of_frame in frames]
