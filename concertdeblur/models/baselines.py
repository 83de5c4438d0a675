"""Baselines of the paper's comparison: multi-scale CNN (Nah et al. 2017) and DeblurGAN (Kupyn et al. 2018).

Sizes are those of their papers by default. Both restore frames of any size that is a multiple of `multiple_px`.

Shape suffixes: N frames, C channels, H height, W width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.settings import check_least

Kind = Literal["multi_scale", "deblurgan"]
_SLOPE = 0.2  # slope of LeakyReLU in both discriminators


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineSettings:
    """Size of a baseline's generator: channels of its first convolution, and residual blocks."""

    width: int = 64
    num_blocks: int = 19  # blocks of each scale of the multi-scale CNN, which makes 40 convolutions; DeblurGAN has 9

    def __post_init__(self) -> None:
        check_least(self, width=1, num_blocks=1)


PAPER_SIZES: dict[Kind, BaselineSettings] = {
    "multi_scale": BaselineSettings(width=64, num_blocks=19),  # 11.7 M parameters, 23 MB as fp16
    "deblurgan": BaselineSettings(width=64, num_blocks=9),  # 11.4 M parameters, 23 MB as fp16
}


class _WideBlock(nn.Module):
    """Two 5x5 convolutions added to what goes in; no normalisation, no ReLU after the sum (Nah 2017, figure 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, width, 5, padding=2)
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.layers(features)
        return out


class _Scale(nn.Module):
    """The network of one scale: it takes the blurred frame and, from the second scale on, the coarser result."""

    def __init__(self, channels: int, settings: BaselineSettings) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, settings.width, 5, padding=2),
            *(_WideBlock(settings.width) for _ in range(settings.num_blocks)),
            nn.Conv2d(settings.width, 3, 5, padding=2),
        )

    def forward(self, views_NCHW: Tensor) -> Tensor:
        out: Tensor = self.layers(views_NCHW)
        return out


class MultiScaleCnn(nn.Module):
    """Nah 2017: three scales, from a quarter of the size up; each takes the coarser result, enlarged by a layer."""

    multiple_px = 4

    def __init__(self, settings: BaselineSettings = PAPER_SIZES["multi_scale"]) -> None:
        super().__init__()
        self.settings = settings
        self.scales = nn.ModuleList([_Scale(channels, settings) for channels in (3, 6, 6)])
        self.enlarge = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2)) for _ in range(2)]
        )

    def forward(self, blurred_NCHW: Tensor) -> Tensor:
        """The finest result; not clamped."""
        return self.pyramid(blurred_NCHW)[-1]

    def pyramid(self, blurred_NCHW: Tensor) -> list[Tensor]:
        """The results of a quarter, half and full size."""
        blurred = shrunk(blurred_NCHW)
        results = [self.scales[0](blurred[0])]
        for scale, enlarge, view in zip(list(self.scales)[1:], self.enlarge, blurred[1:], strict=True):
            results.append(scale(torch.cat([view, enlarge(results[-1])], 1)))
        return results


def shrunk(frames_NCHW: Tensor) -> list[Tensor]:
    """Frames at a quarter, half and full size, by averaging (the paper takes a Gaussian pyramid)."""
    half = F.avg_pool2d(frames_NCHW, 2)
    return [F.avg_pool2d(half, 2), half, frames_NCHW]


class _NormedBlock(nn.Module):
    """Two 3x3 convolutions with instance norm, dropout between them, added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.layers(features)
        return out


class DeblurGan(nn.Module):
    """Kupyn 2018: a ResNet generator at a quarter of the size, whose output is added to the blurred frame."""

    multiple_px = 4

    def __init__(self, settings: BaselineSettings = PAPER_SIZES["deblurgan"]) -> None:
        super().__init__()
        self.settings = settings
        width = settings.width
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect"), width),
            *_normed(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), 2 * width),
            *_normed(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), 4 * width),
            *(_NormedBlock(4 * width) for _ in range(settings.num_blocks)),
            *_normed(_transposed(4 * width, 2 * width), 2 * width),
            *_normed(_transposed(2 * width, width), width),
            nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, blurred_NCHW: Tensor) -> Tensor:
        """Restore, clamped to [0, 1] as the original is to [-1, 1]."""
        change: Tensor = self.layers(2 * blurred_NCHW - 1)
        return (blurred_NCHW + 0.5 * change).clamp(0, 1)


def _normed(convolution: nn.Module, width: int) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(width), nn.ReLU()


def _transposed(width: int, out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(width, out, 3, stride=2, padding=1, output_padding=1)


class MultiScaleDiscriminator(nn.Module):
    """Nah 2017, table 1: sharp or deblurred, one logit a frame; half as wide as the generator.

    The fully connected layer takes the mean over the last features, so crops may have any size.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for factor, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 4), (8, 1), (8, 4), (16, 1)):
            layers += [nn.Conv2d(channels, factor * width, 5, stride=stride, padding=2), nn.LeakyReLU(_SLOPE)]
            channels = factor * width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 1)

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        """Logits of sharp (N,)."""
        logits: Tensor = self.head(self.layers(frames_NCHW).mean((2, 3)))[:, 0]
        return logits


class DeblurGanCritic(nn.Module):
    """Kupyn 2018: pix2pix's 70-px patch discriminator with instance norm, as a Wasserstein critic."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        for factor, stride in ((2, 2), (4, 2), (8, 1)):
            before = width * factor // 2
            layers += [
                nn.Conv2d(before, width * factor, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(width * factor),
                nn.LeakyReLU(_SLOPE),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        """Scores (N,): high for sharp frames."""
        scores: Tensor = self.layers(frames_NCHW).mean((1, 2, 3))
        return scores


Baseline = MultiScaleCnn | DeblurGan


def build_baseline(kind: Kind, settings: BaselineSettings | None = None) -> Baseline:
    """A baseline with fresh weights, of its paper's size unless told otherwise."""
    chosen = settings or PAPER_SIZES[kind]
    return MultiScaleCnn(chosen) if kind == "multi_scale" else DeblurGan(chosen)
