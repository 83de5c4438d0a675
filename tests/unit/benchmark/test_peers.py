"""Other networks for deblurring: of the sizes that were published, at any frame size, the same in both backends."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from concertdeblur.benchmark.counts import convolution_macs
from concertdeblur.benchmark.peers.deblurgan_v2 import DeblurGanV2, InvertedResidual, MobileNetV2
from concertdeblur.benchmark.peers.estrnn import Estrnn, EstrnnSettings, EstrnnStream
from concertdeblur.benchmark.peers.mimo_unet import MimoUNet
from concertdeblur.benchmark.peers.nafnet import NafNet
from concertdeblur.engines import OpenVinoEngine, TorchEngine
from concertdeblur.runtime import choose_runtime

_CROP = (256, 256)  # that most papers count on
_FRAME = (720, 1280)


def _millions(network: nn.Module) -> float:
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def _gmacs(network: nn.Module, size: tuple[int, int]) -> float:
    frame = torch.empty(1, 3, *size, device="meta")
    return convolution_macs(lambda: _step(network)(frame), network) / 1e9


def _published_gmacs(network: nn.Module, size: tuple[int, int]) -> float:
    """Multiply-adds as the papers' profilers count them.

    A convolution's kernel is counted once for each value of its output, and a bias as one more. For a transposed
    convolution this also counts products with the zeros between its inputs.
    """
    counted = 0

    def count(module: nn.Module, _: object, made: Tensor) -> None:
        nonlocal counted
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        taps = module.in_channels // module.groups * module.weight[0, 0].numel()
        counted += made.numel() * (taps + (module.bias is not None))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        _step(network)(torch.empty(1, 3, *size, device="meta"))
    return counted / 1e9


def _step(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return EstrnnStream(network.settings, network.cell, network.head) if isinstance(network, Estrnn) else network


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (lambda: NafNet(32), 17.111907),  # the weights that its authors give out, to the last one
        (MimoUNet, 6.8),
        (lambda: MimoUNet(20), 16.1),  # MIMO-UNet+
        (lambda: Estrnn(EstrnnSettings(width=16, num_blocks=15)), 2.47),  # B15C80
    ],
)
def test_parameters_are_those_that_were_published(build: Callable[[], nn.Module], millions: float) -> None:
    with torch.device("meta"):
        assert _millions(build()) == pytest.approx(millions, rel=0.002)


@pytest.mark.parametrize(
    ("build", "size", "gmacs", "tolerance"),
    [
        (lambda: NafNet(32), _CROP, 16, 0.01),
        (lambda: NafNet(64), _CROP, 65, 0.03),  # the paper counts norms and products, too
        (MimoUNet, _CROP, 67.17, 0.002),
        (lambda: MimoUNet(20), _CROP, 154.41, 0.002),
        (Estrnn, _FRAME, 206.70, 0.0001),
        (DeblurGanV2, (736, 1280), 43.75, 0.12),  # the paper does not say what it counts
    ],
)
def test_multiply_adds_are_those_that_were_published(
    build: Callable[[], nn.Module], size: tuple[int, int], gmacs: float, tolerance: float
) -> None:
    with torch.device("meta"):
        assert _published_gmacs(build(), size) == pytest.approx(gmacs, rel=tolerance)


def test_the_backbone_is_mobilenet_v2() -> None:
    """Sandler 2018, table 4: 3.4 M parameters and 300 M multiply-adds at 224 px, with the end that classifies."""
    with torch.device("meta"):
        backbone = MobileNetV2()
        end = nn.Sequential(
            InvertedResidual(160, 160, stride=1),
            InvertedResidual(160, 320, stride=1),
            nn.Conv2d(320, 1280, 1, bias=False),
            nn.BatchNorm2d(1280),
        )
        classifier = nn.Linear(1280, 1000)
        whole = nn.ModuleList([backbone, end, classifier])
        picture = torch.empty(1, 3, 224, 224)
        maps = backbone(picture)
        assert _millions(whole) == pytest.approx(3.4, rel=0.04)
        macs = convolution_macs(lambda: end(backbone(picture)[-1]), whole) + classifier.weight.numel()
    assert macs / 1e6 == pytest.approx(300, rel=0.02)
    assert [(one.shape[1], one.shape[2]) for one in maps] == [(16, 112), (24, 56), (32, 28), (64, 14), (160, 7)]


def test_a_transposed_convolution_counts_what_it_multiplies() -> None:
    with torch.device("meta"):
        saved = _published_gmacs(MimoUNet(), _CROP) - _gmacs(MimoUNet(), _CROP)
    zeros = 2 * (3 / 4) * 128 * 128 * 128 * 64 * 16 / 1e9  # two layers with as many, three of four values of each
    assert saved == pytest.approx(zeros, rel=0.05)  # and biases


@pytest.mark.parametrize("build", [DeblurGanV2, lambda: NafNet(8), lambda: MimoUNet(1)])
def test_a_frame_of_any_multiple_is_restored_alike_in_both_backends(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(3)
    network = build().eval().requires_grad_(False)
    side = network.multiple_px
    assert isinstance(side, int)
    frame = torch.rand(1, 3, 4 * side, 6 * side)
    plain = TorchEngine(network, choose_runtime("cpu", "torch"))(frame)
    assert plain.shape == frame.shape
    assert (plain - frame).abs().mean() > 1e-3
    assert torch.allclose(OpenVinoEngine(network)(frame), plain, atol=1e-3)


def test_the_recurrent_network_sees_two_frames_before_and_two_after() -> None:
    torch.manual_seed(3)
    network = Estrnn(EstrnnSettings(width=4, num_blocks=2)).eval().requires_grad_(False)
    frames = torch.rand(9, 1, 3, 16, 24)

    def results(clip: Tensor) -> list[Tensor]:
        stream = EstrnnStream(network.settings, network.cell, network.head)
        return [stream(frame) for frame in clip]

    made = results(frames)
    assert all(one.shape == (1, 3, 16, 24) for one in made)
    later = frames.clone()
    later[8] += 0.5
    changed = [not torch.equal(one, other) for one, other in zip(made, results(later), strict=True)]
    assert changed == [False] * 8 + [True]  # each result comes two frames late
    earlier = frames.clone()
    earlier[0] += 0.5
    assert not torch.equal(made[8], results(earlier)[8])  # the state remembers


def test_the_recurrent_network_is_alike_in_both_backends() -> None:
    torch.manual_seed(3)
    network = Estrnn(EstrnnSettings(width=4, num_blocks=2)).eval().requires_grad_(False)
    runtime = choose_runtime("cpu", "torch")
    plain = EstrnnStream(network.settings, TorchEngine(network.cell, runtime), TorchEngine(network.head, runtime))
    compiled = EstrnnStream(network.settings, OpenVinoEngine(network.cell), OpenVinoEngine(network.head))
    for frame in torch.rand(6, 1, 3, 32, 48):
        expected, made = plain(frame), compiled(frame)
    assert torch.allclose(made, expected, atol=1e-3)
