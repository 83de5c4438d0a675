"""What a generator finds out about the whole frame; it is then given the part of each tile."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concertdeblur.models.data_consistency import DataConsistency, Mixture, cautious_mixture, mixture_of

HINT_PX = 16  # one hint stands for HINT_PX x HINT_PX, so that tiles can be cut with their hints
SMEAR_PX = 4  # one smear stands for SMEAR_PX x SMEAR_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSamples:
    """The motion of N frames as a generator is given it, on the networks' device."""

    taps_NTHW: Tensor  # planes of samples along each pixel's path (path_taps.py); uint8, or float in [0, 1]
    smear_N2hw: Tensor  # px in an exposure, (N, 2, H / SMEAR_PX, W / SMEAR_PX)

    def cloned(self) -> "PathSamples":
        """A copy in memory of its own."""
        return PathSamples(taps_NTHW=self.taps_NTHW.clone(), smear_N2hw=self.smear_N2hw.clone())


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What a generator knows of N whole frames before it restores them, whole or in tiles.

    `guess` holds guesses at the result. G_i of `concert` has two: the inverse-filtered frame in RGB, and the luma of a
    more cautiously filtered one. `hints` says what is known of the blur at each place.
    """

    guess_NGHW: Tensor
    hints_NEhw: Tensor  # (N, E, H / HINT_PX, W / HINT_PX), rounded up; E may be 0
    trust_N1hw: Tensor  # share of the change that is made, 0 to 1, (N, 1, H / HINT_PX, W / HINT_PX), rounded up
    consistency: DataConsistency | None = None  # inputs of data consistency; None for generators without a kernel bank
    path: PathSamples | None = None  # None where nothing is known of the motion

    def cloned(self) -> "Prepared":
        """A copy in memory of its own, which is allocated on the current CUDA stream."""
        return replace(
            self,
            guess_NGHW=self.guess_NGHW.clone(),
            hints_NEhw=self.hints_NEhw.clone(),
            trust_N1hw=self.trust_N1hw.clone(),
            consistency=None if self.consistency is None else self.consistency.cloned(),
            path=None if self.path is None else self.path.cloned(),
        )

    def read(self) -> "Plan":
        """Bring to the host what it must know to plan the work; this waits for the device once."""
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
    """The part of `Prepared` that the host reads."""

    is_changed: bool  # False: the trust is 0 everywhere, so the frames stay as they are
    mixtures: list[list[Mixture]]  # filters of a bare step of data consistency in each frame's cells; empty: no step
    are_repeatable: list[list[bool]]  # whether each frame's cells are worth further turns

    @property
    def first_turn(self) -> list[list[Mixture]]:
        """The filters of a first turn in each frame's cells; they are more cautious in cells with noise."""
        return self._each(lambda mixture, is_repeatable: mixture if is_repeatable else cautious_mixture(mixture))

    @property
    def repeatable(self) -> list[list[Mixture]]:
        """The filters of further turns in each frame's cells; none in cells that are not worth further turns."""
        return self._each(lambda mixture, is_repeatable: mixture if is_repeatable else [])

    def _each(self, made: Callable[[Mixture, bool], Mixture]) -> list[list[Mixture]]:
        frames = zip(self.mixtures, self.are_repeatable, strict=True)
        return [[made(*cell) for cell in zip(*of_frame, strict=True)] for of_frame in frames]
