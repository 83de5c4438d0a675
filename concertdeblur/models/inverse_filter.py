"""Frames filtered by the inverses of the kernel bank. The blur analysis gives the mixture of each cell.

A mixture of filters is itself one filter. So a cell costs one FFT and one inverse FFT, however large the bank is.

Shape suffixes: N frames, C channels, H height, W width, R rows and Q columns of cells, K filters of the bank, M
windows, F frequencies along x.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from concertdeblur.models.blur_cells import (
    BLUR_CELL_PX,
    FFT_PX,
    REACH_PX,
    crossfades,
    faded_area,
    looped,
    surrounded_window,
)
from concertdeblur.models.kernel_bank import mixed, stronger
from concertdeblur.models.spectrum import luma

# Each cell has two filters. The wary one is regularised this many steps stronger than the bold one. The bold one rings
# beside strong edges, and the wary one does not.
_WARY_STEPS = 2
_CELLS_AT_ONCE = 32  # that one matrix product mixes; their filters take 20 MB


def filter_frames(frames_NCHW: Tensor, weights_NRQK: Tensor) -> Tensor:
    """Inverse-filter frames of any size, each cell with its own mixture of filters.

    Args:
        frames_NCHW: RGB in [0, 1].
        weights_NRQK: The mixture of each cell of `blur_grid`; its weights sum to 1.

    Returns:
        (N, 4, H, W), not clamped: the frames by their bold filters in RGB, and the luma of the frames by their wary
        filters. The layout is contiguous if that of the frames is, else channels_last.
    """
    height, width = frames_NCHW.shape[2:]
    num, rows, columns = weights_NRQK.shape[:3]
    faded = (crossfades(rows, height, frames_NCHW), crossfades(columns, width, frames_NCHW))
    layout = torch.contiguous_format if frames_NCHW.is_contiguous() else torch.channels_last
    filtered = frames_NCHW.new_zeros(num, 4, height, width).contiguous(memory_format=layout)
    filters = _bold_and_wary_weights(weights_NRQK.flatten(0, 2))
    for n in range(num):
        for row in range(rows):
            for column in range(columns):
                window = looped(surrounded_window(frames_NCHW[n], row, column))
                made = _filtered(window[None], *next(filters))
                (top, bottom), (left, right) = faded_area(row, height), faded_area(column, width)
                y, x = top - (row * BLUR_CELL_PX - REACH_PX), left - (column * BLUR_CELL_PX - REACH_PX)
                fade = faded[0][row, top:bottom, None] * faded[1][column, None, left:right]
                part = (slice(y, y + bottom - top), slice(x, x + right - left))
                for channels, planes in zip((slice(0, 3), slice(3, 4)), made, strict=True):  # joining would copy them
                    filtered[n, channels, top:bottom, left:right] += fade * planes[0][(..., *part)]
    return filtered


def apply_weights(windows_MCHW: Tensor, weights_MK: Tensor) -> Tensor:
    """Filter looped windows (M, 3, FFT_PX, FFT_PX), each with its mixture; gives (M, 4, ...) as `filter_frames`.

    Gradients reach the weights.
    """
    return torch.cat(_filtered(windows_MCHW, mixed(weights_MK), mixed(wary_weights(weights_MK))), 1)


def _bold_and_wary_weights(weights_MK: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The responses of the bold and the wary filter of each mixture, (1, FFT_PX, FFT_PX // 2 + 1) each."""
    for weights in torch.split(weights_MK, _CELLS_AT_ONCE):
        both = mixed(torch.cat([weights, wary_weights(weights)]))
        bold, wary = torch.chunk(both, 2)
        yield from zip(torch.split(bold, 1), torch.split(wary, 1), strict=True)


def wary_weights(weights_K: Tensor) -> Tensor:
    """The mixture (..., K) of the wary filter: the same kernels, each regularised `_WARY_STEPS` stronger."""
    return stronger(weights_K, steps=_WARY_STEPS)


def _filtered(windows_MCHW: Tensor, bold_MHF: Tensor, wary_MHF: Tensor) -> tuple[Tensor, Tensor]:
    """The windows by their bold filters, and the luma of the windows by their wary filters."""
    spectra = torch.fft.rfft2(windows_MCHW)
    size = (FFT_PX, FFT_PX)
    brightness = luma(spectra) * wary_MHF[:, None]
    return torch.fft.irfft2(spectra * bold_MHF[:, None], s=size), torch.fft.irfft2(brightness, s=size)
