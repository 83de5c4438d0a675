"""A network grown from another one computes the same, and its copies of a channel learn different things."""

import pytest
import torch

from concertdeblur.models.growth import grow
from concertdeblur.models.restoration import PictureRestoration
from tests.networks import shaken


def restoration(*, width: int, blocks: int, deep: int) -> PictureRestoration:
    return PictureRestoration(width=width, num_blocks=blocks, num_deep_blocks=deep, num_guesses=4, embedding_width=16)


def trained() -> PictureRestoration:
    network = restoration(width=8, blocks=2, deep=1)
    shaken(network, torch.Generator().manual_seed(1))
    return network


def given() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 3, 64, 96), (2, 4, 64, 96), (2, 16, 4, 6))
    return tuple(torch.rand(shape, generator=generator) for shape in shapes)


@pytest.mark.parametrize(("width", "deep"), [(8, 1), (8, 3), (24, 2)])
def test_it_computes_what_the_small_one_computes(width: int, deep: int) -> None:
    small, large = trained(), restoration(width=width, blocks=2, deep=deep)
    grow(small, large, generator=torch.Generator().manual_seed(0))
    before, after = small(*given()), large(*given())
    assert (before - given()[0]).abs().max() > 0.01  # it is no identity
    assert (before - after).abs().max() < 1e-5


def test_copies_part_when_they_learn() -> None:
    small, large = trained(), restoration(width=16, blocks=2, deep=1)
    grow(small, large, generator=torch.Generator().manual_seed(0))
    large(*given()).square().mean().backward()
    gradient = large.head.weight.grad
    assert gradient is not None
    assert not torch.allclose(gradient[:8], gradient[8:], rtol=0.05)


@pytest.mark.parametrize(("width", "deep"), [(12, 1), (4, 1), (16, 0)])
def test_what_has_no_room_is_refused(width: int, deep: int) -> None:
    small, large = restoration(width=8, blocks=2, deep=1), restoration(width=width, blocks=2, deep=deep)
    with pytest.raises(ValueError, match=r"large network|multiples"):
        grow(small, large, generator=torch.Generator().manual_seed(0))
