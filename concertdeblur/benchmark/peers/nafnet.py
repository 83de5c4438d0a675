"""NAFNet (Chen et al. 2022): a U-Net of blocks without activation functions, sized as for GOPRO.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

# Blocks of the model for GOPRO, which has one more in the middle, and one at each level of the decoder.
_ENCODER_BLOCKS = (1, 1, 1, 28)


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        centred = features - features.mean(1, keepdim=True)
        spread = (centred * centred).mean(1, keepdim=True) + 1e-6
        return centred * spread.rsqrt() * self.weight + self.bias


class _SimpleGate(nn.Module):
    """One half of the channels times the other (equation 4)."""

    def forward(self, features: Tensor) -> Tensor:
        first, second = features.chunk(2, 1)
        return first * second


class _ChannelAttention(nn.Module):
    """Simplified channel attention (equation 7): each channel is multiplied by a weight made of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        weights: Tensor = self.weigh(features.mean((2, 3), keepdim=True))
        return features * weights


class _Block(nn.Module):
    """Figure 3d: a spatial part and a part for each pixel alone; both are scaled and added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            _ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            _SimpleGate(),
            _ChannelAttention(channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.pixelwise = nn.Sequential(
            _ChannelNorm(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            _SimpleGate(),
            nn.Conv2d(channels, channels, 1),
        )
        # the paper begins with zeros, but a compiler might leave out products with zero
        self.scales = nn.Parameter(torch.full((2, channels, 1, 1), 0.1))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.scales[0] * self.spatial(features)
        made: Tensor = features + self.scales[1] * self.pixelwise(features)
        return made


class NafNet(nn.Module):
    """Chen 2022: (N, 3, H, W) in [0, 1] to the same; H and W must be multiples of `multiple_px`.

    Args:
        width: Channels at full resolution, 32 or 64 in the paper.
    """

    multiple_px = 16

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        channels = width
        for num_blocks in _ENCODER_BLOCKS:
            self.encoders.append(nn.Sequential(*(_Block(channels) for _ in range(num_blocks))))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle = _Block(channels)
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for _ in _ENCODER_BLOCKS:
            self.ups.append(nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(_Block(channels))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, blurred_NCHW: Tensor) -> Tensor:
        """Restore the frame: the network's output is added to it."""
        features = self.first(blurred_NCHW)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            features = decoder(up(features) + skip)
        made: Tensor = blurred_NCHW + self.last(features)
        return made
