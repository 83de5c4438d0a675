"""What the frame's spectrum says about its blur: descriptor, embedding, and the kernel heads.

Blur leaves its signature in the power spectrum (zeros of a box, the fall-off of a Gaussian), and
identifying it is what is hard: inverting a known blur is easy. So the generator does not look for
it with convolutions: it averages the power spectra of many windows and reads the blur off them.

Shape suffixes: N frames, H height, W width, W1 = WINDOW_PX // 2 + 1 frequencies of a real FFT.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW_PX = 64
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601: the weights of gamma-encoded RGB photographs
# Power of 8-bit rounding noise under the Hann window: (1/255)^2 / 12 * sum(hann^2) is 7.4e-4.
POWER_FLOOR = 2e-4
_WINDOWS_AT_ONCE = 1024  # 16 MiB of samples: memory does not grow with the frame
_MAX_WINDOWS = 1024  # a frame; larger frames get wider strides, since more windows say nothing new


def frame_stride_px(height: int, width: int) -> int:
    """Stride of the windows on whole frames: 32 px, more where that gave over a thousand windows."""
    stride = 32
    while (height // stride) * (width // stride) > _MAX_WINDOWS:
        stride += 32
    return stride


def luma(frames_NCHW: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of RGB frames (N, 3, H, W) in [0, 1]."""
    weights = frames_NCHW.new_tensor(LUMA_WEIGHTS).view(1, 3, 1, 1)
    return (frames_NCHW * weights).sum(1, keepdim=True)


class SpectrumDescriptor(nn.Module):
    """Average log power spectra of Hann windows of the luma: (N, 3, H, W) -> (N, 2, 64, 33).

    Channel 0 is the log of the windows' mean power (dominated by windows with strong edges),
    channel 1 the mean of their log power (every window counts the same). Vertical frequency is
    centred, both channels are scaled to about [-1, 1].
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(WINDOW_PX, periodic=True)
        self.register_buffer("window", hann[:, None] * hann[None, :], persistent=False)

    def forward(self, frames_NCHW: Tensor, stride_px: int) -> Tensor:
        """Describe each frame; windows lie `stride_px` apart, small frames are padded to one window."""
        luma_NHW = luma(frames_NCHW)[:, 0]
        missing_h = max(0, WINDOW_PX - luma_NHW.shape[1])
        missing_w = max(0, WINDOW_PX - luma_NHW.shape[2])
        if missing_h or missing_w:
            luma_NHW = F.pad(luma_NHW[:, None], (0, missing_w, 0, missing_h), mode="replicate")[:, 0]
        rows = luma_NHW.unfold(1, WINDOW_PX, stride_px).unfold(2, WINDOW_PX, stride_px)
        rows_at_once = max(1, _WINDOWS_AT_ONCE // (rows.shape[0] * rows.shape[2]))
        power_sum = luma_NHW.new_zeros(len(luma_NHW), WINDOW_PX, WINDOW_PX // 2 + 1)
        log_sum = torch.zeros_like(power_sum)
        for windows in torch.split(rows, rows_at_once, dim=1):
            power = self._power(windows)
            power_sum = power_sum + power.sum((1, 2))
            log_sum = log_sum + power.log().sum((1, 2))
        num_windows = rows.shape[1] * rows.shape[2]
        described = torch.stack([(power_sum / num_windows).log(), log_sum / num_windows], dim=1)
        centred: Tensor = torch.fft.fftshift(described, dim=2)
        return centred / 8

    def _power(self, windows: Tensor) -> Tensor:
        windows = (windows - windows.mean((-2, -1), keepdim=True)) * self.window
        power: Tensor = torch.view_as_real(torch.fft.rfft2(windows)).square().sum(-1)
        return power + POWER_FLOOR


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
