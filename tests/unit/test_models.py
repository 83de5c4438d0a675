"""The networks: the paper's sizes, the fast ones' promises."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from concertdeblur.blur import Kernel, blur
from concertdeblur.models import Architecture, build_networks
from concertdeblur.models.architecture import DiscriminatorSettings, GeneratorSettings
from concertdeblur.models.fast import BLUR_TYPES, FastGenerator, Restoration
from concertdeblur.models.inverse_filter import (
    FRAME_WINDOW_PX,
    NOISE_TO_SIGNAL,
    apply_response,
    filter_frames,
    inverse_responses,
    kernel_bank,
    mixed_response,
    num_filters,
    padded_length,
)
from concertdeblur.models.paper import PaperPatchGenerator, UNet
from concertdeblur.models.spectrum import SpectrumDescriptor, frame_stride_px
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
    generator = FastGenerator(width=8, num_blocks=1)
    frames = torch.rand(1, 3, 64, 96)
    prepared = generator.prepare(frames, generator.describe(frames))
    assert torch.equal(generator.restoration(frames, prepared.guess_NCHW, prepared.embedding_NE), frames)


def test_restoration_looks_no_further_than_its_margin() -> None:
    network = random_networks().image_generator.restoration
    assert isinstance(network, Restoration)
    frames = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    changed = frames.clone()
    changed[..., 80, 80] += 1
    embedding = torch.zeros(1, 128)
    difference = (network(frames, frames, embedding) - network(changed, frames, embedding)).abs().amax((0, 1))
    touched = np.argwhere(np.asarray(difference) > 0)
    assert touched.min() >= 80 - network.receptive_margin_px
    assert touched.max() <= 80 + network.receptive_margin_px


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
        assert all(float(entry.at(zero, zero)) == 1 for entry in kernel_bank())

    def test_every_filter_keeps_the_level_of_a_flat_frame(self) -> None:
        flat = torch.full((1, 3, 96, 96), 0.3)
        responses = inverse_responses(160, 160, like=flat)
        assert len(responses) == num_filters() == len(kernel_bank()) * len(NOISE_TO_SIGNAL)
        for response in responses:
            assert (apply_response(flat, response[None], (160, 160)) - 0.3).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", [Kernel.HORIZONTAL, Kernel.AVERAGING, Kernel.GAUSSIAN])
def test_the_right_inverse_filter_sharpens(kernel: Kernel) -> None:
    sharp = photograph(256, 256)
    blurred = blur(sharp, kernel, 0.5)
    tensors = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in (sharp, blurred)]
    size = {Kernel.HORIZONTAL: 13, Kernel.AVERAGING: 9, Kernel.GAUSSIAN: 2.0}[kernel]
    index = next(i for i, e in enumerate(kernel_bank()) if e.name == kernel and e.size == pytest.approx(size))
    weights = torch.zeros(1, num_filters())
    weights[0, index * len(NOISE_TO_SIGNAL)] = 1
    filtered = filter_frames(tensors[1], weights)
    before, after = F.mse_loss(tensors[1], tensors[0]), F.mse_loss(filtered, tensors[0])
    assert after < 0.4 * before


def test_filtering_in_windows_agrees_with_one_fft() -> None:
    """Frames larger than a window are filtered in several; a Gaussian's inverse reaches less far than they overlap."""
    blurred = blur(photograph(96, FRAME_WINDOW_PX + 700), Kernel.GAUSSIAN, 0.5)
    frame = torch.from_numpy(blurred).permute(2, 0, 1)[None].float() / 255
    index = next(i for i, e in enumerate(kernel_bank()) if e.name == "gaussian" and e.size == pytest.approx(2.0))
    weights = torch.zeros(1, num_filters())
    weights[0, index * len(NOISE_TO_SIGNAL)] = 1
    padded = (padded_length(96), padded_length(frame.shape[3]))
    one_fft = apply_response(frame, mixed_response(weights[0], *padded)[None], padded)
    assert (filter_frames(frame, weights) - one_fft).abs().max() < 0.5 / 255


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 700), (65, 63), (520, 530)])
def test_any_frame_size_can_be_prepared(height: int, width: int) -> None:
    generator = FastGenerator(width=8, num_blocks=1)
    frames = torch.rand(1, 3, height, width)
    prepared = generator.prepare(frames, generator.describe(frames))
    assert prepared.guess_NCHW.shape == frames.shape
    assert prepared.embedding_NE.isfinite().all()
    assert prepared.guess_NCHW.isfinite().all()


def test_a_frame_that_looks_sharp_is_trusted_to_be() -> None:
    generator = FastGenerator(width=8, num_blocks=1)
    frames = torch.rand(1, 3, 64, 64)
    for name, trust in (("sharp", 0.0), ("bilateral", 0.0), ("gaussian", 1.0), ("median", 1.0)):
        with torch.no_grad():
            generator.analysis.type_head.weight.zero_()
            generator.analysis.type_head.bias.fill_(-20)[BLUR_TYPES.index(name)] = 20
        assert generator.prepare(frames, generator.describe(frames)).trust_N.item() == pytest.approx(trust, abs=1e-4)


def test_the_number_of_spectrum_windows_is_bounded() -> None:
    for height, width in ((720, 1280), (2160, 3840), (4320, 7680)):
        stride = frame_stride_px(height, width)
        assert (height // stride) * (width // stride) <= 1024
    assert frame_stride_px(720, 1280) == 32


def test_the_descriptor_of_a_large_frame_is_the_same_in_pieces() -> None:
    descriptor = SpectrumDescriptor()
    frames = torch.rand(1, 3, 1400, 1400, generator=torch.Generator().manual_seed(0))
    windows = frames.mul(torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    windows = windows.unfold(1, 64, 32).unfold(2, 64, 32).flatten(1, 2)
    hann = torch.hann_window(64)
    windows = (windows - windows.mean((-2, -1), keepdim=True)) * hann[:, None] * hann
    power = torch.fft.rfft2(windows).abs() ** 2 + 2e-4
    expected = torch.fft.fftshift(torch.stack([power.mean(1).log(), power.log().mean(1)], 1), dim=2) / 8
    assert (descriptor(frames, 32) - expected).abs().max() < 1e-4


def test_the_type_head_knows_every_kernel() -> None:
    assert set(BLUR_TYPES) == {"sharp", "motion", *(kernel.value for kernel in Kernel)}
