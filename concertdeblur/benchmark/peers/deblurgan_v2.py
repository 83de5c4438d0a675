"""DeblurGAN-v2 with its light backbone (Kupyn et al. 2019): a feature pyramid over MobileNetV2.

The backbone is that of Sandler et al. 2018 (table 2). The pyramid takes the outputs of its stages at 1/2, 1/4, ... 1/32
of the resolution. The last stages, which classify, are left out.

Shape suffixes: N frames, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EXPANSION = 6
# The stages of MobileNetV2; each has half the resolution of the one before, except the fourth
_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 2, 2))  # channels, blocks, stride of the first
_PYRAMID_WIDTH, _HEAD_WIDTH = 128, 64


class InvertedResidual(nn.Module):
    """Sandler 2018, section 3.3: a 1x1 convolution widens, a 3x3 one works by channel, a linear one narrows."""

    def __init__(self, channels: int, out: int, *, stride: int, expansion: int = _EXPANSION) -> None:
        super().__init__()
        wide = channels * expansion
        self.is_added = stride == 1 and channels == out
        self.layers = nn.Sequential(
            *(_normed(nn.Conv2d(channels, wide, 1, bias=False)) if expansion > 1 else ()),
            *_normed(nn.Conv2d(wide, wide, 3, stride=stride, padding=1, groups=wide, bias=False)),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, out, H / stride, W / stride)."""
        made: Tensor = self.layers(features)
        return features + made if self.is_added else made


class MobileNetV2(nn.Module):
    """The first stages of MobileNetV2: five maps of 16, 24, 32, 64 and 160 channels, at 1/2 to 1/32."""

    channels = (16, 24, 32, 64, 160)

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.stages = nn.ModuleList([nn.Sequential(*_normed(stem), InvertedResidual(32, 16, stride=1, expansion=1))])
        layers: list[nn.Module] = []
        before = 16
        for channels, num_blocks, stride in _STAGES:
            for number in range(num_blocks):
                layers.append(InvertedResidual(before, channels, stride=stride if number == 0 else 1))
                before = channels
            if channels in self.channels:
                self.stages.append(nn.Sequential(*layers))
                layers = []

    def forward(self, frames_NCHW: Tensor) -> list[Tensor]:
        """The maps, finest first."""
        maps = []
        features = frames_NCHW
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class DeblurGanV2(nn.Module):
    """Kupyn 2019, section 3.1: (N, 3, H, W) in [0, 1] to the same; H and W must be multiples of `multiple_px`."""

    multiple_px = 32

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        half, *deeper = MobileNetV2.channels
        self.skip = nn.Conv2d(half, _HEAD_WIDTH, 1, bias=False)
        self.laterals = nn.ModuleList([nn.Conv2d(channels, _PYRAMID_WIDTH, 1, bias=False) for channels in deeper])
        self.merges = nn.ModuleList([_smoothing(_PYRAMID_WIDTH, _PYRAMID_WIDTH) for _ in deeper[:-1]])
        self.heads = nn.ModuleList([_head() for _ in deeper])
        self.smooth = _smoothing(len(deeper) * _HEAD_WIDTH, _HEAD_WIDTH)
        self.smooth_half = _smoothing(_HEAD_WIDTH, _HEAD_WIDTH // 2)
        self.last = nn.Conv2d(_HEAD_WIDTH // 2, 3, 3, padding=1)

    def forward(self, blurred_NCHW: Tensor) -> Tensor:
        """Restore the frame: the network's output is added to it."""
        frames = 2 * blurred_NCHW - 1
        half, *maps = self.backbone(frames)
        levels = self._top_down(maps)
        scaled = [_enlarged(head(level), 2**n) for n, (head, level) in enumerate(zip(self.heads, levels, strict=True))]
        features = self.smooth(torch.cat(scaled, 1))
        features = self.smooth_half(_enlarged(features, 2) + self.skip(half))
        change = torch.tanh(self.last(_enlarged(features, 2)))
        return ((frames + change).clamp(-1, 1) + 1) / 2

    def _top_down(self, maps: list[Tensor]) -> list[Tensor]:
        """The pyramid, finest level first: the coarser level is enlarged and added to each map."""
        sides = [lateral(features) for lateral, features in zip(self.laterals, maps, strict=True)]
        levels = [sides[-1]]
        for side, merge in zip(reversed(sides[:-1]), self.merges, strict=True):
            levels.insert(0, merge(side + _enlarged(levels[0], 2)))
        return levels


def _normed(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU6()


def _smoothing(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.InstanceNorm2d(out), nn.ReLU())


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(_PYRAMID_WIDTH, _HEAD_WIDTH, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(_HEAD_WIDTH, _HEAD_WIDTH, 3, padding=1, bias=False),
        nn.ReLU(),
    )


def _enlarged(features: Tensor, factor: int) -> Tensor:
    return features if factor == 1 else F.interpolate(features, scale_factor=factor, mode="nearest")
