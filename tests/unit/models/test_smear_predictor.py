"""The predictor of a single picture's smear: numbers without a sign, bins, sizes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from concertdeblur.models.smear_predictor import (
    LENGTHENED,
    LENGTHS_PX,
    PREDICTED_PX,
    SmearPredictor,
    bin_shares,
    read_smear,
    signless,
    smear_bins,
)


def smear(length: float, degrees: float, *, height: int = 4, width: int = 5) -> Tensor:
    angle = np.deg2rad(degrees)
    vector = torch.tensor([length * np.cos(angle), length * np.sin(angle)], dtype=torch.float32)
    return vector[None, :, None, None].expand(1, 2, height, width)


@pytest.mark.parametrize("degrees", [0, 20, 90, 135, 179])
def test_a_smear_and_its_opposite_are_told_alike_and_read_back(degrees: float) -> None:
    numbers = signless(smear(7, degrees))
    assert torch.allclose(numbers, signless(-smear(7, degrees)), atol=1e-5)
    read = read_smear(numbers[0].numpy())
    assert read.shape == (4 * PREDICTED_PX // 2, 5 * PREDICTED_PX // 2, 2)
    wanted = LENGTHENED * smear(7, degrees)[0, :, 0, 0].numpy()
    assert min(np.abs(read - wanted).max(), np.abs(read + wanted).max()) < 1e-3


def test_between_two_smears_that_point_away_from_each_other_there_is_one_of_full_length() -> None:
    """Signed vectors would cancel where they meet."""
    sides = torch.cat([smear(10, 2), smear(10, 182)], 3)
    read = read_smear(signless(sides)[0].numpy())
    assert np.hypot(read[..., 0], read[..., 1]).min() > 9.9


def test_where_two_directions_are_equally_likely_nothing_is_smeared() -> None:
    undecided = (signless(smear(10, 30)) + signless(smear(10, 120))) / 2
    read = read_smear(undecided[0].numpy())
    assert np.abs(read).max() < 1e-3


@pytest.mark.parametrize("length", [0, 0.7, 1.5, 5, 17, 48])
@pytest.mark.parametrize("degrees", [0, 7, 100, 176])
def test_bins_stand_for_a_smear_between_them(length: float, degrees: float) -> None:
    numbers = signless(smear(length, degrees))
    shares = bin_shares(numbers)
    assert torch.allclose(shares.sum(1), torch.ones(()), atol=1e-5)
    assert int((shares[0, :, 0, 0] > 1e-6).sum()) <= 5
    meant = torch.einsum("nkhw,kc->nchw", shares, smear_bins())
    assert (meant - numbers).norm(dim=1).max() < 0.09 * length + 1e-4


def test_a_longer_smear_than_the_longest_bin_is_the_longest() -> None:
    shares = bin_shares(signless(smear(90, 0)))
    assert shares[0, :, 0, 0] @ smear_bins()[:, 2] == pytest.approx(LENGTHS_PX[-1])


def test_an_untrained_predictor_knows_no_direction() -> None:
    made = SmearPredictor(width=8, num_blocks=1)(torch.rand(2, 1, 64, 96))
    assert made.shape == (2, 3, 64 // PREDICTED_PX, 96 // PREDICTED_PX)
    assert made[:, :2].abs().max() < 1e-4


def test_what_lies_beyond_the_margin_changes_nothing() -> None:
    predictor = SmearPredictor(width=8, num_blocks=1)
    torch.nn.init.normal_(predictor.tail.weight)
    margin = predictor.receptive_margin_px
    picture = torch.rand(1, 1, 64, 2 * (margin + 16) - margin % 16 * 2 + 32)
    other = picture.clone()
    other[..., : picture.shape[3] // 2 - margin] = 0.5
    right = slice(picture.shape[3] // 2 // PREDICTED_PX, None)
    with torch.inference_mode():
        assert torch.equal(predictor(picture)[..., right], predictor(other)[..., right])
