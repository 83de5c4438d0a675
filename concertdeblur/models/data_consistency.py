"""Data consistency: a result, blurred again by the identified kernel, should give the input.

Nothing in a convolutional network holds its result X to the input B. Blurred again by the kernel K, X should give B.
The rest B - K X is what X still lacks. It is inverse-filtered by a regularised inverse R, as in the bank, and added:

    consistent = X + R (B - K X)

Where the blur let a frequency through, R K is close to 1 and the input decides. Where the blur let nothing through, the
network's picture stays. Such a step gains where the blur was identified well and the input has little noise: a cell is
`promising` if nearly all of its mixture is bold inverses of one kernel.

G_i and data consistency gain more in turns (deblurring/brmr/turns.py). G_i sees its own last result as its guess and
removes the ringing of the step; the step puts back the detail that G_i removed. Each turn also lets more noise through.
So a cell is `repeatable` only if its filters expect next to no noise. The other promising cells take one turn with a
`cautious_mixture`.

EXPERIMENTS.md, 2026-11-23, "constants of data consistency", has the trials behind the constants below.

Shape suffixes: N frames, C channels, H height, W width, R rows and Q columns of cells, K filters of the
bank, M windows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.blocks import local_mean, local_range
from concertdeblur.models.blur_cells import (
    BLUR_CELL_PX,
    FFT_PX,
    REACH_PX,
    crossfades,
    faded_area,
    looped,
    surrounded_window,
)
from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, response, stronger
from concertdeblur.models.spectrum import luma

# R is regularised this many steps of NOISE_TO_SIGNAL stronger than the mixture that makes the guess: a bolder R rings.
_STRONGER_STEPS = 2
# The ratios of bold filters. The two left out are those that a camera's noise and compression ask for.
_BOLD = slice(0, len(NOISE_TO_SIGNAL) - 2)
# The share that bold filters must have in a mixture. A camera's mixed blur stays below it.
_BOLD_SHARE = 0.8
# The share that one kernel must have, at all its ratios together.
_KERNEL_SHARE = 0.9
# The boldest ratios, and the share that they must have in a cell that takes further turns.
_LEAST_NOISE = slice(0, 2)
_LEAST_NOISE_SHARE = 0.5

# The range of the input within three by three blocks: up to _FLAT the step is left out, from _DETAILED on it is full.
_BLOCK_PX, _FLAT, _DETAILED = 8, 3 / 255, 10 / 255
# The fine detail of the result: up to _SMOOTH the step is left out, from _FINE on it is full.
_SMOOTH, _FINE = 2 / 255, 5 / 255

# A mixture of an identified blur needs few filters: the blur is one of the bank's kernels, or lies between a few.
_MIXED_FILTERS = 16
_NEGLIGIBLE_WEIGHT = 1e-3
_KEPT_RESPONSES = 64  # 640 kB each

Mixture: TypeAlias = list[tuple[float, int]]  # (share, number in the bank) of each filter; on the host


@dataclass(frozen=True, slots=True)
class DataConsistency:
    """The inputs of data consistency: N blurred frames, not padded, and the mixture identified in each blur cell."""

    frames_NCHW: Tensor
    weights_NRQK: Tensor

    def cloned(self) -> "DataConsistency":
        """A copy in memory of its own."""
        return DataConsistency(self.frames_NCHW.clone(), self.weights_NRQK.clone())

    @property
    def promising_NRQ(self) -> Tensor:
        """Whether each blur cell is worth a step."""
        return promising(self.weights_NRQK)

    @property
    def repeatable_NRQ(self) -> Tensor:
        """Whether each blur cell is promising and worth further turns."""
        return self.promising_NRQ & _has_little_noise(self.weights_NRQK)

    def heaviest(self) -> Tensor:
        """The filters of each cell's step, (N, R, Q, filters, 2) float64; `mixture_of` makes a mixture of a row."""
        wanted_NRQK = self.weights_NRQK * self.promising_NRQ[..., None]
        return heaviest(stronger(wanted_NRQK, steps=_STRONGER_STEPS))

    def made_consistent(
        self, n: int, result_CHW: Tensor, mixtures: list[Mixture], *, start_CHW: Tensor | None = None
    ) -> Tensor:
        """The result of frame `n` after one step in some of its cells, (3, H, W), not clamped.

        A cell that takes the step fades into its neighbours.

        Args:
            n: Number of the frame.
            result_CHW: The result; it may be padded at the bottom and right, where it stays as it is.
            mixtures: The filters of each cell, row by row; a cell with none stays as it is.
            start_CHW: The picture from which the step starts in cells that take it; None: the result.
        """
        if not any(mixtures):
            return result_CHW.clone()
        start_CHW = result_CHW if start_CHW is None else start_CHW
        frame_CHW = self.frames_NCHW[n]
        height, width = frame_CHW.shape[1:]
        rows, columns = self.weights_NRQK.shape[1:3]
        faded = crossfades(rows, height, frame_CHW), crossfades(columns, width, frame_CHW)
        detail = _detail(frame_CHW, start_CHW[:, :height, :width])
        made = result_CHW.clone()
        for number, shares in enumerate(mixtures):
            row, column = divmod(number, columns)
            if not shares:
                continue
            pictures = frame_CHW, start_CHW[:, :height, :width]
            blurred, start = (looped(surrounded_window(picture, row, column))[None] for picture in pictures)
            step = _step(blurred, start, [shares])[0]
            (top, bottom), (left, right) = faded_area(row, height), faded_area(column, width)
            y, x = REACH_PX - row * BLUR_CELL_PX, REACH_PX - column * BLUR_CELL_PX
            fade = faded[0][row, top:bottom, None] * faded[1][column, None, left:right]
            at = (slice(None), slice(top, bottom), slice(left, right))
            step = detail[at[1:]] * step[:, top + y : bottom + y, left + x : right + x]
            made[at] += fade * (start_CHW[at] - result_CHW[at] + step)
        return made


