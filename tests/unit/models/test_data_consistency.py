"""A result that was blurred once too often, or is wrong where the blur lets through, is led back to the input."""

import torch
from torch import Tensor

from concertdeblur.models.blur_cells import BLUR_CELL_PX, blur_grid
from concertdeblur.models.data_consistency import DataConsistency, cautious_mixture, mixture_of, promising
from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, kernel_bank, num_filters
from concertdeblur.models.prepared import HINT_PX, Prepared
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


def made_consistent(consistency: DataConsistency, result_CHW: Tensor) -> Tensor:
    mixtures = [mixture_of(row) for row in consistency.heaviest()[0].flatten(0, 1).tolist()]
    return consistency.made_consistent(0, result_CHW, mixtures)


def test_what_the_input_says_is_brought_back() -> None:
    sharp = picture(256, 300)
    blurred = blurred_along_x(sharp, 9)
    result = 0.5 * sharp + 0.5 * blurred  # half deblurred
    made = made_consistent(DataConsistency(blurred, only("horizontal", 9, 1, blur_grid(256, 300))), result[0])
    before, after = ((x - sharp[0]).square().mean() for x in (result[0], made))
    assert after < before / 4


def test_what_the_blur_swallowed_stays_as_it_was() -> None:
    """A wave of the period of a box leaves no trace in the input, so nothing contradicts it; another one does."""
    sharp = 0.2 + 0.6 * picture(256, 256)
    blurred = blurred_along_x(blurred_along_x(sharp, 9).transpose(2, 3), 9).transpose(2, 3)
    inner = (slice(None), slice(64, 192), slice(64, 192))
    consistency = DataConsistency(blurred, only("averaging", 9, 1, blur_grid(256, 256)))
    for period, stays in ((9, True), (16, False)):
        wave = 0.2 * torch.cos(2 * torch.pi * torch.arange(256) / period).expand(3, 256, 256)
        left = (made_consistent(consistency, sharp[0] + wave) - sharp[0])[inner]
        share = float((left * wave[inner]).sum() / wave[inner].square().sum())
        assert (share > 0.8) == stays
        assert (share < 0.3) != stays


def test_flat_areas_are_left_alone() -> None:
    """There the step can only ring."""
    frames = picture(256, 256)
    frames[:, :, :, 128:] = 0.9
    consistency = DataConsistency(frames, only("horizontal", 9, 1, blur_grid(256, 256)))
    changed = (made_consistent(consistency, frames[0]) - frames[0]).abs()
    assert changed[..., 160:].max() == 0
    assert changed[..., :96].mean() > 0.01


def test_what_the_result_shows_smooth_stays_smooth() -> None:
    """The generator took the ringing away there; the step must not bring it back."""
    frames = picture(256, 256)
    result = frames[0].clone()
    result[..., 128:] = torch.linspace(0.2, 0.6, 256)[:, None]  # shaded, but without fine detail
    consistency = DataConsistency(frames, only("horizontal", 9, 1, blur_grid(256, 256)))
    changed = (made_consistent(consistency, result) - result).abs()
    assert changed[..., 144:].max() == 0
    assert changed[..., :112].mean() > 0.01


def test_only_one_identified_kernel_is_promising() -> None:
    """Neighbours that share a mixture are each a little wrong, and the step makes that up."""
    one, other = (only("gaussian", size, 1, (1, 1)) for size in _two_sigmas())
    assert promising(one).all()
    assert promising(0.95 * one + 0.05 * other).all()
    assert not promising(0.8 * one + 0.2 * other).any()


def _two_sigmas() -> list[float]:
    return [kernel.size for kernel in kernel_bank() if kernel.name == "gaussian"][-2:]


def test_only_cells_with_a_bold_inverse_change() -> None:
    """The identity and the filters of noisy pictures have nothing to say; nor does the padding."""
    frames = picture(BLUR_CELL_PX, 3 * BLUR_CELL_PX - 12)
    kinds = [only("horizontal", 9, 2, (1, 1)), only("identity", 0, 0, (1, 1)), only("horizontal", 9, 5, (1, 1))]
    consistency = DataConsistency(frames, torch.cat(kinds, 2))
    assert consistency.promising_NRQ.tolist() == [[[True, False, False]]]
    result = torch.nn.functional.pad(frames, (0, 12, 0, 0))
    made = made_consistent(consistency, result[0])
    assert torch.equal(made[..., BLUR_CELL_PX + 32 :], result[0, ..., BLUR_CELL_PX + 32 :])
    assert (made - result[0])[..., : BLUR_CELL_PX - 32].abs().mean() > 0.01
    steps = made.diff(dim=-1).abs().mean((0, 1))
    assert steps[BLUR_CELL_PX - 1] < 1.5 * steps[BLUR_CELL_PX - 20 : BLUR_CELL_PX + 20].mean()  # no seam


def test_only_cells_with_next_to_no_noise_take_turns() -> None:
    cells = [only("horizontal", 9, noise, (1, 1)) for noise in (0, 1, 2, 3)]
    mixed = [0.6 * cells[1] + 0.4 * cells[3], 0.4 * cells[1] + 0.6 * cells[3], only("identity", 0, 0, (1, 1))]
    consistency = DataConsistency(picture(256, 7 * BLUR_CELL_PX), torch.cat(cells + mixed, 2))
    assert consistency.promising_NRQ.tolist() == [[[True] * 6 + [False]]]
    assert consistency.repeatable_NRQ.tolist() == [[[True, True, False, False, True, False, False]]]


def test_a_turn_is_more_cautious_where_there_is_noise() -> None:
    cells = [only("horizontal", 9, 1, (1, 1)), only("horizontal", 9, 2, (1, 1))]
    frames = picture(256, 2 * BLUR_CELL_PX)
    size = frames.shape[2] // HINT_PX, frames.shape[3] // HINT_PX
    plan = Prepared(
        guess_NGHW=frames,
        hints_NEhw=torch.zeros(1, 0, *size),
        trust_N1hw=torch.ones(1, 1, *size),
        consistency=DataConsistency(frames, torch.cat(cells, 2)),
    ).read()
    assert plan.mixtures is not None
    assert plan.first_turn is not None
    (little, noisy), (turn_little, turn_noisy) = plan.mixtures[0], plan.first_turn[0]
    assert turn_little == little
    assert plan.repeatable == [[little, []]]
    assert turn_noisy == [(1, noisy[0][1] + 1)]
    assert cautious_mixture(turn_noisy) == turn_noisy  # the last ratio already


def test_a_step_starts_from_elsewhere_only_in_its_cells() -> None:
    sharp = picture(BLUR_CELL_PX, 3 * BLUR_CELL_PX)
    blurred = blurred_along_x(sharp, 9)
    weights = torch.cat([only("horizontal", 9, 1, (1, 1)), *[only("identity", 0, 0, (1, 1))] * 2], 2)
    consistency = DataConsistency(blurred, weights)
    mixtures = [mixture_of(row) for row in consistency.heaviest()[0].flatten(0, 1).tolist()]
    made = consistency.made_consistent(0, blurred[0], mixtures, start_CHW=sharp[0])
    assert torch.equal(made[..., BLUR_CELL_PX + 32 :], blurred[0, ..., BLUR_CELL_PX + 32 :])
    inside = (..., slice(16, BLUR_CELL_PX - 32))
    left, was = ((x - sharp[0])[inside].square().mean() for x in (made, blurred[0]))
    assert left < was / 20
