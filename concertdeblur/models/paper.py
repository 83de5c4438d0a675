"""The paper's generators: pix2pix U-Nets (paper section 3.2; Isola et al. 2017, appendix 6.1).

U-Net-256 has 8 stride-2 levels and 54.4 M parameters; U-Net-128 has 7 levels. All layers have instance norm, except the
outermost ones and the 1x1 bottleneck, where it would give zero. Dropout 0.5 in the inner decoder levels is the noise z
of the paper; recipe `paper` may keep it on at test time, as the paper does.

Shape suffixes: N frames, C channels, H height, W width.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.frame import Medium
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared

_SLOPE = 0.2
_DROPOUT_LEVELS = 3


class UNet(nn.Module):
    """pix2pix U-Net: (N, 3, H, W) in [0, 1] to the same; H and W must be multiples of `multiple_px`."""

    def __init__(self, *, num_levels: int, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.multiple_px = 2**num_levels
        widths = [width * min(2**level, 8) for level in range(num_levels)]
        innermost = num_levels - 1
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, out_width in enumerate(widths):
            in_width = 3 if level == 0 else widths[level - 1]
            normed = 0 < level < innermost
            conv = nn.Conv2d(in_width, out_width, 4, stride=2, padding=1)
            self.downs.append(nn.Sequential(conv, nn.InstanceNorm2d(out_width)) if normed else nn.Sequential(conv))
            above = 3 if level == 0 else widths[level - 1]
            below = out_width if level == innermost else 2 * out_width
            up = nn.ConvTranspose2d(below, above, 4, stride=2, padding=1)
            dropped = innermost - _DROPOUT_LEVELS <= level < innermost and num_levels > _DROPOUT_LEVELS + 1
            layers = [up] if level == 0 else [up, nn.InstanceNorm2d(above)]
            self.ups.append(nn.Sequential(*layers, nn.Dropout(dropout)) if dropped else nn.Sequential(*layers))

    def forward(self, frames_NCHW: Tensor) -> Tensor:
        """Deblur; the output lies in [0, 1] (tanh, rescaled)."""
        features = frames_NCHW * 2 - 1
        skips: list[Tensor] = []
        for level, down in enumerate(self.downs):
            features = down(features if level == 0 else F.leaky_relu(features, _SLOPE))
            skips.append(features)
        for level in reversed(range(len(self.ups))):
            if level < len(self.ups) - 1:
                features = torch.cat([skips[level], features], dim=1)
            features = self.ups[level](F.relu(features))
        return torch.tanh(features) / 2 + 0.5


class PaperGenerator(nn.Module):
    """G_i of architecture `paper`, with the interface of `concert`; it takes neither guesses nor hints."""

    def __init__(self, *, width: int = 64, num_levels: int = 8) -> None:
        super().__init__()
        self.restoration = _IgnoresContext(UNet(num_levels=num_levels, width=width))

    def describe(self, frames_NCHW: Tensor) -> Tensor:
        """An empty descriptor (N, 0), since no spectrum is needed."""
        return frames_NCHW.new_zeros(len(frames_NCHW), 0)

    def is_blurred_by_motion(self, described: Tensor, velocities_NRQ3: Tensor | None) -> Tensor:  # noqa: ARG002
        """Never, since nothing is analysed and no path is taken."""
        return torch.zeros((), dtype=torch.bool, device=described.device)

    def prepare(
        self,
        frames_NCHW: Tensor,
        described: Tensor,
        *,
        velocities_NRQ3: Tensor | None = None,  # noqa: ARG002 - as that of `concert`
        path: PathSamples | None = None,  # noqa: ARG002 - as that of `concert`
        medium: Medium = Medium.PICTURE,  # noqa: ARG002 - as that of `concert`
    ) -> Prepared:
        """No guesses, no hints and full trust, since nothing is analysed."""
        num, _, height, width = frames_NCHW.shape
        trust_N1hw = described.new_ones(num, 1, math.ceil(height / HINT_PX), math.ceil(width / HINT_PX))
        return Prepared(guess_NGHW=frames_NCHW[:, :0], hints_NEhw=trust_N1hw[:, :0], trust_N1hw=trust_N1hw)


class PaperPatchGenerator(nn.Module):
    """G_p of architecture `paper`: the 7-level U-Net-128 on windows of the current result alone."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.restoration = _IgnoresContext(UNet(num_levels=7, width=width))


class _IgnoresContext(nn.Module):
    """(frames, guesses, hints) -> unet(frames)."""

    receptive_margin_px: int | None = None  # instance norm sees the whole tile

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet
        self.multiple_px = unet.multiple_px

    def forward(self, frames_NCHW: Tensor, *_context: Tensor) -> Tensor:
        return cast(Tensor, self.unet(frames_NCHW))