def _detail(frame_CHW: Tensor, result_CHW: Tensor) -> Tensor:
    """The share of the step that each pixel gets, (H, W): 0 where the step could only ring.

    The step could only ring where the input is flat over 24 px, and where the result has no fine detail. There G_i has
    smoothed away the ringing of the filters, and the step would bring it back.
    """
    height, width = frame_CHW.shape[1:]
    is_detailed = ((local_range(luma(frame_CHW[None]), _BLOCK_PX) - _FLAT) / (_DETAILED - _FLAT)).clamp(0, 1)
    in_input = F.interpolate(is_detailed, scale_factor=_BLOCK_PX, mode="bilinear", align_corners=False)
    in_result = ((_fine_detail(luma(result_CHW[None])) - _SMOOTH) / (_FINE - _SMOOTH)).clamp(0, 1)
    return in_input[0, 0, :height, :width] * in_result[0, 0]


def _fine_detail(brightness_N1HW: Tensor) -> Tensor:
    """Root mean square, over 9x9 px, of the difference from the mean over 5x5 px, (N, 1, H, W)."""
    fine = brightness_N1HW - local_mean(brightness_N1HW, 5)
    return local_mean(fine.square_(), 9).sqrt_()


def promising(weights_K: Tensor) -> Tensor:
    """Whether nearly all of a mixture (..., K) is bold inverses of one kernel; bool (...)."""
    by_noise = _by_noise(weights_K)
    is_bold = by_noise[..., _BOLD].sum((-2, -1)) > _BOLD_SHARE
    return is_bold & (by_noise.sum(-1).amax(-1) > _KERNEL_SHARE)


def _has_little_noise(weights_K: Tensor) -> Tensor:
    """Whether the boldest ratios hold most of a mixture (..., K); bool (...)."""
    by_noise = _by_noise(weights_K)
    return by_noise[..., _LEAST_NOISE].sum((-2, -1)) > _LEAST_NOISE_SHARE * by_noise.sum((-2, -1))


def _by_noise(weights_K: Tensor) -> Tensor:
    """A mixture (..., K) as (..., kernels, noise-to-signal ratios), without the identity."""
    return weights_K.view(*weights_K.shape[:-1], -1, len(NOISE_TO_SIGNAL))[..., 1:, :]


def consistency_step(blurred_MCHW: Tensor, result_MCHW: Tensor, weights_MK: Tensor) -> Tensor:
    """The step R (B - K X) on looped windows (M, 3, FFT_PX, FFT_PX), each with its mixture of filters."""
    rows = heaviest(stronger(weights_MK, steps=_STRONGER_STEPS)).tolist()
    return _step(blurred_MCHW, result_MCHW, [mixture_of(row) for row in rows])


def heaviest(weights_K: Tensor) -> Tensor:
    """The heaviest filters of a mixture (..., K): their shares and numbers, (..., filters, 2) float64.

    A row of zeros gives shares that are no numbers; `mixture_of` makes an empty mixture of it.
    """
    found = weights_K.topk(_MIXED_FILTERS)
    shares = found.values / found.values.sum(-1, keepdim=True)
    return torch.stack([shares.double(), found.indices.double()], -1)  # doubles hold both exactly


def cautious_mixture(mixture: Mixture) -> Mixture:
    """The same kernels, each regularised one more step of NOISE_TO_SIGNAL.

    It is for the one turn of cells that are noisy, or that have so little detail that they look noisy. EXPERIMENTS.md,
    2026-11-29, "G_i and data consistency in turns", compares it with bolder turns.
    """
    last = len(NOISE_TO_SIGNAL) - 1
    return [(share, index + (index % len(NOISE_TO_SIGNAL) < last)) for share, index in mixture]


def mixture_of(row: Iterable[tuple[float, float]]) -> Mixture:
    """The mixture in a row of `heaviest` that was read on the host; filters that hardly count are left out."""
    return [(share, int(index)) for share, index in row if share > _NEGLIGIBLE_WEIGHT]


def _step(blurred_MCHW: Tensor, result_MCHW: Tensor, mixed: list[Mixture]) -> Tensor:
    filters, passed = torch.stack([_mixture(shares, blurred_MCHW.device) for shares in mixed], 1)
    lacking = filters[:, None] * torch.fft.rfft2(blurred_MCHW) - passed[:, None] * torch.fft.rfft2(result_MCHW)
    step: Tensor = torch.fft.irfft2(lacking, s=(FFT_PX, FFT_PX))
    return step


def _mixture(shares: Mixture, device: torch.device) -> Tensor:
    """The weighted mean of the responses of some filters, (2, H, F) as `response` gives each."""
    (share, index), *others = shares
    mixed: Tensor = share * _kept_response(index, device)
    for share, index in others:
        mixed.add_(_kept_response(index, device), alpha=share)
    return mixed


_kept_response = lru_cache(maxsize=_KEPT_RESPONSES)(response)
