"""A bank of regularised inverse filters, mixed by what the blur embedding says.

Every kernel of the bank is symmetric, so its transfer function K is real and its regularised
inverse is K / (K^2 + regularisation): close to 1/K where the blur let something through, close to 0
where it let nothing through. Mixing inverses costs one FFT and one inverse FFT a window, however
many kernels there are.

Shape suffixes: N frames, K filters of the bank, H height, W width, F frequencies along x.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from concertdeblur.blur.kernels import box_side_px, gaussian_sigma_px, line_length_px, resizing_factor

# Noise-to-signal ratios at a quarter cycle a px; photographs' power falls as 1/f^2, so the ratio grows
# as f^2. 8-bit rounding alone wants the first, strong noise or compression the last.
NOISE_TO_SIGNAL = (4e-4, 4e-3, 4e-2)
# Levels at which sizes are taken from METHOD.md's table: fine enough to hit every odd size.
_LEVELS = tuple(step / 32 for step in range(33))
# Linear motion of real cameras, beside the exact horizontal and vertical lines.
_MOTION_ANGLES_DEG = (30, 45, 60, 120, 135, 150)
_MOTION_LENGTHS_PX = (5, 9, 13, 17, 21)
# Whole frames are filtered in windows of one fixed size on a fixed grid, cross-faded where they overlap:
# memory and the response are the same for every frame size, and tiles of one frame agree.
FRAME_WINDOW_PX = 2048  # 1080p is one window; the FFT of one takes 200 MB
_FRAME_OVERLAP_PX = 256
_FRAME_MARGIN_PX = 64  # of a window, where it wraps around: not used where another window has its middle
PAD_PX = 32  # beyond each edge of a window, where it wraps around
# On whole frames only the heaviest filters of a mixture are computed; the rest changes no pixel by 1/255.
_MIXED_FILTERS = 24
_NEGLIGIBLE_WEIGHT = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferFunction:
    """A symmetric blur kernel in the frequency domain: real, 1 at zero frequency."""

    name: str
    size: float  # px; sigma in px for a Gaussian; the factor for resizing
    at: Callable[[Tensor, Tensor], Tensor]  # (cycles a px along y (H, 1), along x (1, F)) -> K (H, F)


@lru_cache(maxsize=1)
def kernel_bank() -> tuple[TransferFunction, ...]:
    """Identity, every size of the five linear kernels of METHOD.md's table, and lines at six angles."""
    lengths = sorted({line_length_px(level) for level in _LEVELS})
    sides = sorted({box_side_px(level) for level in _LEVELS})
    return (
        TransferFunction(name="identity", size=0, at=lambda y, x: torch.ones_like(y * x)),
        *(_separable("horizontal", n, _no_blur, _box) for n in lengths),
        *(_separable("vertical", n, _box, _no_blur) for n in lengths),
        *(_separable("averaging", n, _box, _box) for n in sides),
        *(_separable("gaussian", gaussian_sigma_px(step / 6), _gaussian, _gaussian) for step in range(7)),
        *(_separable("resizing", resizing_factor(step / 5), _down_and_up, _down_and_up) for step in range(6)),
        *(_motion(angle, length) for angle in _MOTION_ANGLES_DEG for length in _MOTION_LENGTHS_PX),
    )


def num_filters() -> int:
    """Number of inverse filters: each kernel of the bank at each noise-to-signal ratio."""
    return len(kernel_bank()) * len(NOISE_TO_SIGNAL)


def filter_weights(kernel_logits_NK: Tensor, noise_logits: Tensor) -> Tensor:
    """Weights of all filters, (N, num_filters), from logits over kernels and over noise ratios."""
    by_kernel = kernel_logits_NK.softmax(1)[:, :, None] * noise_logits.softmax(1)[:, None, :]
    return by_kernel.flatten(1)


def inverse_responses(height: int, width: int, *, like: Tensor) -> Tensor:
    """Frequency responses of the whole bank, (num_filters, height, width // 2 + 1), on `like`'s device."""
    return torch.stack([_response(index, height, width, like) for index in range(num_filters())])


