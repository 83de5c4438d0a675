"""What the spectrum of a cell says about its blur: a descriptor and its embedding.

Blur leaves a pattern in the power spectrum: a box leaves zeros, a Gaussian a fall-off. To invert a known blur is easy;
to identify it is hard, and convolutions on pixels do it badly. So the power spectra of many windows are averaged for
each cell of the frame, and the blur is named by these averages.

Shape suffixes: N frames, H height, W width, R rows and Q columns of cells, M windows, F frequencies along x.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HANN_PX = 64
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601: the weights of gamma-encoded RGB photographs
# Power of 8-bit rounding noise under the Hann window: (1/255)^2 / 12 * sum(hann^2) is 7.4e-4.
POWER_FLOOR = 2e-4
STRIDE_PX = 32
_WINDOWS_AT_ONCE = 1024  # they hold 16 MiB of samples; memory then does not grow with the frame
# A cell with little detail (sky, a dark stage) says little. So every cell's power is mixed with that of the whole
# frame, which counts this much.
_BORROWED = 0.1


def luma(frames_NCHW: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of RGB frames (N, 3, H, W) in [0, 1]."""
    red, green, blue = LUMA_WEIGHTS
    return red * frames_NCHW[:, :1] + green * frames_NCHW[:, 1:2] + blue * frames_NCHW[:, 2:]


class SpectrumDescriptor(nn.Module):
    """Average log power spectra of Hann windows of the luma, of each cell: (N, 3, H, W) -> (N, R, Q, 2, 64, 33).

    Channel 0 is the logarithm of the windows' mean power, in which windows with strong edges dominate. Channel 1 is the
    mean of the logarithms of their power, in which every window counts the same. The vertical frequency is centred, and
    both channels are scaled to about [-1, 1].
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(HANN_PX, periodic=True)
        self.register_buffer("window", hann[:, None] * hann[None, :], persistent=False)

    def forward(self, frames_NCHW: Tensor, cell_px: int) -> Tensor:
        """Describe each cell of `cell_px` by the windows in it and in half a window around it."""
        num, _, height, width = frames_NCHW.shape
        rows, columns = math.ceil(height / cell_px), math.ceil(width / cell_px)
        luma_NHW = luma(frames_NCHW)[:, 0]
        missing_h, missing_w = max(0, HANN_PX - height), max(0, HANN_PX - width)
        if missing_h or missing_w:
            luma_NHW = F.pad(luma_NHW[:, None], (0, missing_w, 0, missing_h), mode="replicate")[:, 0]
        power = luma_NHW.new_zeros(num, rows, columns, HANN_PX, HANN_PX // 2 + 1)
        logs = torch.zeros_like(power)
        num_down = (luma_NHW.shape[1] - HANN_PX) // STRIDE_PX + 1
        num_across = (luma_NHW.shape[2] - HANN_PX) // STRIDE_PX + 1
        per_cell = cell_px // STRIDE_PX
        for row in range(rows):
            down = _windows_of(row, per_cell, num_down)
            band = luma_NHW[:, down.start * STRIDE_PX : (down.stop - 1) * STRIDE_PX + HANN_PX]
            for column in range(columns):
                across = _windows_of(column, per_cell, num_across)
                part = band[:, :, across.start * STRIDE_PX : (across.stop - 1) * STRIDE_PX + HANN_PX]
                windows = part.unfold(1, HANN_PX, STRIDE_PX).unfold(2, HANN_PX, STRIDE_PX).flatten(1, 2)
                power[:, row, column], logs[:, row, column] = self._means(windows)
        described = _with_borrowed(power, logs)
        centred: Tensor = torch.fft.fftshift(described, dim=4)
        return centred / 8

    def _means(self, windows_NMHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean power and mean log power of windows."""
        power = [self._power(some) for some in torch.split(windows_NMHW, _WINDOWS_AT_ONCE, 1)]
        count = windows_NMHW.shape[1]
        mean = torch.stack([some.sum(1) for some in power]).sum(0) / count
        mean_log = torch.stack([some.log().sum(1) for some in power]).sum(0) / count
        return mean, mean_log

    def _power(self, windows: Tensor) -> Tensor:
        windows = (windows - windows.mean((-2, -1), keepdim=True)) * self.window
        spectra = torch.fft.rfft2(windows)
        # a sum over an axis of two takes four times as long
        power: Tensor = spectra.real.square() + spectra.imag.square()
        return power + POWER_FLOOR


def _windows_of(cell: int, per_cell: int, num_windows: int) -> range:
    """The numbers of the windows that begin in a cell, or one stride before it."""
    start = min(max(0, cell * per_cell - 1), num_windows - 1)
    return range(start, max(start + 1, min(num_windows, (cell + 1) * per_cell)))


def _with_borrowed(power_NRQHF: Tensor, logs_NRQHF: Tensor) -> Tensor:
    """The two channels of each cell, (N, R, Q, 2, H, F); the whole frame's count most where a cell has little power."""
    share = power_NRQHF.sum((3, 4), keepdim=True)
    whole = share.mean((1, 2), keepdim=True)
    frame_logs = (share * logs_NRQHF).mean((1, 2), keepdim=True) / whole
    frame_power = power_NRQHF.mean((1, 2), keepdim=True)
    power = (power_NRQHF + _BORROWED * frame_power) / (1 + _BORROWED)
    logs = (share * logs_NRQHF + _BORROWED * whole * frame_logs) / (share + _BORROWED * whole)
    return torch.stack([power.log(), logs], 3)


class BlurEmbedding(nn.Module):
    """Embedding of a frame's blur, read off its spectrum descriptor: (N, 2, 64, 33) -> (N, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 24, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * 16 * 9, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )

    def forward(self, described: Tensor) -> Tensor:
        """Embed a batch of descriptors."""
        embedded: Tensor = self.layers(described)
        return embedded
