"""The memory of the analysis: the last cells of a stream, of which every process repeats its share."""

import torch

from concertdeblur.models.kernel_bank import num_filters
from concertdeblur.training.cell_memory import CellMemory, DescribedCells, drawn_places
from concertdeblur.training.data.bundles import joined, mapped
from concertdeblur.training.distributed import World, gathered


def cells(first: int, number: int) -> DescribedCells:
    """Cells whose figures are all their number in the stream."""
    numbers = torch.arange(first, first + number)
    return DescribedCells(
        described_M2HF=numbers.float()[:, None, None, None].expand(-1, 2, 64, 33),
        errors_MK=numbers.float()[:, None].expand(-1, num_filters()),
        type_M=numbers,
        level_M=numbers.float(),
        velocities_M3=numbers.float()[:, None].expand(-1, 3),
    )


def test_it_holds_the_last_ones() -> None:
    memory = CellMemory(6)
    for first in (0, 4, 8):
        memory.add(cells(first, 4), first=first)
    found = memory.at(torch.arange(6))
    assert sorted(found.type_M.tolist()) == [6, 7, 8, 9, 10, 11]
    for kept in (found.level_M, found.errors_MK[:, -1], found.described_M2HF[:, 1, 5, 7], found.velocities_M3[:, 2]):
        assert torch.equal(kept, found.type_M.float())


def test_a_checkpoint_brings_it_back() -> None:
    memory, other = CellMemory(6), CellMemory(6)
    memory.add(cells(0, 4), first=0)
    other.load_state_dict(memory.state_dict())
    assert other.at(torch.arange(4)).type_M.tolist() == [0, 1, 2, 3]


def test_cells_are_joined_and_mapped() -> None:
    both = joined(DescribedCells, [cells(0, 2), cells(5, 3)])
    assert both.type_M.tolist() == [0, 1, 5, 6, 7]
    assert len(both) == 5
    assert mapped(both, lambda tensor: tensor[3:]).level_M.tolist() == [6, 7]
    alone = cells(0, 2)
    assert mapped(alone, gathered).type_M is alone.type_M  # one process has all there are


def test_processes_share_what_is_drawn() -> None:
    whole = drawn_places(9, out_of=5, seed=(1, 2), world=World())
    assert len(whole) == 9
    assert whole.max() < 5
    shares = [drawn_places(9, out_of=5, seed=(1, 2), world=World(rank=rank, size=2)) for rank in (0, 1)]
    assert sorted(torch.cat(shares).tolist()) == sorted(whole.tolist())
    assert not torch.equal(whole, drawn_places(9, out_of=5, seed=(1, 3), world=World()))
    assert len(drawn_places(9, out_of=0, seed=(1, 2), world=World())) == 0
