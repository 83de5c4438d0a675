"""The networks of architecture `concert`: a generator that knows the blur it inverts.

The generator has two halves, which see different things. `BlurAnalysis` looks at the spectrum of each cell of the frame
and names its blur. The restoration (restoration.py) is a plain convolutional network, which engines other than torch
can run, in tiles if need be. Between the two stand the inverse filters of the cells.

Shape suffixes: N frames, C channels, H height, W width (h, w: in steps of HINT_PX), R rows and Q columns
of cells, M cells in a row, E embedding, G channels of guesses, K filters of the bank.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.blur.kernels import Kernel
from concertdeblur.frame import Medium
from concertdeblur.models.blocks import lowest_of_blocks
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.data_consistency import DataConsistency
from concertdeblur.models.inverse_filter import filter_frames
from concertdeblur.models.kernel_bank import num_filters, stronger
from concertdeblur.models.kernel_signatures import KernelSignatures
from concertdeblur.models.motion_prior import MotionPrior
from concertdeblur.models.path_windows import EXPOSURES
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared
from concertdeblur.models.restoration import PathRestoration, PictureRestoration
from concertdeblur.models.spectrum import BlurEmbedding, SpectrumDescriptor, luma

NUM_GUESSES = 4  # channels: the inverse-filtered frame in RGB, and the luma of the cautiously filtered one
# The types of blur that the analysis tells apart: none, the seven kernels, linear motion, and a camera's mixed blur.
BLUR_TYPES: tuple[str, ...] = ("sharp", *(kernel.value for kernel in Kernel), "motion", "capture")
# The probability that a cell is sharp: below the first the cell is changed in full, above the second it is left alone,
# and between them its share falls linearly. EXPERIMENTS.md, 2026-11-23, "constants of the generator".
_SHARP, _MAYBE_SHARP = BLUR_TYPES.index("sharp"), (0.1, 0.3)


# Smears in px. What is smeared less than the first is taken for sharp by _MAYBE_SHARP, what is smeared more than the
# second by _MAYBE_SHARP_MOVING: the restoration along the motion has learned on sharp moving frames, too, and
# changes them little. EXPERIMENTS.md, 2026-11-29, "how far may what moves be trusted".
_MOVING_PX = (0.25, 0.75)
_MAYBE_SHARP_MOVING = (0.3, 0.6)
# A frame is restored along its motion if its cells are, on average, blurred by motion or as a camera does it with at
# least this probability. Frames of real pairs have 0.04 to 0.94, frames under one of the seven kernels 0.01 at most.
_BY_CAMERA = [BLUR_TYPES.index("motion"), BLUR_TYPES.index("capture")]
_LEAST_BY_CAMERA = 0.02
# The filters of a video are regularised this many steps stronger. Bold filters amplify rounding, and what lies beyond
# the border, in another way in every frame, so the video flickers. EXPERIMENTS.md, 2026-11-23, "bold filters and
# steadiness".
_VIDEO_STEPS = 1
# Light is never negative. A guess below minus the first value is doubted, and one below minus the second is not
# believed: its filter undoes another blur than the place has. Guesses of real pairs reach -0.07, of pictures under the
# seven kernels -0.24, around a lamp that stands sharp in a soft scene -1.2. Rings reach so many HINT_PX further.
_NEGATIVE = (0.2, 0.35)
_RING_REACH = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """The answer of `BlurAnalysis` on M cells."""

    embedding_ME: Tensor
    filter_logits_MK: Tensor  # their softmax is the mixture of inverse filters
    type_logits: Tensor  # (M, len(BLUR_TYPES))
    level_M: Tensor  # estimated blur level, 0 to 1 where the type is not sharp

    @property
    def weights_MK(self) -> Tensor:
        """Weights of the inverse filters; each row sums to 1."""
        return self.filter_logits_MK.softmax(1)


class BlurAnalysis(nn.Module):
    """Names the blur of each cell by its spectrum, and by its motion where that is known."""

    def __init__(self, embedding_width: int) -> None:
        super().__init__()
        self.embedding = BlurEmbedding(embedding_width)
        self.signatures = KernelSignatures(embedding_width)
        self.filter_head = nn.Linear(embedding_width, num_filters())
        self.type_head = nn.Linear(embedding_width, len(BLUR_TYPES))
        self.level_head = nn.Linear(embedding_width, 1)
        self.motion_prior = MotionPrior(embedding_width)

    def forward(self, described_M2HF: Tensor, velocities_M3: Tensor | None = None) -> Analysis:
        """Analyse cells.

        Args:
            described_M2HF: Spectrum descriptors (M, 2, 64, 33).
            velocities_M3: Velocity of each cell: px a frame to the right, px a frame down, and 1 where it is known.
        """
        embedding_ME = self.embedding(described_M2HF) + self.signatures(described_M2HF)
        filter_logits_MK = self.filter_head(embedding_ME)
        if velocities_M3 is not None:
            bonus_MK, factor_M1 = self.motion_prior(velocities_M3, embedding_ME)
            filter_logits_MK = filter_logits_MK * factor_M1 + bonus_MK
        return Analysis(
            embedding_ME=embedding_ME,
            filter_logits_MK=filter_logits_MK,
            type_logits=self.type_head(embedding_ME),
            level_M=self.level_head(embedding_ME)[:, 0],
        )


class ConcertGenerator(nn.Module):
    """G_i of architecture `concert`: analysis, inverse filters, restoration."""

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int, num_deep_blocks: int = 0) -> None:
        super().__init__()
        self.descriptor = SpectrumDescriptor()
        self.analysis = BlurAnalysis(embedding_width)
        self.restoration = PictureRestoration(
            width=width,
            num_blocks=num_blocks,
            num_guesses=NUM_GUESSES,
            embedding_width=embedding_width,
            num_deep_blocks=num_deep_blocks,
        )

    def describe(self, frames_NCHW: Tensor) -> Tensor:
        """Spectrum descriptors (N, R, Q, 2, 64, 33) of the cells of whole frames."""
        described: Tensor = self.descriptor(frames_NCHW, BLUR_CELL_PX)
        return described

    def is_blurred_by_motion(self, described_NRQ: Tensor, velocities_NRQ3: Tensor | None) -> Tensor:
        """Whether motion may be what blurs the frames, and not one of the seven kernels; a bool, () on the device.

        Under those the restoration of pictures knows more. The arguments are those of `prepare`.
        """
        velocities_M3 = None if velocities_NRQ3 is None else velocities_NRQ3.flatten(0, 2)
        analysis: Analysis = self.analysis(described_NRQ.flatten(0, 2), velocities_M3)
        shares = analysis.type_logits.softmax(1).mean(0)
        return shares[_BY_CAMERA].sum() >= _LEAST_BY_CAMERA

    def prepare(
        self,
        frames_NCHW: Tensor,
        described_NRQ: Tensor,
        *,
        velocities_NRQ3: Tensor | None = None,
        path: PathSamples | None = None,
        medium: Medium = Medium.PICTURE,
    ) -> Prepared:
        """Do once a frame whatever looks beyond the receptive field of the restoration.

        Args:
            frames_NCHW: The frames without padding, since the filters reflect the picture at its own border.
            described_NRQ: The output of `describe`.
            velocities_NRQ3: Velocity of each cell, as `BlurAnalysis` takes it; None: nothing is known.
            path: Taps and smear of the frames; None: nothing is known of their motion.
            medium: What the frames are part of; the filters of a video are regularised `_VIDEO_STEPS` stronger.
        """
        num, rows, columns = described_NRQ.shape[:3]
        velocities_M3 = None if velocities_NRQ3 is None else velocities_NRQ3.flatten(0, 2)
        analysis: Analysis = self.analysis(described_NRQ.flatten(0, 2), velocities_M3)
        sharp_M = analysis.type_logits.softmax(1)[:, _SHARP]
        low, high = _MAYBE_SHARP
        weights_NRQK = analysis.weights_MK.view(num, rows, columns, -1)
        of_guess = stronger(weights_NRQK, steps=_VIDEO_STEPS) if medium is Medium.VIDEO else weights_NRQK
        height, width = frames_NCHW.shape[2:]
        trust_N1hw = spread(((high - sharp_M) / (high - low)).clamp(0, 1).view(num, rows, columns, 1), height, width)
        if path is not None:
            low, high = _MAYBE_SHARP_MOVING
            of_moving_M = ((high - sharp_M) / (high - low)).clamp(0, 1)
            of_moving = spread(of_moving_M.view(num, rows, columns, 1), height, width)
            trust_N1hw = torch.maximum(trust_N1hw, of_moving * _moving(path.smear_N2hw, like=trust_N1hw))
        guess_NGHW = filter_frames(frames_NCHW, of_guess)
        possible_N1hw = _possible(guess_NGHW)
        if path is None:
            trust_N1hw = trust_N1hw * possible_N1hw
        return Prepared(
            guess_NGHW=_as_far_as_possible(guess_NGHW, possible_N1hw, frames_NCHW),
            hints_NEhw=spread(analysis.embedding_ME.view(num, rows, columns, -1), height, width),
            trust_N1hw=trust_N1hw,
            consistency=DataConsistency(frames_NCHW, weights_NRQK),
            path=path,
        )


class ConcertPatchGenerator(nn.Module):
    """G_p of architecture `concert`, for pictures: it refines a window of the result.

    It is given G_i's hints and these guesses, in this order: the window after a bare step of data consistency (RGB),
    the window of the input (RGB), and the guesses of G_i.
    """

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int, num_deep_blocks: int = 0) -> None:
        super().__init__()
        self.restoration = PictureRestoration(
            width=width,
            num_blocks=num_blocks,
            num_guesses=6 + NUM_GUESSES,
            embedding_width=embedding_width,
            num_deep_blocks=num_deep_blocks,
        )


class ConcertPathGenerator(nn.Module):
    """G_p of architecture `concert`, for videos: it refines a window by the results of the neighbours.

    It starts from the window of the result. It is given these guesses, in this order: the window made consistent with
    the input for each exposure of `path_windows.EXPOSURES` (RGB each), and the luma of the input. Its taps are those
    of `path_taps`, sampled from the result and from the results of the frames beside it.
    """

    def __init__(self, *, width: int, num_blocks: int, num_deep_blocks: int) -> None:
        super().__init__()
        self.restoration = PathRestoration(
            width=width,
            num_blocks=num_blocks,
            num_guesses=3 * len(EXPOSURES) + 1,
            num_deep_blocks=num_deep_blocks,
        )


def _possible(guess_NGHW: Tensor) -> Tensor:
    """The share to which guesses can be believed, 0 to 1, a value for HINT_PX x HINT_PX: they may not be negative."""
    doubted, impossible = _NEGATIVE
    lowest_N1hw = lowest_of_blocks(guess_NGHW[:, :3], HINT_PX).amin(1, keepdim=True)
    possible = ((lowest_N1hw + impossible) / (impossible - doubted)).clamp(0, 1)
    return -F.max_pool2d(-possible, 2 * _RING_REACH + 1, stride=1, padding=_RING_REACH)


def _as_far_as_possible(guess_NGHW: Tensor, possible_N1hw: Tensor, frames_NCHW: Tensor) -> Tensor:
    """The guesses, and where they cannot be believed the frames themselves."""
    if possible_N1hw.device.type == "cpu" and possible_N1hw.detach().numpy().min() == 1:
        return guess_NGHW
    height, width = frames_NCHW.shape[2:]
    share_N1HW = F.interpolate(possible_N1hw, scale_factor=HINT_PX, mode="bilinear")[..., :height, :width]
    own_NGHW = torch.cat([frames_NCHW, luma(frames_NCHW)], 1)
    return torch.lerp(own_NGHW, guess_NGHW, share_N1HW)


def _moving(smear_N2hw: Tensor, *, like: Tensor) -> Tensor:
    """A map of the size of `like`: 0 where a place stands still, 1 where it moves."""
    speed_N1hw = F.adaptive_max_pool2d(smear_N2hw.norm(dim=1, keepdim=True), like.shape[2:])
    low, high = _MOVING_PX
    return ((speed_N1hw - low) / (high - low)).clamp(0, 1)


def spread(cells_NRQE: Tensor, height: int, width: int) -> Tensor:
    """Values of cells -> a smooth map, one value for each HINT_PX x HINT_PX; partial ones at the border count.

    The map has a cell's own value in the middle of the cell.
    """
    per_cell = BLUR_CELL_PX // HINT_PX
    values = cells_NRQE.permute(0, 3, 1, 2)
    smooth = F.interpolate(values, scale_factor=per_cell, mode="bilinear", align_corners=False)
    return smooth[:, :, : math.ceil(height / HINT_PX), : math.ceil(width / HINT_PX)].contiguous()
