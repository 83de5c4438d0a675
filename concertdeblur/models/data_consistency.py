"""Data consistency: what a result, blurred again by the identified kernel, still lacks of the input.

A convolutional network changes what it likes; nothing holds its result X to the input B. Blurred again, X
should give B. The rest B - K X, inverse-filtered with a regularised R as in the bank, is what B still has to
say about the picture:

    consistent = X + R (B - K X)

Where the blur let a frequency through (R K close to 1) the input decides, where it let nothing through the
network's picture stays. One such step gains a dB on lines after G_i; it is G_p's best guess.

Shape suffixes: N frames, C channels, H height, W width, R rows and Q columns of cells, K filters of the
bank, M windows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from concertdeblur.cam import Area
from concertdeblur.models.inverse_filter import (
    CELL_PX,
    REACH_PX,
    WINDOW_PX,
    faded_area,
    fades,
    looped,
    mixture,
    passed,
    response,
    stronger,
    surrounded_window,
)

# One step of the bank's noise-to-signal ratios stronger than the first guess: lines 1.3 dB, at the same one 1.0.
_STRONGER_STEPS = 1


@dataclass(frozen=True, slots=True)
class DataConsistency:
    """N blurred frames, not padded, and the mixture of filters that was identified in each of their cells."""

    frames_NCHW: Tensor
    weights_NRQK: Tensor

    def guess(self, n: int, result_CHW: Tensor, area: Area) -> Tensor:
        """The consistent picture of a part of frame `n`, (3, area.height, area.width), not clamped.

        Args:
            n: Which frame.
            result_CHW: The current result of the whole frame; may be padded at the bottom and right. There the
                result is given back.
            area: The part.

        """
        frame_CHW = self.frames_NCHW[n]
        height, width = frame_CHW.shape[1:]
        rows, columns = self.weights_NRQK.shape[1:3]
        faded = fades(rows, height, frame_CHW), fades(columns, width, frame_CHW)
        inside = Area(y=0, x=0, height=height, width=width)
        total = result_CHW.new_zeros(area.height, area.width)
        sums = result_CHW.new_zeros(3, area.height, area.width)
        for row in range(area.y // CELL_PX, min(rows, -(-(area.y + area.height) // CELL_PX))):
            for column in range(area.x // CELL_PX, min(columns, -(-(area.x + area.width) // CELL_PX))):
                (top, bottom), (left, right) = faded_area(row, height), faded_area(column, width)
                seen = Area(y=top, x=left, height=bottom - top, width=right - left).within(area).within(inside)
                made = self._cell(n, result_CHW[:, :height, :width], row, column)
                of_frame, of_area = seen.of_pixels(), _moved(seen, -area.y, -area.x).of_pixels()
                fade = faded[0][row, of_frame[0], None] * faded[1][column, None, of_frame[1]]
                y, x = REACH_PX - row * CELL_PX, REACH_PX - column * CELL_PX
                sums[(slice(None), *of_area)] += fade * made[(slice(None), *_moved(seen, y, x).of_pixels())]
                total[of_area] += fade
        own = result_CHW[(slice(None), *area.of_pixels())]
        return torch.where(total > 0, sums / total.clamp_min(1e-6), own)

    def _cell(self, n: int, result_CHW: Tensor, row: int, column: int) -> Tensor:
        windows = [looped(surrounded_window(picture, row, column)) for picture in (self.frames_NCHW[n], result_CHW)]
        return consistent(windows[0][None], windows[1][None], self.weights_NRQK[n, row, column][None])[0]


def consistent(blurred_MCHW: Tensor, result_MCHW: Tensor, weights_MK: Tensor) -> Tensor:
    """One step on looped windows (M, 3, WINDOW_PX, WINDOW_PX), each with its mixture of filters."""
    weights_MK = stronger(weights_MK, steps=_STRONGER_STEPS)
    filters = torch.stack([mixture(weights, response) for weights in weights_MK])[:, None]
    kept = torch.stack([mixture(weights, passed) for weights in weights_MK])[:, None]
    lacking = filters * torch.fft.rfft2(blurred_MCHW) - kept * torch.fft.rfft2(result_MCHW)
    made: Tensor = result_MCHW + torch.fft.irfft2(lacking, s=(WINDOW_PX, WINDOW_PX))
    return made


def _moved(area: Area, down: int, right: int) -> Area:
    return Area(y=area.y + down, x=area.x + right, height=area.height, width=area.width)
