"""The networks: the paper's sizes, the promises of `concert`."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from concertdeblur.blur import Kernel, blur
from concertdeblur.models import Architecture, build_networks
from concertdeblur.models.architecture import DiscriminatorSettings, GeneratorSettings
from concertdeblur.models.blur_cells import (
    BEFORE_PX,
    BLUR_CELL_PX,
    FFT_PX,
    REACH_PX,
    blur_grid,
    looped,
    surrounded_index,
)
from concertdeblur.models.concert import BLUR_TYPES, ConcertGenerator
from concertdeblur.models.inverse_filter import apply_weights, filter_frames, wary_weights
from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, bank_responses, kernel_bank, mixed, num_filters, response
from concertdeblur.models.paper import PaperPatchGenerator, UNet
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.models.restoration import PictureRestoration, ResidualBlock
from concertdeblur.models.spectrum import SpectrumDescriptor
from tests.networks import random_networks
from tests.pictures import photograph


def num_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_u_net_256_has_the_papers_size() -> None:
    network = UNet(num_levels=8)
    assert num_parameters(network) == pytest.approx(54.4e6, rel=0.002)
    assert network.multiple_px == 256


def test_u_nets_give_pictures_of_their_input_size() -> None:
    for num_levels, side in ((8, 256), (7, 128)):
        network = UNet(num_levels=num_levels, width=4).eval()
        made = network(torch.rand(1, 3, side, side))
        assert made.shape == (1, 3, side, side)
        assert 0 <= float(made.detach().min()) <= float(made.detach().max()) <= 1


def test_dropout_is_off_at_test_so_that_video_does_not_flicker() -> None:
    network = PaperPatchGenerator(width=4).eval()
    window = torch.rand(1, 3, 128, 128)
    assert torch.equal(network.restoration(window, window), network.restoration(window, window))
    network.train()
    assert not torch.equal(network.restoration(window, window), network.restoration(window, window))


def test_paper_recipe_builds_the_papers_networks() -> None:
    architecture = Architecture(
        kind="paper",
        image_generator=GeneratorSettings(width=64),
        patch_generator=GeneratorSettings(width=64),
        discriminator=DiscriminatorSettings(width=64),
    )
    networks = build_networks(architecture)
    assert num_parameters(networks.image_generator) == pytest.approx(54.4e6, rel=0.002)
    assert num_parameters(networks.patch_generator) < num_parameters(networks.image_generator)
    assert networks.discriminator(*torch.rand(2, 1, 3, 256, 256)).shape == (1, 31, 31)


def test_an_untrained_fast_generator_is_the_identity() -> None:
    generator = ConcertGenerator(width=8, num_blocks=1, embedding_width=16)
    frames = torch.rand(1, 3, 64, 96)
    prepared = generator.prepare(frames, generator.describe(frames))
    assert torch.equal(generator.restoration(frames, prepared.guess_NGHW, prepared.hints_NEhw), frames)


def test_restoration_looks_no_further_than_its_margin() -> None:
    network = random_networks().image_generator.restoration
    assert isinstance(network, PictureRestoration)
    frames = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    changed = frames.clone()
    changed[..., 80, 80] += 1
    guess, hints = torch.zeros(1, 4, 160, 160), torch.zeros(1, 128, 10, 10)
    difference = (network(frames, guess, hints) - network(changed, guess, hints)).abs().amax((0, 1))
    touched = np.argwhere(np.asarray(difference) > 0)
    assert touched.min() >= 80 - network.receptive_margin_px
    assert touched.max() <= 80 + network.receptive_margin_px


def test_most_units_answer_whatever_the_brightness() -> None:
    torch.manual_seed(0)
    network = PictureRestoration(width=16, num_blocks=2, num_deep_blocks=2, num_guesses=4, embedding_width=128)
    picture = torch.from_numpy(photograph(128, 128)).permute(2, 0, 1)[None].float() / 255
    guess = torch.cat([picture + 0.02 * torch.randn_like(picture), picture.mean(1, keepdim=True)], 1)
    spreads, shares = [], []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _module, _given, made: spreads.append(made.std().item()))
            module.conv1.register_forward_hook(lambda _module, _given, made: shares.append((made > 0).float().mean()))
    for gain in (0.1, 1.0):  # a dark stage, daylight
        network(gain * picture, gain * guess, 10 * torch.randn(1, 128, 8, 8))
    assert max(spreads) < 4
    assert min(shares) > 0.2


class TestKernelBank:
    """Transfer functions are those of OpenCV's blurs."""

    @pytest.mark.parametrize("name", ["horizontal", "vertical", "averaging", "gaussian"])
    def test_matches_opencv(self, name: str) -> None:
        level = 0.5
        impulse = np.zeros((64, 64, 3), np.uint8)
        impulse[32, 32] = 255
        kernel = blur(impulse, Kernel(name), level)[..., 0].astype(float)
        measured = np.abs(np.fft.rfft2(kernel / kernel.sum()))
        y, x = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)[None, :]
        nearest = min(
            float(np.abs(measured - entry.at(y, x).abs().numpy()).max())
            for entry in kernel_bank()
            if entry.name == name
        )
        assert nearest < 0.07  # 8-bit rounding of the impulse response, and Gaussian sizes between two of the bank

    def test_every_kernel_keeps_the_mean(self) -> None:
        zero = torch.zeros(1, 1)
        assert all(float(entry.at(zero, zero)) == pytest.approx(1, abs=1e-6) for entry in kernel_bank())

    def test_every_filter_keeps_the_level_of_a_flat_frame(self) -> None:
        assert num_filters() == len(kernel_bank()) * len(NOISE_TO_SIGNAL)
        assert bank_responses(torch.device("cpu"))[:, 0, 0].tolist() == pytest.approx([1] * num_filters(), abs=1e-5)

    def test_a_mixture_is_the_weighted_mean_of_all_filters_at_every_frequency(self) -> None:
        weights = torch.rand(3, num_filters(), generator=torch.Generator().manual_seed(0))
        weights /= weights.sum(1, keepdim=True)
        expected = (weights.double() @ bank_responses(torch.device("cpu")).flatten(1).double()).view(3, FFT_PX, -1)
        assert torch.allclose(mixed(weights).double(), expected, rtol=0, atol=1e-5)
        single = torch.eye(num_filters())[[7, 250, num_filters() - 1]]
        for number, row in zip((7, 250, num_filters() - 1), mixed(single), strict=True):
            assert torch.allclose(row, response(number, torch.device("cpu"))[0], atol=1e-5)

    def test_cautious_weights_are_of_the_same_kernels_at_stronger_regularisation(self) -> None:
        weights = torch.zeros(num_filters())
        num = len(NOISE_TO_SIGNAL)
        weights[3 * num], weights[7 * num + num - 1] = 0.25, 0.75
        moved = wary_weights(weights)
        assert moved.nonzero().flatten().tolist() == [3 * num + 2, 7 * num + num - 1]
        assert float(moved.sum()) == pytest.approx(1)


