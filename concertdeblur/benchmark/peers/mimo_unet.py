"""MIMO-UNet (Cho et al. 2021): one U-Net that takes the frame at three sizes and gives three results.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDTH = 32  # channels at full size, twice as many at half and four times at a quarter


class _Residual(nn.Module):
    """Two 3x3 convolutions added to what goes in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = features + self.layers(features)
        return made


class _ShallowFeatures(nn.Module):
    """The shallow convolutional module: features of a smaller frame, joined to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, half = channels // 4, channels // 2
        self.layers = nn.Sequential(
            *_active(nn.Conv2d(3, quarter, 3, padding=1)),
            *_active(nn.Conv2d(quarter, half, 1)),
            *_active(nn.Conv2d(half, half, 3, padding=1)),
            *_active(nn.Conv2d(half, channels - 3, 1)),
        )
        self.join = nn.Conv2d(channels, channels, 1)

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        made: Tensor = self.join(torch.cat([frames_NCHW, self.layers(frames_NCHW)], 1))
        return made


class _AsymmetricFusion(nn.Module):
    """Asymmetric feature fusion: the features of all three levels for one of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_active(nn.Conv2d(7 * _WIDTH, channels, 1)), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, *levels: Tensor) -> Tensor:
        made: Tensor = self.layers(torch.cat(levels, 1))
        return made


class MimoUNet(nn.Module):
    """Cho 2021: (N, 3, H, W) in [0, 1] to the same; H and W must be multiples of `multiple_px`.

    All three results are computed, as in the published timings; the finest one is returned.

    Args:
        num_blocks: Residual blocks a level, in the encoder and in the decoder: 8, and 20 in MIMO-UNet+.
    """

    multiple_px = 4

    def __init__(self, num_blocks: int = 8) -> None:
        super().__init__()
        full, half, quarter = _WIDTH, 2 * _WIDTH, 4 * _WIDTH
        self.first = nn.Sequential(*_active(nn.Conv2d(3, full, 3, padding=1)))
        self.downs = nn.ModuleList(
            [nn.Sequential(*_active(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1))) for c in (full, half)]
        )
        self.ups = nn.ModuleList(
            [nn.Sequential(*_active(nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1))) for c in (quarter, half)]
        )
        self.shallow = nn.ModuleList([_ShallowFeatures(c) for c in (half, quarter)])
        self.attend = nn.ModuleList([nn.Conv2d(c, c, 3, padding=1) for c in (half, quarter)])
        self.encoders = nn.ModuleList([_blocks(c, num_blocks) for c in (full, half, quarter)])
        self.decoders = nn.ModuleList([_blocks(c, num_blocks) for c in (quarter, half, full)])
        self.fusions = nn.ModuleList([_AsymmetricFusion(c) for c in (half, full)])
        self.narrow = nn.ModuleList([nn.Sequential(*_active(nn.Conv2d(2 * c, c, 1))) for c in (half, full)])
        self.lasts = nn.ModuleList([nn.Conv2d(c, 3, 3, padding=1) for c in (quarter, half, full)])

    def forward(self, blurred_NCHW: Tensor) -> Tensor:
        """The result of full size."""
        return self.pyramid(blurred_NCHW)[-1]

    def pyramid(self, blurred_NCHW: Tensor) -> list[Tensor]:
        """The results of a quarter, half and full size."""
        half = F.interpolate(blurred_NCHW, scale_factor=0.5)
        frames = [F.interpolate(half, scale_factor=0.5), half, blurred_NCHW]
        full_features, half_features, features = self._encoded(*reversed(frames))
        skips = (
            self.fusions[0](_shrunk(full_features), half_features, _enlarged(features, 2)),
            self.fusions[1](full_features, _enlarged(half_features, 2), _enlarged(features, 4)),
        )
        results = []
        for level, (frame, decoder, last) in enumerate(zip(frames, self.decoders, self.lasts, strict=True)):
            if level:
                joined = torch.cat([self.ups[level - 1](features), skips[level - 1]], 1)
                features = self.narrow[level - 1](joined)
            features = decoder(features)
            results.append(last(features) + frame)
        return results

    def _encoded(self, blurred: Tensor, half: Tensor, quarter: Tensor) -> list[Tensor]:
        """Features of the three levels, finest first; feature attention adds the smaller frames."""
        levels = [self.encoders[0](self.first(blurred))]
        for number, frame in enumerate((half, quarter)):
            features = self.downs[number](levels[-1])
            features = features + self.attend[number](features * self.shallow[number](frame))
            levels.append(self.encoders[number + 1](features))
        return levels


def _active(convolution: nn.Module) -> tuple[nn.Module, ...]:
    return convolution, nn.ReLU()


def _blocks(channels: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(channels) for _ in range(number)))


def _shrunk(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=0.5)


def _enlarged(features: Tensor, factor: int) -> Tensor:
    return F.interpolate(features, scale_factor=factor)
