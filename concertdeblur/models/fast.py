"""The fast networks of recipe `concert`: a generator that knows the blur it inverts.

The generator's two halves are kept apart because they see different things. `BlurAnalysis` looks at
the whole frame once (its spectrum) and says which blur it is; `Restoration` is a plain convolutional
network with a bounded receptive field, so it can be tiled, and has no FFT, so it can leave torch.
Between them stands the inverse filter, on a fixed grid of windows.

Shape suffixes: N frames, C channels, H height, W width (h, w: after unshuffling), E embedding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.blur.kernels import Kernel
from concertdeblur.models.inverse_filter import NOISE_TO_SIGNAL, filter_frames, filter_weights, kernel_bank
from concertdeblur.models.prepared import Prepared
from concertdeblur.models.spectrum import BlurEmbedding, SpectrumDescriptor, frame_stride_px

UNSHUFFLE = 4  # dense 3x3 convolutions at a quarter of the resolution: the most dB a CPU second
# What the type head tells apart: sharp, the seven kernels, and linear motion at another angle.
BLUR_TYPES: tuple[str, ...] = ("sharp", *(kernel.value for kernel in Kernel), "motion")

# Where nothing can be won: a frame that is more likely than not one of these is not changed at all; from a quarter
# on, less and less.
# Restoring bilateral smoothing, which removed texture and kept edges, loses 0.02 dB on average (run B).
_HOPELESS_TYPES = [BLUR_TYPES.index("sharp"), BLUR_TYPES.index(Kernel.BILATERAL.value)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """What `BlurAnalysis` says of N frames."""

    embedding_NE: Tensor
    weights_NK: Tensor  # of the inverse filters; each row sums to 1
    type_logits: Tensor  # (N, len(BLUR_TYPES))
    level_N: Tensor  # estimated blur level, 0 to 1 where the type is not sharp


class BlurAnalysis(nn.Module):
    """Names a frame's blur from its spectrum: frames (N, 3, H, W) in [0, 1] -> `Analysis`."""

    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        self.descriptor = SpectrumDescriptor()
        self.embedding = BlurEmbedding(embedding_width)
        self.kernel_head = nn.Linear(embedding_width, len(kernel_bank()))
        self.noise_head = nn.Linear(embedding_width, len(NOISE_TO_SIGNAL))
        self.type_head = nn.Linear(embedding_width, len(BLUR_TYPES))
        self.level_head = nn.Linear(embedding_width, 1)

    def forward(self, frames_NCHW: Tensor, stride_px: int) -> Analysis:
        """Analyse each frame from windows `stride_px` apart."""
        return self.read(self.descriptor(frames_NCHW, stride_px))

    def read(self, described: Tensor) -> Analysis:
        """Analyse frames whose spectrum descriptors (N, 2, 64, 33) are known."""
        embedding_NE = self.embedding(described)
        return Analysis(
            embedding_NE=embedding_NE,
            weights_NK=filter_weights(self.kernel_head(embedding_NE), self.noise_head(embedding_NE)),
            type_logits=self.type_head(embedding_NE),
            level_N=self.level_head(embedding_NE)[:, 0],
        )


class ModulatedBlock(nn.Module):
    """Residual block of two 3x3 convolutions, modulated by an embedding (FiLM; Perez et al. 2018)."""

    def __init__(self, width: int, embedding_width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding_width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)  # blocks start close to identity

    def forward(self, features: Tensor, embedding_NE: Tensor) -> Tensor:
        """(N, width, h, w), (N, E) -> (N, width, h, w)."""
        scale, shift = self.modulation(embedding_NE)[:, :, None, None].chunk(2, dim=1)
        hidden = F.relu(self.conv1(features) * (1 + scale) + shift)
        out: Tensor = features + self.conv2(hidden)
        return out


class Restoration(nn.Module):
    """Two views of a frame -> the restored frame; the body of G_i and of G_p.

    The views are the frame to restore and a guess at the result (G_i: the inverse-filtered frame;
    G_p: the blurred input under the current result). The output leads from the frame towards the
    guess pixel by pixel (a gate), plus a correction; both start at zero, so an untrained network is
    the identity.
    """

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(6 * UNSHUFFLE**2, width, 3, padding=1)
        self.blocks = nn.ModuleList([ModulatedBlock(width, embedding_width) for _ in range(num_blocks)])
        self.tail = nn.Conv2d(width, 4 * UNSHUFFLE**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    multiple_px = UNSHUFFLE

    @property
    def receptive_margin_px(self) -> int:
        """How far beyond a pixel the network looks, in px: one unshuffled cell a convolution and one more."""
        return UNSHUFFLE * (2 * len(self.blocks) + 3)

    def forward(self, frames_NCHW: Tensor, guess_NCHW: Tensor, embedding_NE: Tensor) -> Tensor:
        """Restore; H and W must be multiples of `UNSHUFFLE`. Output is not clamped."""
        views = torch.cat([frames_NCHW, guess_NCHW], dim=1)
        features = self.head(F.pixel_unshuffle(views, UNSHUFFLE))
        for block in self.blocks:
            features = block(features, embedding_NE)
        out = F.pixel_shuffle(self.tail(F.relu(features)), UNSHUFFLE)
        return frames_NCHW + out[:, 3:] * (guess_NCHW - frames_NCHW) + out[:, :3]


class FastGenerator(nn.Module):
    """G_i of recipe `concert`: analysis, inverse filter, restoration."""

    def __init__(self, *, width: int = 48, num_blocks: int = 8, embedding_width: int = 128) -> None:
        super().__init__()
        self.analysis = BlurAnalysis(embedding_width)
        self.restoration = Restoration(width=width, num_blocks=num_blocks, embedding_width=embedding_width)

    def describe(self, frames_NCHW: Tensor) -> Tensor:
        """Spectrum descriptors (N, 2, 64, 33) of whole frames."""
        described: Tensor = self.analysis.descriptor(frames_NCHW, frame_stride_px(*frames_NCHW.shape[2:]))
        return described

    def prepare(self, frames_NCHW: Tensor, described: Tensor) -> Prepared:
        """What looks beyond the receptive field, once a frame."""
        analysis = self.analysis.read(described)
        hopeless = analysis.type_logits.softmax(1)[:, _HOPELESS_TYPES].sum(1)
        return Prepared(
            guess_NCHW=filter_frames(frames_NCHW, analysis.weights_NK),
            embedding_NE=analysis.embedding_NE,
            trust_N=(2 - 4 * hopeless).clamp(0, 1),
        )


class FastPatchGenerator(nn.Module):
    """G_p of recipe `concert`: told the blurred input under the window and the blur of the frame."""

    def __init__(self, *, width: int = 48, num_blocks: int = 3, embedding_width: int = 128) -> None:
        super().__init__()
        self.restoration = Restoration(width=width, num_blocks=num_blocks, embedding_width=embedding_width)