def one_filter(name: str, size: float, noise: int = 0) -> torch.Tensor:
    """Weights with all of it on one filter of the bank."""
    index = next(i for i, e in enumerate(kernel_bank()) if e.name == name and e.size == pytest.approx(size))
    weights = torch.zeros(num_filters())
    weights[index * len(NOISE_TO_SIGNAL) + noise] = 1
    return weights


def frame_of(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    ("kernel", "size", "at_most"), [(Kernel.HORIZONTAL, 13, 0.3), (Kernel.AVERAGING, 9, 0.4), (Kernel.GAUSSIAN, 2, 0.5)]
)
def test_the_right_inverse_filter_sharpens_up_to_the_border(kernel: Kernel, size: float, at_most: float) -> None:
    """OpenCV reflects at the border, and so do we: what it blurred there is undone as well as inside."""
    picture = photograph(256, 256)
    sharp, blurred = frame_of(picture), frame_of(blur(picture, kernel, 0.5))
    filtered = filter_frames(blurred, one_filter(kernel.value, size, noise=2)[None, None, None])[:, :3]
    border = torch.ones(256, 256, dtype=torch.bool)
    border[16:-16, 16:-16] = False
    for area in (border, ~border):
        before, after = (F.mse_loss(p[..., area], sharp[..., area]) for p in (blurred, filtered))
        assert after < at_most * before


