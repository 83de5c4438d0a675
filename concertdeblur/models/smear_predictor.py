"""The smear of each place of a single picture, predicted from the picture itself.

In a video optical flow says how far each place moves while it is exposed. A picture has no neighbours, but its blur
shows how it came about. Along the smear there is no fine detail, so differences of brightness are smaller that way. And
a smear of length L turns each edge into a ramp of that length: the derivative along the smear is the difference of two
copies of the scene that lie L apart, so it correlates negatively with itself at that distance. (Y. Yitzhaky and
N. Kopeika, "Identification of blur parameters from motion blurred images", 1997, read a whole picture's smear off it.)

So `smear_features` measures, in each of NUM_ANGLES directions, differences at several spans and the correlation of the
derivative at several distances. A small network weighs them; the picture is then restored along its smear as a frame of
a video is (path_taps.py). The network treats all directions alike and sees each beside its neighbours, the one across
it, and the mean of all. Networks without these measurements, or with weights for each direction, knew no direction
after eight times as many steps (EXPERIMENTS.md, 2026-11-30, "the smear of a single picture").

A smear has no sign: forwards and backwards look the same. So it is told by three numbers that do not change with the
sign: (length cos 2a, length sin 2a, length), with the direction's angle a and the length in px. They can be averaged
and enlarged, which signed vectors cannot. The network rates `smear_bins`: lengths in each direction, and none at all.
Its answer is the mean over the bins. Where a place does not show its direction, the first two numbers are near 0, and
so is the smear that is read: such a place is hardly changed.

Shape suffixes: N pictures, A angles, F features, K bins, H height, W width (h, w: a value for PREDICTED_PX px).
"""

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur.models.path_taps import Flow
from concertdeblur.models.restoration import ChannelNorm

PREDICTED_PX = 8  # one smear stands for PREDICTED_PX x PREDICTED_PX
NUM_ANGLES = 12
LENGTHS_PX = (1.5, 3.0, 6.0, 12.0, 24.0, 48.0)  # each twice the one before
_REACHES_PX = (0.75, 1.5, 3.0, 6.0)  # half the spans of differences
_DISTANCES_PX = (2, 3, 4, 6, 8, 11, 16, 22, 32)  # of the derivative's correlation with itself
_WINDOWS = (1, 5)  # measurements are means over so many steps of PREDICTED_PX on either side
_LEAST_LEVELS = 0.3  # grey levels that count as nothing
NUM_FEATURES = len(_WINDOWS) * (len(_REACHES_PX) + len(_DISTANCES_PX)) + len(_REACHES_PX)
_KERNEL_PX = 6  # of the differences' kernels, on either side
_PAD_PX = max(_DISTANCES_PX) + 2  # an even number
_SOFTNESS = 1.2  # standard deviation by which the predicted numbers are smoothed, in steps of PREDICTED_PX
# The length of the mean direction is that of the smear where all bins point alike, and 0 where none stands out. From a
# third on a direction is trusted in full: half of the gain was lost where each place was trusted in proportion.
_DECIDED = 3.0
LENGTHENED = 1.15  # "none" and shorter bins draw the mean length down; on held-out pictures it gains 0.05 dB
_DECODED_PX = 2  # smears are read one for so many px


def smear_bins() -> Tensor:
    """The three numbers of each bin, (K, 3): no smear, then the shortest in each direction, and so on."""
    angles = torch.arange(NUM_ANGLES) * (2 * torch.pi / NUM_ANGLES)
    directions = torch.stack([angles.cos(), angles.sin(), torch.ones(NUM_ANGLES)], 1)
    return torch.cat([torch.zeros(1, 3), *[length * directions for length in LENGTHS_PX]])