def mixed_response(weights_K: Tensor, height: int, width: int) -> Tensor:
    """Response (height, width // 2 + 1) of one frame's mixture, of its heaviest filters."""
    heaviest = weights_K.topk(_MIXED_FILTERS)
    mixed = weights_K.new_zeros(height, width // 2 + 1)
    for weight, index in zip(heaviest.values / heaviest.values.sum(), heaviest.indices.tolist(), strict=True):
        if weight > _NEGLIGIBLE_WEIGHT:
            mixed += weight * _response(index, height, width, weights_K)
    return mixed


def filter_frames(frames_NCHW: Tensor, weights_NK: Tensor) -> Tensor:
    """Inverse-filter whole frames of any size, each with its own mixture of filters.

    Args:
        frames_NCHW: RGB in [0, 1].
        weights_NK: Weights of the filters, as `filter_weights` gives them.

    Returns:
        The filtered frames, same shape, channels_last, not clamped.

    """
    height, width = frames_NCHW.shape[2:]
    window = (min(height, FRAME_WINDOW_PX), min(width, FRAME_WINDOW_PX))
    padded = (padded_length(window[0]), padded_length(window[1]))
    responses = torch.stack([mixed_response(weights, *padded) for weights in weights_NK])
    fade = _ramp(window[0], frames_NCHW)[:, None] * _ramp(window[1], frames_NCHW)[None, :]
    filtered = torch.zeros_like(frames_NCHW, memory_format=torch.channels_last)
    total = frames_NCHW.new_zeros(height, width)
    for y in _grid(height, window[0]):
        for x in _grid(width, window[1]):
            area = (..., slice(y, y + window[0]), slice(x, x + window[1]))
            filtered[area] += fade * apply_response(frames_NCHW[area], responses, padded)
            total[area] += fade
    return filtered.div_(total)


def _grid(length: int, window: int) -> list[int]:
    step = FRAME_WINDOW_PX - _FRAME_OVERLAP_PX
    starts = list(range(0, max(1, length - window), step))
    return starts if starts[-1] + window >= length else [*starts, length - window]


def _ramp(length: int, like: Tensor) -> Tensor:
    from_edge = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    inside = (torch.minimum(from_edge, length - from_edge) - _FRAME_MARGIN_PX) / (
        _FRAME_OVERLAP_PX - 2 * _FRAME_MARGIN_PX
    )
    return inside.clamp(1e-6, 1)  # never 0: at the frame's border there is no other window


def padded_length(length_px: int) -> int:
    """Smallest length of at least `length_px + 2 * PAD_PX` that an FFT likes (2^a 3^b 5^c, even)."""
    length = length_px + 2 * PAD_PX
    while not _is_smooth(length):
        length += 1
    return length


def apply_response(pictures_NCHW: Tensor, responses_NHF: Tensor, padded: tuple[int, int]) -> Tensor:
    """Filter each picture with its response.

    The picture is extended to `padded` (height, width) so that it wraps around without a jump:
    the gap cross-fades from the reflection at its end to the reflection at its beginning.
    """
    height, width = pictures_NCHW.shape[2:]
    extended = _wrapped(_wrapped(pictures_NCHW, 2, padded[0]), 3, padded[1])
    spectrum = torch.fft.rfft2(extended) * responses_NHF[:, None]
    filtered: Tensor = torch.fft.irfft2(spectrum, s=padded)
    return filtered[:, :, :height, :width]


def _wrapped(pictures: Tensor, dim: int, length: int) -> Tensor:
    size = pictures.shape[dim]
    gap = length - size
    if gap <= 0:
        return pictures
    step = torch.arange(gap, device=pictures.device)
    after_end = pictures.index_select(dim, _reflected(size + step, size))
    before_start = pictures.index_select(dim, _reflected(step - gap, size))
    fade = 0.5 - 0.5 * torch.cos(torch.pi * (step + 0.5) / gap).to(pictures.dtype)
    fade = fade.view([-1 if axis == dim else 1 for axis in range(4)])
    return torch.cat([pictures, after_end + fade * (before_start - after_end)], dim)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Reflect indices into [0, size) without repeating the edge, as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return torch.where(index < size, index, period - index)


def _response(index: int, height: int, width: int, like: Tensor) -> Tensor:
    kernel, noise = divmod(index, len(NOISE_TO_SIGNAL))
    y = torch.fft.fftfreq(height, device=like.device, dtype=like.dtype)[:, None]
    x = torch.fft.rfftfreq(width, device=like.device, dtype=like.dtype)[None, :]
    transfer = kernel_bank()[kernel].at(y, x)
    regularisation = NOISE_TO_SIGNAL[noise] * (0.02 + (y.square() + x.square()) / 0.25**2)
    at_zero = 1 + NOISE_TO_SIGNAL[noise] * 0.02  # flat areas keep their level exactly
    response: Tensor = at_zero * transfer / (transfer.square() + regularisation)
    return response


def _separable(
    name: str, size: float, along_y: Callable[[Tensor, float], Tensor], along_x: Callable[[Tensor, float], Tensor]
) -> TransferFunction:
    return TransferFunction(name=name, size=size, at=lambda y, x: along_y(y, size) * along_x(x, size))


def _motion(angle_deg: float, length_px: float) -> TransferFunction:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return TransferFunction(
        name=f"motion{angle_deg}", size=length_px, at=lambda y, x: torch.sinc(length_px * (cos * x - sin * y))
    )


def _no_blur(frequency: Tensor, _size: float) -> Tensor:
    return torch.ones_like(frequency)


def _box(frequency: Tensor, length_px: float) -> Tensor:
    """Transfer function of `length_px` equal samples, an odd number (the Dirichlet kernel)."""
    half = torch.pi * frequency
    at_zero = half.abs() < 1e-6
    safe = torch.where(at_zero, torch.ones_like(half), half)
    return torch.where(at_zero, torch.ones_like(half), torch.sin(length_px * safe) / (length_px * torch.sin(safe)))


def _gaussian(frequency: Tensor, sigma_px: float) -> Tensor:
    return torch.exp(-2 * (torch.pi * sigma_px * frequency) ** 2)


def _down_and_up(frequency: Tensor, factor: float) -> Tensor:
    """Averaging over `factor` px (a sinc), then linear interpolation between them (a squared sinc)."""
    return torch.sinc(factor * frequency) ** 3


def _is_smooth(length: int) -> bool:
    if length % 2:
        return False
    for prime in (2, 3, 5):
        while length % prime == 0:
            length //= prime
    return length == 1
