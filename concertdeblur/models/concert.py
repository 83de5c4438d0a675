"""The networks of architecture `concert`: a generator that knows the blur it inverts.

The generator has two halves, which see different things. `BlurAnalysis` looks at the spectrum of each cell of the frame
and names its blur. `Restoration` is a plain convolutional network: its receptive field is bounded, so it can be tiled,
and it has no FFT, so engines other than torch can run it. Between the two stand the inverse filters of the cells.

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
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.data_consistency import DataConsistency
from concertdeblur.models.inverse_filter import filter_frames
from concertdeblur.models.kernel_bank import num_filters, stronger
from concertdeblur.models.kernel_signatures import KernelSignatures
from concertdeblur.models.motion_prior import MotionPrior
from concertdeblur.models.path_taps import ALONG, SOFT_PX
from concertdeblur.models.path_windows import EXPOSURES
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared
from concertdeblur.models.spectrum import BlurEmbedding, SpectrumDescriptor

UNSHUFFLE = 4  # dense 3x3 convolutions at a quarter of the resolution give the most dB for a second of a CPU
NUM_GUESSES = 4  # channels: the inverse-filtered frame in RGB, and the luma of the cautiously filtered one
_NUM_HINTS = 32
_NORM_EPSILON = 1e-6
# These bring what goes in and out to the order of 1: guesses differ from the frame by some hundredths, taps by more.
_STEP_GAIN, _TAP_GAIN, _CORRECTION_GAIN = 8.0, 4.0, 0.25
_NUM_VELOCITIES = 4  # channels that say how a place moves: x, y, speed and the logarithm of the speed
_VELOCITY_UNIT_PX = 16.0
_NUM_OWN = len(ALONG) + len(SOFT_PX)  # taps of the frame itself, which come first
# A neighbour's sample may leave the range of the frame's own ones by _NEIGHBOUR_ROOM and by _NEIGHBOUR_SHARE of that
# range. Beyond, it is believed the less, and _NEIGHBOUR_EXCESS further off not at all. It costs 0.02 dB on real pairs.
_NEIGHBOUR_ROOM, _NEIGHBOUR_SHARE, _NEIGHBOUR_EXCESS = 8 / 255, 0.5, 32 / 255
_HALF_INTERVAL = 0.5  # of the frame interval: no sample of an exposure lies further off
# A result may leave the range of the frame's own samples by _BOUND, plus that range times 1 + _BOUND_GROWTH for each px
# of speed. A slightly wider one (2 and 0.25) cost 0.003 dB on real pairs.
_BOUND, _BOUND_GROWTH = 1.4 / 255, 0.2
_STILL_PX = 1.0  # a frame interval: what moves so far has a path that tells its blur
# The types of blur that the analysis tells apart: none, the seven kernels, linear motion, and a camera's mixed blur.
BLUR_TYPES: tuple[str, ...] = ("sharp", *(kernel.value for kernel in Kernel), "motion", "capture")
# The probability that a cell is sharp: below the first the cell is changed in full, above the second it is left alone,
# and between them its share falls linearly. EXPERIMENTS.md, 2026-11-23, "constants of the generator".
_SHARP, _MAYBE_SHARP = BLUR_TYPES.index("sharp"), (0.1, 0.3)


# Speeds in px a frame interval. Below the first the limits above decide whether a place is taken for sharp, above the
# second these. The network has learned on sharp moving frames, too, so the spectrum must be surer. Three in four cells
# of real pairs at 320x180, and nine in ten at 1280x720, lie below the first probability; half the cells of a sharp pan
# lie near the second or above.
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


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, (N, width, h, w); it sees no neighbours, so tiles stay exact."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Bring each pixel to mean 0 and variance 1 over its channels, then scale and shift each channel."""
        centred = features - features.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + _NORM_EPSILON).rsqrt()
        return centred * scale * self.weight + self.bias


class ResidualBlock(nn.Module):
    """Norm and two 3x3 convolutions, added to what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.2))  # blocks start close to identity

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, h, w) -> the same."""
        out: Tensor = features + self.scale * self.conv2(F.gelu(self.conv1(self.norm(features))))
        return out


