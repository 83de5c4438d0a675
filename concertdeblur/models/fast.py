"""The fast networks of recipe `concert`: a generator that knows the blur it inverts.

The generator's two halves are kept apart because they see different things. `BlurAnalysis` looks at
the spectrum of each cell of the frame and says which blur it is; `Restoration` is a plain convolutional
network with a bounded receptive field, so it can be tiled, and has no FFT, so it can leave torch.
Between them stand the inverse filters of the same cells.

Shape suffixes: N frames, C channels, H height, W width (h, w: in steps of HINT_PX), R rows and Q columns
of cells, M cells in a row, E embedding, G channels of guesses, K filters of the bank.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.blur.kernels import Kernel
from concertdeblur.models.data_consistency import DataConsistency
from concertdeblur.models.inverse_filter import CELL_PX, filter_frames, num_filters, stronger
from concertdeblur.models.prepared import HINT_PX, Prepared
from concertdeblur.models.spectrum import BlurEmbedding, SpectrumDescriptor

UNSHUFFLE = 4  # dense 3x3 convolutions at a quarter of the resolution: the most dB a CPU second
NUM_GUESSES = 4  # channels: the inverse-filtered frame, and the luma of the cautiously filtered one
_NUM_HINTS = 32
# What the type head tells apart: sharp, the seven kernels, linear motion, and what a camera does.
BLUR_TYPES: tuple[str, ...] = ("sharp", *(kernel.value for kernel in Kernel), "motion", "capture")
# A cell that is more likely sharp than not is left alone; from a quarter on it is changed less and less.
_SHARP = BLUR_TYPES.index("sharp")


# The boldest filters gain the most on one picture, but they amplify rounding and what lies beyond the border, in every
# frame in another way: on a noise-free pan along the blur 1.5 times the original's warping error, 0.9 times so.
_STREAM_STEPS = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """What `BlurAnalysis` says of M cells."""

    embedding_ME: Tensor
    filter_logits_MK: Tensor  # their softmax weighs the inverse filters
    type_logits: Tensor  # (M, len(BLUR_TYPES))
    level_M: Tensor  # estimated blur level, 0 to 1 where the type is not sharp

    @property
    def weights_MK(self) -> Tensor:
        """Weights of the inverse filters; each row sums to 1."""
        return self.filter_logits_MK.softmax(1)


class BlurAnalysis(nn.Module):
    """Names the blur of each cell from its spectrum."""

    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        self.embedding = BlurEmbedding(embedding_width)
        self.filter_head = nn.Linear(embedding_width, num_filters())
        self.type_head = nn.Linear(embedding_width, len(BLUR_TYPES))
        self.level_head = nn.Linear(embedding_width, 1)

    def forward(self, described_M2HF: Tensor) -> Analysis:
        """Analyse cells by their spectrum descriptors (M, 2, 64, 33)."""
        embedding_ME = self.embedding(described_M2HF)
        return Analysis(
            embedding_ME=embedding_ME,
            filter_logits_MK=self.filter_head(embedding_ME),
            type_logits=self.type_head(embedding_ME),
            level_M=self.level_head(embedding_ME)[:, 0],
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)  # blocks start close to identity

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, h, w) -> the same."""
        out: Tensor = features + self.conv2(F.relu(self.conv1(features)))
        return out


