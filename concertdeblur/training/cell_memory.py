"""Descriptors of cells from earlier steps of the analysis: to make one takes twenty times as long as to train on it.

Shape suffixes: M cells, K filters of the bank.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from concertdeblur.models.kernel_bank import num_filters
from concertdeblur.models.spectrum import HANN_PX
from concertdeblur.training.distributed import World


@dataclass(frozen=True, kw_only=True, slots=True)
class DescribedCells:
    """The input and the targets of the analysis for M cells."""

    described_M2HF: Tensor  # spectrum descriptors (M, 2, 64, 33)
    errors_MK: Tensor  # mean squared error after each filter of the bank
    type_M: Tensor  # index into BLUR_TYPES
    level_M: Tensor  # 0 to 1
    velocities_M3: Tensor

    def __len__(self) -> int:
        return len(self.type_M)


class CellMemory(nn.Module):
    """The last cells of a stream. It is a module, so checkpoints hold it and a resumed run has the same cells.

    Args:
        capacity: Cells that it holds; 11 kB each.
    """

    described: Tensor
    errors: Tensor
    types: Tensor
    levels: Tensor
    velocities: Tensor

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        shape = 2, HANN_PX, HANN_PX // 2 + 1
        self.register_buffer("described", torch.zeros(capacity, *shape, dtype=torch.float16))
        self.register_buffer("errors", torch.zeros(capacity, num_filters()))
        self.register_buffer("types", torch.zeros(capacity, dtype=torch.long))
        self.register_buffer("levels", torch.zeros(capacity))
        self.register_buffer("velocities", torch.zeros(capacity, 3))

    def add(self, cells: DescribedCells, *, first: int) -> None:
        """Store cells in place of the oldest; the first of them is number `first` of the stream."""
        places = torch.arange(first, first + len(cells), device=self.types.device) % self.capacity
        self.described[places] = cells.described_M2HF.half()
        self.errors[places] = cells.errors_MK
        self.types[places] = cells.type_M
        self.levels[places] = cells.level_M
        self.velocities[places] = cells.velocities_M3

    def at(self, places: Tensor) -> DescribedCells:
        """The cells at some places (M,); a place is smaller than the capacity and than the number of cells so far."""
        return DescribedCells(
            described_M2HF=self.described[places].float(), errors_MK=self.errors[places], type_M=self.types[places],
            level_M=self.levels[places], velocities_M3=self.velocities[places],
        )  # fmt: skip


def drawn_places(number: int, *, out_of: int, seed: tuple[int, int], world: World) -> Tensor:
    """One process's share of `number` random places among the first `out_of`; none if `out_of` is 0."""
    places = np.random.default_rng(seed).integers(out_of, size=number) if out_of else np.zeros(0, np.int64)
    return torch.from_numpy(places[world.rank :: world.size])
