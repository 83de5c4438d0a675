"""Data consistency: what a result, blurred again by the identified kernel, still lacks of the input.

A convolutional network changes what it likes; nothing holds its result X to the input B. Blurred again, X
should give B. The rest B - K X, inverse-filtered with a regularised R as in the bank, is what B still has to
say about the picture:

    consistent = X + R (B - K X)

Where the blur let a frequency through (R K close to 1) the input decides, where it let nothing through the
network's picture stays. One such step gains a dB on lines after G_i. It loses where little was let through,
or much noise: only cells are `promising` whose filters are bold.

In turns with G_i, which sees its own last result as its guess, steps gain twice as much: G_i takes away what they
brought along, and they put back what G_i took too much of. Each turn also lets more noise through, so only cells are
`repeatable` whose filters ask for next to none; the others take one `cautious_mixture` turn.

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

# Steps of the bank's noise-to-signal ratios stronger than the guess for a picture. One step gains 0.1 dB more on boxes
# and Gaussians, but loses 0.8 on a dark picture with lamps, blurred along a line: it rings.
_STRONGER_STEPS = 2
# Filters at these ratios, which real cameras' noise and compression ask for, leave nothing to win: -0.1 dB on average.
_BOLD = slice(0, len(NOISE_TO_SIGNAL) - 2)
# A blur that was identified has a share of 0.9 and more; a camera's mixed blur comes to 0.75 and loses 0.4 dB on
# average, up to 1.3, since what it lacks is then made up of the wrong kernels.
_BOLD_SHARE = 0.8

# And one kernel must hold nearly all of it. On 243 steps in training pictures, at all levels, those with 0.9 and more
# gain 0.53 dB on average and lose 0.12 at most; where neighbours share it (Gaussians) some lose up to 0.5.
_KERNEL_SHARE = 0.9

# Further turns are for cells that gave most of their mixture to the boldest ratios. On 112 cells of training pictures,
# at all levels and a third of them noisy, 77 did: three turns gain 0.50 dB, 0.18 are lost at most; the others gain 0.14
# and lose up to 1.0.
_LEAST_NOISE = slice(0, 2)
_LEAST_NOISE_SHARE = 0.5

# Range of the input within three blocks of 8 px: up to the first it is flat, from the second on it has detail.
_BLOCK_PX, _FLAT, _DETAILED = 8, 3 / 255, 10 / 255
# Fine detail of the result: up to the first it is smooth, from the second on the step counts in full. On 22 training
# pictures the step gains 0.58 dB so, 0.56 everywhere; 1 and 4 would gain 0.59 and leave more of the ringing.
_SMOOTH, _FINE = 2 / 255, 5 / 255

# A blur that was identified well enough for a step is one of the bank's kernels, or between a few.
_MIXED_FILTERS = 16
_NEGLIGIBLE_WEIGHT = 1e-3
_KEPT_RESPONSES = 64  # 640 kB each

Mixture: TypeAlias = list[tuple[float, int]]  # (share, number in the bank) of each filter; on the host


@dataclass(frozen=True, slots=True)
class DataConsistency:
    """N blurred frames, not padded, and the mixture of filters that was identified in each of their cells."""

    frames_NCHW: Tensor
    weights_NRQK: Tensor

    def cloned(self) -> "DataConsistency":
        """The same in memory of its own."""
        return DataConsistency(self.frames_NCHW.clone(), self.weights_NRQK.clone())

    @property
    def promising_NRQ(self) -> Tensor:
        """Which cells are worth it."""
        return promising(self.weights_NRQK)

    @property
    def repeatable_NRQ(self) -> Tensor:
        """Which promising cells are worth further turns."""
        return self.promising_NRQ & _has_little_noise(self.weights_NRQK)

    def heaviest(self) -> Tensor:
        """The filters that each cell's step takes, (N, R, Q, filters, 2); `mixture_of` reads one on the host."""
        wanted_NRQK = self.weights_NRQK * self.promising_NRQ[..., None]
        return heaviest(stronger(wanted_NRQK, steps=_STRONGER_STEPS))

    def made_consistent(
        self, n: int, result_CHW: Tensor, mixtures: list[Mixture], *, start_CHW: Tensor | None = None
    ) -> Tensor:
        """The result of frame `n` after one step in its promising cells, (3, H, W), not clamped; they fade out.

        Args:
            n: Number of the frame.
            result_CHW: May be padded at the bottom and right; there it is given back.
            mixtures: What its cells take, as `heaviest` says, row by row; nothing where a cell is left as it is.
            start_CHW: What the step starts from in those cells; None: the result.
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
    """Share of the step that each pixel gets, (H, W): none where it can only ring.

    That is where the input is flat for 24 px, and where the result has no fine detail: G_i has smoothed the ringing of
    the filters away there, and the step would bring it back.
    """
    height, width = frame_CHW.shape[1:]
    is_detailed = ((local_range(luma(frame_CHW[None]), _BLOCK_PX) - _FLAT) / (_DETAILED - _FLAT)).clamp(0, 1)
    in_input = F.interpolate(is_detailed, scale_factor=_BLOCK_PX, mode="bilinear", align_corners=False)
    in_result = ((_fine_detail(luma(result_CHW[None])) - _SMOOTH) / (_FINE - _SMOOTH)).clamp(0, 1)
    return in_input[0, 0, :height, :width] * in_result[0, 0]


def _fine_detail(brightness_N1HW: Tensor) -> Tensor:
    """Root mean square, over 9x9 px, of what a mean over 5x5 px takes away."""
    fine = brightness_N1HW - local_mean(brightness_N1HW, 5)
    return local_mean(fine.square_(), 9).sqrt_()


def promising(weights_K: Tensor) -> Tensor:
    """Whether nearly all of a mixture (..., K) is bold inverses of one blur; bool (...)."""
    by_noise = _by_noise(weights_K)
    is_bold = by_noise[..., _BOLD].sum((-2, -1)) > _BOLD_SHARE
    return is_bold & (by_noise.sum(-1).amax(-1) > _KERNEL_SHARE)


def _has_little_noise(weights_K: Tensor) -> Tensor:
    by_noise = _by_noise(weights_K)
    return by_noise[..., _LEAST_NOISE].sum((-2, -1)) > _LEAST_NOISE_SHARE * by_noise.sum((-2, -1))


def _by_noise(weights_K: Tensor) -> Tensor:
    """A mixture (..., K) by kernel and noise-to-signal ratio, without the identity."""
    return weights_K.view(*weights_K.shape[:-1], -1, len(NOISE_TO_SIGNAL))[..., 1:, :]


def consistency_step(blurred_MCHW: Tensor, result_MCHW: Tensor, weights_MK: Tensor) -> Tensor:
    """R (B - K X) on looped windows (M, 3, FFT_PX, FFT_PX), each with its mixture of filters."""
    rows = heaviest(stronger(weights_MK, steps=_STRONGER_STEPS)).tolist()
    return _step(blurred_MCHW, result_MCHW, [mixture_of(row) for row in rows])


def heaviest(weights_K: Tensor) -> Tensor:
    """Of a mixture (..., K) the heaviest filters: their shares and numbers, (..., filters, 2) float64.

    A row of zeros mixes nothing.
    """
    found = weights_K.topk(_MIXED_FILTERS)
    shares = found.values / found.values.sum(-1, keepdim=True)
    return torch.stack([shares.double(), found.indices.double()], -1)  # doubles hold both exactly


def cautious_mixture(mixture: Mixture) -> Mixture:
    """The same kernels, regularised one step stronger still.

    For one turn in cells with noise, or with so little detail that it looks like it. On 63 such cells of training
    pictures, a quarter of the way to what G_i makes of its own result, it gains 0.33 dB so and loses 0.03 at most;
    without being cautious 0.36 and 0.26, halfway 0.35 and 0.14, and as a bare step 0.28 and 0.14.
    """
    last = len(NOISE_TO_SIGNAL) - 1
    return [(share, index + (index % len(NOISE_TO_SIGNAL) < last)) for share, index in mixture]


def mixture_of(row: Iterable[tuple[float, float]]) -> Mixture:
    """A row of `heaviest`, on the host, without what hardly counts."""
    return [(share, int(index)) for share, index in row if share > _NEGLIGIBLE_WEIGHT]


def _step(blurred_MCHW: Tensor, result_MCHW: Tensor, mixed: list[Mixture]) -> Tensor:
    filters, passed = torch.stack([_mixture(shares, blurred_MCHW.device) for shares in mixed], 1)
    lacking = filters[:, None] * torch.fft.rfft2(blurred_MCHW) - passed[:, None] * torch.fft.rfft2(result_MCHW)
    step: Tensor = torch.fft.irfft2(lacking, s=(FFT_PX, FFT_PX))
    return step


def _mixture(shares: Mixture, device: torch.device) -> Tensor:
    """Weighted mean over filters of the bank, as `response` has each."""
    (share, index), *others = shares
    mixed: Tensor = share * _kept_response(index, device)
    for share, index in others:
        mixed.add_(_kept_response(index, device), alpha=share)
    return mixed


_kept_response = lru_cache(maxsize=_KEPT_RESPONSES)(response)