class Restoration(nn.Module):
    """A frame, guesses at the result and hints at its blur -> the restored frame; the body of G_i and of G_p.

    The output leads from the frame towards each guess pixel by pixel (gates), plus a correction; all start at
    zero, so an untrained network is the identity. The last guess is a luma, the others are RGB.
    """

    def __init__(self, *, width: int, num_blocks: int, num_guesses: int, embedding_width: int) -> None:
        super().__init__()
        self.hint = nn.Conv2d(embedding_width, _NUM_HINTS, 1)
        self.head = nn.Conv2d((3 + num_guesses) * UNSHUFFLE**2 + _NUM_HINTS, width, 3, padding=1)
        self.blocks = nn.ModuleList([ResidualBlock(width) for _ in range(num_blocks)])
        self.tail = nn.Conv2d(width, (3 + num_guesses) * UNSHUFFLE**2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    multiple_px = HINT_PX

    @property
    def receptive_margin_px(self) -> int:
        """How far beyond a pixel the network looks, in px: one unshuffled cell a convolution and one more."""
        return UNSHUFFLE * (2 * len(self.blocks) + 3)

    def forward(self, frames_NCHW: Tensor, guess_NGHW: Tensor, hints_NEhw: Tensor) -> Tensor:
        """Restore; H and W must be multiples of HINT_PX. Output is not clamped."""
        hints = F.interpolate(self.hint(hints_NEhw), scale_factor=HINT_PX // UNSHUFFLE, mode="nearest")
        views = F.pixel_unshuffle(torch.cat([frames_NCHW, guess_NGHW], dim=1), UNSHUFFLE)
        features = self.head(torch.cat([views, hints], dim=1))
        for block in self.blocks:
            features = block(features)
        out = F.pixel_shuffle(self.tail(F.relu(features)), UNSHUFFLE)
        brightness = (frames_NCHW * frames_NCHW.new_tensor([[[[0.299]], [[0.587]], [[0.114]]]])).sum(1, keepdim=True)
        restored = frames_NCHW + out[:, :3] + out[:, 3:4] * (guess_NGHW[:, -1:] - brightness)
        for first in range(0, guess_NGHW.shape[1] - 1, 3):
            gate = out[:, first + 4 : first + 7]
            restored = restored + gate * (guess_NGHW[:, first : first + 3] - frames_NCHW)
        return restored


class FastGenerator(nn.Module):
    """G_i of recipe `concert`: analysis, inverse filters, restoration."""

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int) -> None:
        super().__init__()
        self.descriptor = SpectrumDescriptor()
        self.analysis = BlurAnalysis(embedding_width)
        self.restoration = Restoration(
            width=width, num_blocks=num_blocks, num_guesses=NUM_GUESSES, embedding_width=embedding_width
        )

    def describe(self, frames_NCHW: Tensor) -> Tensor:
        """Spectrum descriptors (N, R, Q, 2, 64, 33) of the cells of whole frames."""
        described: Tensor = self.descriptor(frames_NCHW, CELL_PX)
        return described

    def prepare(self, frames_NCHW: Tensor, described_NRQ: Tensor, *, is_stream: bool = False) -> Prepared:
        """What looks beyond the receptive field, once a frame.

        Frames come as they are, not padded: the filters reflect the picture at its own border. For frames of a
        stream they are regularised `_STREAM_STEPS` stronger than for a picture.
        """
        num, rows, columns = described_NRQ.shape[:3]
        analysis: Analysis = self.analysis(described_NRQ.flatten(0, 2))
        sharp_M = analysis.type_logits.softmax(1)[:, _SHARP]
        weights_NRQK = analysis.weights_MK.view(num, rows, columns, -1)
        of_guess = stronger(weights_NRQK, steps=_STREAM_STEPS) if is_stream else weights_NRQK
        height, width = frames_NCHW.shape[2:]
        return Prepared(
            guess_NGHW=filter_frames(frames_NCHW, of_guess),
            hints_NEhw=spread(analysis.embedding_ME.view(num, rows, columns, -1), height, width),
            trust_N1hw=spread((2 - 4 * sharp_M).clamp(0, 1).view(num, rows, columns, 1), height, width),
            consistency=DataConsistency(frames_NCHW, weights_NRQK),
        )


class FastPatchGenerator(nn.Module):
    """G_p of recipe `concert`: told what the result lacks of the input, and all that G_i was told.

    Its guesses are, in this order: the data-consistent window (RGB), the blurred one (RGB), those of G_i.
    """

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int) -> None:
        super().__init__()
        self.restoration = Restoration(
            width=width, num_blocks=num_blocks, num_guesses=6 + NUM_GUESSES, embedding_width=embedding_width
        )


def spread(cells_NRQE: Tensor, height: int, width: int) -> Tensor:
    """Values of cells -> a smooth map, one value for HINT_PX x HINT_PX begun, exact in the cells' middles."""
    per_cell = CELL_PX // HINT_PX
    values = cells_NRQE.permute(0, 3, 1, 2)
    smooth = F.interpolate(values, scale_factor=per_cell, mode="bilinear", align_corners=False)
    return smooth[:, :, : math.ceil(height / HINT_PX), : math.ceil(width / HINT_PX)].contiguous()
