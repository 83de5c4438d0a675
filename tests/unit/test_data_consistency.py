"""A result that was blurred once too often, or is wrong where the blur lets through, is led back to the input."""

import torch
from torch import Tensor

from concertdeblur.cam import Area
from concertdeblur.models.data_consistency import DataConsistency
from concertdeblur.models.inverse_filter import CELL_PX, NOISE_TO_SIGNAL, grid_of, kernel_bank, num_filters
from tests.pictures import photograph


def picture(height: int, width: int) -> Tensor:
    return torch.from_numpy(photograph(height, width)).permute(2, 0, 1).float()[None] / 255


def only(name: str, size: float, noise: int, grid: tuple[int, int]) -> Tensor:
    """Weights of one filter in every cell."""
    kernel = next(i for i, k in enumerate(kernel_bank()) if k.name == name and k.size == size)
    weights = torch.zeros(1, *grid, num_filters())
    weights[..., kernel * len(NOISE_TO_SIGNAL) + noise] = 1
    return weights


def blurred_along_x(frames: Tensor, length: int) -> Tensor:
    padded = torch.nn.functional.pad(frames, (length // 2, length // 2, 0, 0), mode="reflect")
    return padded.unfold(3, length, 1).mean(-1)


def test_the_input_s_say_is_brought_back() -> None:
    sharp = picture(256, 300)
    blurred = blurred_along_x(sharp, 9)
    again = DataConsistency(blurred, only("horizontal", 9, 1, grid_of(256, 300)))
    result = 0.5 * sharp + 0.5 * blurred  # half deblurred
    made = again.guess(0, result[0], Area(y=0, x=0, height=256, width=304 - 4))
    before, after = ((x - sharp[0]).square().mean() for x in (result[0], made))
    assert after < before / 4


def test_what_the_blur_swallowed_stays_the_network_s() -> None:
    """A wave of the period of the blur leaves no trace in the input: nothing contradicts it."""
    blurred = torch.full((1, 3, 256, 256), 0.5)
    wave = 0.1 * torch.cos(2 * torch.pi * torch.arange(256) / 9).expand(3, 256, 256)
    again = DataConsistency(blurred, only("averaging", 9, 2, grid_of(256, 256)))
    blind = DataConsistency(blurred, only("identity", 0, 0, grid_of(256, 256)))
    area = Area(y=0, x=0, height=256, width=256)
    inner = (slice(None), slice(64, 192), slice(64, 192))
    assert (again.guess(0, 0.5 + wave, area)[inner] - 0.5).abs().max() > 0.05
    assert (blind.guess(0, 0.5 + wave, area)[inner] - 0.5).abs().max() < 0.01


def test_parts_agree_with_the_whole_and_padding_is_left() -> None:
    """Cells fade into each other alike, whether one asks for both or for one of them."""
    frames = picture(CELL_PX, 500)
    weights = torch.cat([only("horizontal", 9, 2, (1, 1)), only("horizontal", 13, 2, (1, 1))], 2)
    again = DataConsistency(frames, weights)
    result = torch.nn.functional.pad(frames, (0, 12, 0, 0))
    result[..., 500:] = 0.25
    whole = again.guess(0, result[0], Area(y=0, x=0, height=CELL_PX, width=512))
    left = again.guess(0, result[0], Area(y=0, x=0, height=CELL_PX, width=CELL_PX))
    assert torch.equal(whole[..., 500:], result[0, ..., 500:])
    assert torch.allclose(whole[..., : CELL_PX - 32], left[..., : CELL_PX - 32], atol=1e-6)
    steps = whole[..., :500].diff(dim=-1).abs().mean((0, 1))
    assert steps[CELL_PX - 1] < 1.5 * steps[CELL_PX - 20 : CELL_PX + 20].mean()  # no seam