class DirectionBlock(nn.Module):
    """A residual block that treats all directions alike, (N, A, width, h, w).

    A direction sees its own surroundings, its two neighbours, the direction across it, and the mean of all.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.own = nn.Conv2d(width, width, 3, padding=1)
        self.others = nn.Conv2d(3 * width, width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.3))

    def forward(self, features: Tensor) -> Tensor:
        """(N, A, width, h, w) -> the same."""
        normed = _by_direction(self.norm(_together(features)))
        others = torch.cat(
            [
                normed.roll(1, 1) + normed.roll(-1, 1),
                normed.roll(NUM_ANGLES // 2, 1),
                normed.mean(1, keepdim=True).expand_as(normed),
            ],
            2,
        )
        mixed = F.gelu(self.own(_together(normed)) + self.others(_together(others)))
        return features + _by_direction(self.scale * self.out(mixed))


class SmearPredictor(nn.Module):
    """Brightness of pictures -> their smear, at every eighth pixel.

    An untrained one rates all bins alike, and so knows no direction.

    Args:
        width: Channels of each direction.
        num_blocks: Blocks at a sixteenth of the resolution, between two at an eighth.
    """

    bins_K3: Tensor
    differences: Tensor
    multiple_px = 2 * PREDICTED_PX

    def __init__(self, *, width: int = 32, num_blocks: int = 3) -> None:
        super().__init__()
        self.head = nn.Conv2d(NUM_FEATURES, width, 1)
        self.before = DirectionBlock(width)
        self.coarse = nn.Sequential(*[DirectionBlock(width) for _ in range(num_blocks)])
        self.after = DirectionBlock(width)
        self.tail_norm = ChannelNorm(width)
        self.tail = nn.Conv2d(width, len(LENGTHS_PX), 1)
        self.none = nn.Conv2d(width, 1, 1)
        for parameter in (*self.tail.parameters(), *self.none.parameters()):
            nn.init.zeros_(parameter)
        self.register_buffer("bins_K3", smear_bins(), persistent=False)
        self.register_buffer("differences", _differences(), persistent=False)
        # how far the measurements look, their windows, and the blocks; one more, as a pixel may lie anywhere in its own
        self.receptive_margin_px = (
            _PAD_PX + (max(_WINDOWS) + 2 + 1) * PREDICTED_PX + (num_blocks + 1) * 2 * PREDICTED_PX
        )

    def forward(self, luma_N1HW: Tensor) -> Tensor:
        """Predict smears.

        Args:
            luma_N1HW: Brightness in [0, 1]; H and W are multiples of `multiple_px`.

        Returns:
            (N, 3, H / PREDICTED_PX, W / PREDICTED_PX): length cos 2a, length sin 2a and length, in px.
        """
        shares_NKhw = self.rated(luma_N1HW).softmax(1)
        numbers: Tensor = F.conv2d(shares_NKhw, self.bins_K3.t()[:, :, None, None])
        return numbers

    def rated(self, luma_N1HW: Tensor) -> Tensor:
        """The logit of each bin, (N, K, h, w)."""
        with torch.no_grad():
            seen_NAFhw = smear_features(luma_N1HW.float(), self.differences)
        fine = self.before(_by_direction(self.head(_together(seen_NAFhw))))
        coarse = self.coarse(_by_direction(F.avg_pool2d(_together(fine), 2)))
        fine = self.after(fine + _by_direction(F.interpolate(_together(coarse), scale_factor=2, mode="nearest")))
        features = F.silu(self.tail_norm(_together(fine)))
        of_lengths = _by_direction(self.tail(features)).transpose(1, 2).flatten(1, 2)
        none = self.none(_by_direction(features).mean(1))
        return torch.cat([none, of_lengths], 1).float()


def smear_features(luma_N1HW: Tensor, differences: Tensor) -> Tensor:
    """What a picture shows of its smear in each direction, (N, A, NUM_FEATURES, h, w).

    Args:
        luma_N1HW: Brightness in [0, 1].
        differences: The kernels of `SmearPredictor`.
    """
    levels = 255 * luma_N1HW
    spread = F.pad(levels, (_KERNEL_PX,) * 4, mode="replicate")
    changes = F.avg_pool2d(F.conv2d(spread, differences, stride=2).abs(), PREDICTED_PX // 2)
    squares, products = _correlations(levels, differences)
    seen: list[Tensor] = []
    for window in _WINDOWS:
        change = _split((_mean_around(changes, window) + _LEAST_LEVELS).log(), 1, NUM_ANGLES)
        square = _mean_around(squares, window)[:, :, None] + _LEAST_LEVELS
        correlation = _split(_mean_around(products, window), 1, len(_DISTANCES_PX)) / square
        mean = change.mean(2, keepdim=True)
        if not seen:
            level = (mean - 1).expand_as(change).transpose(1, 2)
        seen += [
            3 * (change - mean).transpose(1, 2),
            3 * (correlation - correlation.mean(1, keepdim=True)),
        ]
    return torch.cat([*seen, level], 2)


def _correlations(levels_N1HW: Tensor, differences: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the squared derivative in each direction, and of its products with itself at each distance."""
    height, width = (side // 2 for side in levels_N1HW.shape[2:])
    middle = slice(_KERNEL_PX - 1, _KERNEL_PX + 2)  # the shortest span needs no more of its kernel
    spread = F.pad(levels_N1HW, (_PAD_PX + 1,) * 4, mode="replicate")
    derivatives = F.conv2d(spread, differences[:NUM_ANGLES, :, middle, middle])
    # every other place of every other row is enough; of the places at a distance all may be asked for
    by_phase = _split(F.pixel_unshuffle(derivatives, 2), 1, 4)
    pad = _PAD_PX // 2
    own = by_phase[:, :, 0, pad : pad + height, pad : pad + width]
    products = []
    for number in range(NUM_ANGLES):
        angle, one = number * math.pi / NUM_ANGLES, slice(number, number + 1)
        for distance in _DISTANCES_PX:
            x, y = _PAD_PX + round(distance * math.cos(angle)), _PAD_PX + round(distance * math.sin(angle))
            other = by_phase[:, one, 2 * (y % 2) + x % 2, y // 2 : y // 2 + height, x // 2 : x // 2 + width]
            products.append(F.avg_pool2d(own[:, one] * other, PREDICTED_PX // 2))
    inner = slice(_PAD_PX, -_PAD_PX)
    return F.avg_pool2d(derivatives[:, :, inner, inner].square(), PREDICTED_PX), torch.cat(products, 1)


def _differences() -> Tensor:
    """Kernels of the difference of brightness across each span, in each direction, (spans x angles, 1, side, side)."""
    side = 2 * _KERNEL_PX + 1
    kernels = np.zeros((len(_REACHES_PX), NUM_ANGLES, side, side), np.float32)
    for row, reach in enumerate(_REACHES_PX):
        for number in range(NUM_ANGLES):
            angle = number * math.pi / NUM_ANGLES
            for sign in (1, -1):
                x, y = (_KERNEL_PX + sign * reach * part for part in (math.cos(angle), math.sin(angle)))
                left, top = (min(math.floor(place + 1e-6), side - 2) for place in (x, y))
                for column in (left, left + 1):
                    for line in (top, top + 1):
                        share = (1 - abs(x - column)) * (1 - abs(y - line))
                        kernels[row, number, line, column] += sign * share
    return torch.from_numpy(kernels.reshape(-1, 1, side, side))


def _mean_around(values: Tensor, reach: int) -> Tensor:
    return F.avg_pool2d(F.pad(values, (reach,) * 4, mode="replicate"), 2 * reach + 1, stride=1)


def _together(features: Tensor) -> Tensor:
    """(N, A, C, h, w) -> (N A, C, h, w)."""
    return features.flatten(0, 1)


def _by_direction(features: Tensor) -> Tensor:
    """(N A, C, h, w) -> (N, A, C, h, w)."""
    return _split(features, 0, NUM_ANGLES)


def _split(values: Tensor, axis: int, size: int) -> Tensor:
    """An axis as two, the second of this size."""
    made: Tensor = values.unflatten(axis, (-1, size))  # type: ignore[no-untyped-call]
    return made


def signless(smear_N2hw: Tensor) -> Tensor:
    """Smears (x, y) in px as the network predicts them, (N, 3, h, w): the same for a smear and its opposite."""
    across, down = smear_N2hw[:, :1], smear_N2hw[:, 1:]
    length = smear_N2hw.square().sum(1, keepdim=True).sqrt()
    unit = length.clamp(min=1e-6)
    return torch.cat([(across.square() - down.square()) / unit, 2 * across * down / unit, length], 1)


def bin_shares(numbers_N3hw: Tensor) -> Tensor:
    """How far each bin stands for a smear that is told by its three numbers, (N, K, h, w); the shares sum to 1.

    A smear between bins is shared by those on either side, in angle and in the logarithm of the length.
    """
    length = numbers_N3hw[:, 2]
    angle = torch.atan2(numbers_N3hw[:, 1], numbers_N3hw[:, 0]) * (NUM_ANGLES / (2 * torch.pi)) % NUM_ANGLES
    octave = (length / LENGTHS_PX[0]).clamp(1, LENGTHS_PX[-1] / LENGTHS_PX[0]).log2()
    shorter = octave.floor().clamp(max=len(LENGTHS_PX) - 2)
    none = (1 - length / LENGTHS_PX[0]).clamp(0, 1)
    num_bins = 1 + len(LENGTHS_PX) * NUM_ANGLES
    shares = torch.zeros(len(length), num_bins, *length.shape[1:], device=length.device)
    shares[:, 0] = none
    for longer, of_length in ((0, 1 - (octave - shorter)), (1, octave - shorter)):
        for onward, of_angle in ((0, 1 - angle % 1), (1, angle % 1)):
            number = 1 + (shorter.long() + longer) * NUM_ANGLES + (angle.long() + onward) % NUM_ANGLES
            shares.scatter_add_(1, number[:, None], ((1 - none) * of_length * of_angle)[:, None])
    return shares


def read_smear(predicted: npt.NDArray[np.float32]) -> Flow:
    """The smear of a picture, of either sign, from the network's numbers.

    Args:
        predicted: (3, h, w), as `SmearPredictor` gives them for one picture.

    Returns:
        (H / 2, W / 2, 2): x and y in px.
    """
    numbers = cv2.GaussianBlur(np.ascontiguousarray(predicted.transpose(1, 2, 0)), (0, 0), _SOFTNESS)
    scale = PREDICTED_PX // _DECODED_PX
    numbers = cv2.resize(numbers, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    decided = _DECIDED * np.hypot(numbers[..., 0], numbers[..., 1])
    length, angle = LENGTHENED * np.minimum(numbers[..., 2], decided), np.arctan2(numbers[..., 1], numbers[..., 0]) / 2
    return np.stack([length * np.cos(angle), length * np.sin(angle)], -1).astype(np.float32)
