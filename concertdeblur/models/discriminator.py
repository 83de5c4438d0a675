"""CAM discriminators: is X sharp or blurred, given B, and where (paper section 3.3, equation 2).

The paper's and ours end alike: features f_k after the last activation, their mean over space, and one fully connected
layer to two classes. The features are not normalised, since then their mean would carry nothing. A softmax over two
classes trains only the difference of their weights, so w^b = -w^s and H^b = -H^s (docs/method.md). So there is one map,
H^s - H^b = 2 w . f + bias. Its mean is delta, the logit of sharp over blur. The heatmap of equation 2 is
H^b = -(map) / 2, which ranks windows in the same order.
"""

from typing import cast

import torch
from torch import Tensor, nn

_SLOPE = 0.2  # of LeakyReLU, as in pix2pix


class CamHead(nn.Module):
    """Class activation map of the class sharp over blur: features (N, K, h, w) -> (N, h, w), fp32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """The map H^s - H^b; its mean over a region is that region's delta."""
        with torch.autocast(features.device.type, enabled=False):
            scores: Tensor = self.weights(features.float())
        return scores[:, 0]


class CamDiscriminator(nn.Module):
    """A CAM discriminator: blurred B and candidate X, each (N, 3, H, W), to the map (N, h, w)."""

    stride_px: int  # input px for one cell of the map
    receptive_margin_px: int | None  # how far beyond its cell a map value looks; None: at the whole picture

    def __init__(self, layers: nn.Sequential, width: int) -> None:
        super().__init__()
        self.layers = layers
        self.head = CamHead(width)

    def forward(self, blurred_NCHW: Tensor, candidate_NCHW: Tensor) -> Tensor:
        """The map H^s - H^b: positive where the candidate looks sharp, negative where blurred."""
        features = self.layers(torch.cat([blurred_NCHW, candidate_NCHW], dim=1))
        return cast(Tensor, self.head(features))


class PaperDiscriminator(CamDiscriminator):
    """The paper's D: pix2pix's conv1 to conv4 with strides 2, 2, 2, 1, and instance norm in conv2 and conv3."""

    stride_px = 8
    receptive_margin_px = None

    def __init__(self, width: int = 64) -> None:
        super().__init__(
            nn.Sequential(
                nn.Conv2d(6, width, 4, stride=2, padding=1),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.InstanceNorm2d(2 * width),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
                nn.InstanceNorm2d(4 * width),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(4 * width, 8 * width, 4, stride=1, padding=1),
                nn.LeakyReLU(_SLOPE),
            ),
            8 * width,
        )


class ConcertDiscriminator(CamDiscriminator):
    """D_i and D_p of architecture `concert`: pixels unshuffled by 4, three convolutions, no normalisation.

    A map value sees its 8-px cell, 12 px before it and 8 px after it.
    """

    stride_px = 8
    receptive_margin_px = 16  # rounded up to whole cells

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Sequential(
                nn.PixelUnshuffle(4),
                nn.Conv2d(96, width, 1),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
                nn.LeakyReLU(_SLOPE),
            ),
            2 * width,
        )