class DeepLevel(nn.Module):
    """Residual blocks of twice the width at half the resolution, added to what goes in.

    Such a block costs as much as one of the single width at the full resolution, and has four times its weights.
    """

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        # The same as (un)shuffling and a 1x1 convolution, but faster in OpenVINO.
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.blocks = nn.Sequential(*[ResidualBlock(2 * width) for _ in range(num_blocks)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, h, w) -> the same; h and w are even."""
        out: Tensor = features + self.up(self.blocks(self.down(features)))
        return out


class Restoration(nn.Module):
    """A frame, guesses at the result and hints at its blur -> the restored frame; the body of G_i and of G_p.

    Each pixel of the output is the frame's pixel, moved towards each guess by a weight of its own (a gate), plus a
    correction. Gates and corrections start at zero, so an untrained network is the identity. The last guess is a luma;
    the others are RGB.

    A video has a restoration of its own. It is also given taps, which are samples along the path of each pixel
    (path_taps.py), and the velocity of each place. Each pixel of its output is then also moved towards each tap by a
    weight of its own, and hints do not count.

    The network is given differences: each guess less the frame, each tap less the frame. Every block normalises what it
    reads. Without both, most units never answered (EXPERIMENTS.md, 2026-11-23, "why does a large restoration gain
    nothing?").

    Args:
        width: Channels at a quarter of the resolution.
        num_blocks: Residual blocks there.
        num_guesses: Channels of the guesses.
        embedding_width: Channels of the hints.
        num_deep_blocks: Residual blocks of twice the width at an eighth of the resolution.
        num_taps: Number of taps that it can be given; 0: it takes none.
    """

    multiple_px = HINT_PX

    def __init__(
        self,
        *,
        width: int,
        num_blocks: int,
        num_guesses: int,
        embedding_width: int,
        num_deep_blocks: int = 0,
        num_taps: int = 0,
    ) -> None:
        super().__init__()
        self.num_taps = num_taps
        self.norm = nn.LayerNorm(embedding_width)
        self.hint = nn.Conv2d(embedding_width, _NUM_HINTS, 1)
        self.head = nn.Conv2d((3 + num_guesses) * UNSHUFFLE**2 + _NUM_HINTS, width, 3, padding=1)
        before = num_blocks // 2 if num_deep_blocks else num_blocks
        self.before = nn.Sequential(*[ResidualBlock(width) for _ in range(before)])
        self.deep = DeepLevel(width, num_deep_blocks) if num_deep_blocks else nn.Identity()
        self.after = nn.Sequential(*[ResidualBlock(width) for _ in range(num_blocks - before)])
        self.tail_norm = ChannelNorm(width)
        self.tail = nn.Conv2d(width, (3 + num_guesses) * UNSHUFFLE**2, 3, padding=1)
        zeroed = [*self.tail.parameters()]
        if num_taps:
            self.path_head = nn.Conv2d(num_taps * UNSHUFFLE**2 + _NUM_VELOCITIES, width, 1, bias=False)
            self.path_tail = nn.Conv2d(width, num_taps * UNSHUFFLE**2, 1)
            zeroed += self.path_tail.parameters()
        for parameter in zeroed:
            nn.init.zeros_(parameter)
        deep_px = 2 * UNSHUFFLE * (2 * num_deep_blocks + 1) if num_deep_blocks else 0
        # Each 3x3 convolution looks one unshuffled pixel further; one more, as a pixel may lie anywhere within its own.
        self.receptive_margin_px = UNSHUFFLE * (2 * num_blocks + 3) + deep_px

    def forward(
        self,
        frames_NCHW: Tensor,
        guess_NGHW: Tensor,
        hints_NEhw: Tensor,
        taps_NTHW: Tensor | None = None,
        velocity_N2hw: Tensor | None = None,
    ) -> Tensor:
        """Restore frames.

        Args:
            frames_NCHW: RGB in [0, 1]; H and W are multiples of HINT_PX.
            guess_NGHW: Guesses at the result, in [0, 1].
            hints_NEhw: Hints at the blur, one for HINT_PX x HINT_PX; they count only where no taps are given.
            taps_NTHW: Taps as RGB planes one after the other, T = 3 num_taps; uint8, or float in [0, 1]. None: the
                motion is not known.
            velocity_N2hw: px a frame interval, one for UNSHUFFLE x UNSHUFFLE; None if the taps are None.

        Returns:
            (N, 3, H, W), not clamped.
        """
        hints = self.hint(self.norm(hints_NEhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        hints = F.interpolate(hints, scale_factor=HINT_PX // UNSHUFFLE, mode="nearest")
        num_rgb = guess_NGHW.shape[1] // 3
        steps_NGHW = guess_NGHW - torch.cat([*[frames_NCHW] * num_rgb, _luma(frames_NCHW)], 1)
        views = F.pixel_unshuffle(torch.cat([2 * frames_NCHW - 1, _STEP_GAIN * steps_NGHW], 1), UNSHUFFLE)
        if taps_NTHW is not None:
            # Taps say more about the blur of what moves. The few collections of real pairs can be told apart by their
            # hints, and a network that was given both gained only on footage that it knew (EXPERIMENTS.md, 2026-11-29).
            hints = 0 * hints
        features = self.head(torch.cat([views, hints], 1))
        ways_NTHW = None
        if taps_NTHW is not None and velocity_N2hw is not None:
            ways_NTHW = _ways(frames_NCHW, taps_NTHW)
            features = features + self.path_head(_seen_of_path(ways_NTHW, velocity_N2hw))
        features = F.silu(self.tail_norm(self.after(self.deep(self.before(features)))))
        out = F.pixel_shuffle(self.tail(features), UNSHUFFLE).float()
        gated = out[:, 3:] * steps_NGHW
        restored = frames_NCHW + _CORRECTION_GAIN * out[:, :3] + gated[:, -1:]
        for first in range(0, 3 * num_rgb, 3):
            restored = restored + gated[:, first : first + 3]
        if ways_NTHW is not None:
            weights_NKHW = F.pixel_shuffle(self.path_tail(features).contiguous(), UNSHUFFLE).float().contiguous()
            by_colour = [(weights_NKHW * ways_NTHW[:, colour::3]).sum(1) for colour in range(3)]
            assert velocity_N2hw is not None
            step_NCHW = restored - frames_NCHW + torch.stack(by_colour, 1)
            own = [ways_NTHW[:, 3 * n : 3 * n + 3] for n, share in enumerate(ALONG) if abs(share) <= _HALF_INTERVAL]
            guesses = [steps_NGHW[:, first : first + 3] for first in range(0, 3 * num_rgb, 3)]
            restored = frames_NCHW + _bounded(step_NCHW, own, guesses, velocity_N2hw)
        return restored


def _luma(frames_NCHW: Tensor) -> Tensor:
    """Brightness, (N, 1, H, W)."""
    return 0.299 * frames_NCHW[:, :1] + 0.587 * frames_NCHW[:, 1:2] + 0.114 * frames_NCHW[:, 2:]


def _ways(frames_NCHW: Tensor, taps_NTHW: Tensor) -> Tensor:
    """From the frame to each tap, (N, T, H, W) float; a neighbour's only as far as the frame's own ones allow.

    What a pixel's path carries is the same in all frames, but for what was hidden and for light that changes. A lamp
    that is lit in a neighbour alone lies far outside what this frame shows anywhere along the path: such a sample is
    taken for the frame itself, which says nothing.
    """
    taps = taps_NTHW if taps_NTHW.is_floating_point() else taps_NTHW.float() * (1 / 255)
    ways = taps - frames_NCHW.contiguous().repeat(1, taps_NTHW.shape[1] // 3, 1, 1)
    own, others = ways[:, : 3 * _NUM_OWN], ways[:, 3 * _NUM_OWN :]
    lowest, highest = _range([own[:, 3 * n : 3 * n + 3] for n in range(len(ALONG))])
    room = _NEIGHBOUR_ROOM + _NEIGHBOUR_SHARE * (highest - lowest)
    num = others.shape[1] // 3
    low, high = ((lowest - room).repeat(1, num, 1, 1), (highest + room).repeat(1, num, 1, 1))
    near = torch.minimum(torch.maximum(others, low), high)
    belief = (1 - (others - near).abs() / _NEIGHBOUR_EXCESS).clamp(0, 1)
    return torch.cat([own, belief * near], 1)


def _range(ways: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The lowest and the highest of some ways (N, 3, H, W), and of standing still."""
    lowest = highest = torch.zeros_like(ways[0])
    for way in ways:
        lowest, highest = torch.minimum(lowest, way), torch.maximum(highest, way)
    return lowest, highest


def _bounded(step_NCHW: Tensor, own: list[Tensor], guesses: list[Tensor], velocity_N2hw: Tensor) -> Tensor:
    """A step of the result that goes no further than what this frame itself allows.

    Where its own samples within the exposure are all alike there is no motion blur to undo. The longer the path, the
    more a thin bright line lost by being smeared, so the bound grows with it. What stands still has no path: there the
    guesses say what other blur there is.

    Args:
        step_NCHW: From the frame to the result.
        own: From the frame to its own samples within the exposure.
        guesses: From the frame to each guess.
        velocity_N2hw: px a frame interval.
    """
    speed_N1HW = F.interpolate(velocity_N2hw.norm(dim=1, keepdim=True), scale_factor=UNSHUFFLE, mode="nearest")
    still_N1HW = (1 - speed_N1HW / _STILL_PX).clamp(0, 1)
    lowest, highest = _range([*own, *(still_N1HW * guess for guess in guesses)])
    room = _BOUND + (1 + _BOUND_GROWTH * speed_N1HW) * (highest - lowest)
    return torch.minimum(torch.maximum(step_NCHW, lowest - room), highest + room)


def _seen_of_path(ways_NTHW: Tensor, velocity_N2hw: Tensor) -> Tensor:
    """The input of `path_head`, at a quarter of the resolution: luma of the differences of the taps, and velocity."""
    luma_NKHW = 0.299 * ways_NTHW[:, 0::3] + 0.587 * ways_NTHW[:, 1::3] + 0.114 * ways_NTHW[:, 2::3]
    velocity = velocity_N2hw / _VELOCITY_UNIT_PX
    squared = velocity.square().sum(1, keepdim=True)
    log_speed = (squared / 1e-3 + 1).log() / 4  # 0 where nothing moves
    seen = [F.pixel_unshuffle(_TAP_GAIN * luma_NKHW, UNSHUFFLE), velocity, (squared + 1e-6).sqrt() - 1e-3, log_speed]
    return torch.cat(seen, 1)


class ConcertGenerator(nn.Module):
    """G_i of architecture `concert`: analysis, inverse filters, restoration."""

    def __init__(self, *, width: int, num_blocks: int, embedding_width: int, num_deep_blocks: int = 0) -> None:
        super().__init__()
        self.descriptor = SpectrumDescriptor()
        self.analysis = BlurAnalysis(embedding_width)
        self.restoration = Restoration(
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
            path: Taps and velocity of the frames; None: nothing is known of their motion.
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
        if path is not None and not _moves_blur(analysis.type_logits):
            path = None
        if path is not None:
            low, high = _MAYBE_SHARP_MOVING
            of_moving_M = ((high - sharp_M) / (high - low)).clamp(0, 1)
            of_moving = spread(of_moving_M.view(num, rows, columns, 1), height, width)
            trust_N1hw = torch.maximum(trust_N1hw, of_moving * _moving(path.velocity_N2hw, like=trust_N1hw))
        return Prepared(
            guess_NGHW=filter_frames(frames_NCHW, of_guess),
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
        self.restoration = Restoration(
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

    def __init__(
        self, *, width: int, num_blocks: int, embedding_width: int, num_deep_blocks: int, num_taps: int
    ) -> None:
        super().__init__()
        self.restoration = Restoration(
            width=width,
            num_blocks=num_blocks,
            num_guesses=3 * len(EXPOSURES) + 1,
            embedding_width=embedding_width,
            num_deep_blocks=num_deep_blocks,
            num_taps=num_taps,
        )


def _moves_blur(type_logits: Tensor) -> bool:
    """Whether motion may be what blurs a frame, and not one of the seven kernels.

    Under those the restoration of pictures knows more. On a GPU the answer is always yes: to know it the host would
    have to wait for the device.
    """
    if type_logits.device.type != "cpu":
        return True
    shares = type_logits.softmax(1).mean(0).numpy()
    return float(shares[_BY_CAMERA].sum()) >= _LEAST_BY_CAMERA


def _moving(velocity_N2hw: Tensor, *, like: Tensor) -> Tensor:
    """A map of the size of `like`: 0 where a place stands still, 1 where it moves."""
    speed_N1hw = F.adaptive_max_pool2d(velocity_N2hw.norm(dim=1, keepdim=True), like.shape[2:])
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