def test_the_cautious_guess_is_a_luma_and_smoother() -> None:
    blurred = frame_of(blur(photograph(256, 256), Kernel.AVERAGING, 0.5))
    made = filter_frames(blurred, one_filter("averaging", 9, noise=0)[None, None, None])
    luma = (made[:, :3] * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    assert made[:, 3].diff(dim=2).abs().mean() < luma.diff(dim=2).abs().mean()


def test_cells_meet_without_a_seam() -> None:
    """The same blur everywhere: cells filtered apart and faded together agree with windows around their borders."""
    blurred = frame_of(blur(np.tile(photograph(300, 400), (2, 2, 1))[:, :700], Kernel.GAUSSIAN, 0.5))
    height, width = blurred.shape[2:]
    weights = one_filter("gaussian", 2.0, noise=2)
    made = filter_frames(blurred, weights.expand(1, *blur_grid(height, width), -1))
    moved = 64  # the same frame, cut so that cells end elsewhere
    other = filter_frames(blurred[..., moved:, moved:], weights.expand(1, *blur_grid(height - 64, width - 64), -1))
    inside = (..., slice(100, height - 164), slice(100, width - 164))
    assert (made[..., moved:, moved:][inside] - other[inside]).abs().max() < 1 / 255


def test_windows_wrap_without_a_jump() -> None:
    ramp = torch.linspace(0, 1, len(surrounded_index(0, 10**6))).expand(1, len(surrounded_index(0, 10**6)), -1)
    window = looped(ramp)
    assert window.shape == (1, FFT_PX, FFT_PX)
    around = torch.cat([window, window[..., :1]], -1)[0, 0].diff().abs()
    assert around.max() < 0.06  # the ramp's whole height spread over the loop


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 704), (65, 63), (520, 544)])
def test_any_frame_size_can_be_prepared(height: int, width: int) -> None:
    generator = ConcertGenerator(width=8, num_blocks=1, embedding_width=16)
    frames = torch.rand(1, 3, height, width)
    described = generator.describe(frames)
    assert described.shape[1:3] == blur_grid(height, width)
    prepared = generator.prepare(frames, described)
    assert prepared.guess_NGHW.shape == (1, 4, height, width)
    assert prepared.hints_NEhw.shape == (1, 16, -(-height // HINT_PX), -(-width // HINT_PX))
    assert prepared.trust_N1hw.shape == (1, 1, -(-height // HINT_PX), -(-width // HINT_PX))
    assert prepared.guess_NGHW.isfinite().all()
    assert prepared.hints_NEhw.isfinite().all()


def test_a_window_holds_the_cell_and_what_is_around_it() -> None:
    index = surrounded_index(1, 10**6)
    assert int(index[0]) == BLUR_CELL_PX - BEFORE_PX
    assert len(index) == FFT_PX + BEFORE_PX - REACH_PX
    assert surrounded_index(0, 5).tolist()[BEFORE_PX : BEFORE_PX + 5] == [
        0,
        1,
        2,
        3,
        4,
    ]  # small frames reflect as often as it takes
    flat = torch.full((1, 3, FFT_PX, FFT_PX), 0.3)
    assert (apply_weights(flat, one_filter("disk", 3.0)[None]) - 0.3).abs().max() < 1e-5


def test_a_frame_that_looks_sharp_is_trusted_to_be() -> None:
    generator = ConcertGenerator(width=8, num_blocks=1, embedding_width=16)
    frames = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), (64, 64), mode="bilinear")
    for name, trust in (("sharp", 0.0), ("gaussian", 1.0), ("median", 1.0), ("capture", 1.0)):
        with torch.no_grad():
            generator.analysis.type_head.weight.zero_()
            generator.analysis.type_head.bias.fill_(-20)[BLUR_TYPES.index(name)] = 20
        with torch.no_grad():
            made = generator.prepare(frames, generator.describe(frames)).trust_N1hw
        assert float(made[0, 0, 0, 0]) == pytest.approx(trust, abs=1e-4)


def test_guesses_that_are_negative_light_are_not_believed() -> None:
    """A filter of wide blur makes rings around a sharp lamp; far from it the guess stays, and so does the trust."""
    generator = ConcertGenerator(width=8, num_blocks=1, embedding_width=16)
    with torch.no_grad():
        generator.analysis.filter_head.weight.zero_()
        generator.analysis.filter_head.bias.copy_(60 * one_filter("disk", 3.0))
        generator.analysis.type_head.bias.fill_(-20)[BLUR_TYPES.index("capture")] = 20
    dim = torch.full((1, 3, 192, 192), 0.2)
    lamp = dim.clone()
    lamp[..., 90:102, 90:102] = 1
    with torch.no_grad():
        made = generator.prepare(lamp, generator.describe(lamp))
    around, far = np.s_[..., 80:112, 80:112], np.s_[..., :24, :24]
    assert (made.guess_NGHW[:, :3] - lamp)[around].abs().max() < 1e-5
    assert made.trust_N1hw[..., 5:7, 5:7].max() == 0
    assert (made.guess_NGHW[:, :3] - lamp)[far].abs().max() > 1e-3
    assert made.trust_N1hw[..., :1, :1].min() == 1


def plain_descriptor(frames: torch.Tensor) -> torch.Tensor:
    windows = frames.mul(torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    windows = windows.unfold(1, 64, 32).unfold(2, 64, 32).flatten(1, 2)
    hann = torch.hann_window(64)
    windows = (windows - windows.mean((-2, -1), keepdim=True)) * hann[:, None] * hann
    power = torch.fft.rfft2(windows).abs() ** 2 + 2e-4
    described = torch.stack([power.mean(1).log(), power.log().mean(1)], 1)
    centred: torch.Tensor = torch.fft.fftshift(described, dim=2)
    return centred / 8


def test_the_descriptor_of_one_cell_is_the_plain_one() -> None:
    frames = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert (SpectrumDescriptor()(frames, BLUR_CELL_PX)[:, 0, 0] - plain_descriptor(frames)).abs().max() < 1e-4


def test_a_cell_with_nothing_to_tell_borrows_from_the_frame() -> None:
    frame = torch.full((1, 3, 256, 1024), 0.5)
    frame[..., :256] = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    described = SpectrumDescriptor()(frame, BLUR_CELL_PX)[0, 0]
    alone = plain_descriptor(frame[..., :256])[0]
    assert (described[0] - alone).abs().mean() < 0.1  # it keeps its own
    assert (described[3, 1] - alone[1]).abs().mean() < 0.1  # of the flat cell, the shape is the textured one's


def test_the_type_head_knows_every_kernel() -> None:
    assert set(BLUR_TYPES) == {"sharp", "motion", "capture", *(kernel.value for kernel in Kernel)}
