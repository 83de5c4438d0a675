"""The bank of blur kernels that the analysis knows, and their regularised inverses.

Every kernel of the bank is symmetric, so its transfer function K is real, and its regularised inverse is
K / (K^2 + regularisation). The inverse is close to 1/K where the blur let something through, and close to 0 where it
let nothing through. A filter of the bank is the inverse of one kernel at one noise-to-signal ratio.

Shape suffixes: K filters of the bank, M mixtures of them, H and F frequencies along y and x.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from concertdeblur.blur.kernels import box_side_px, gaussian_sigma_px, line_length_px, resizing_factor
from concertdeblur.models.blur_cells import FFT_PX

# Noise-to-signal ratios at a quarter cycle a px, from bold to cautious. The power of photographs falls as 1/f^2, so the
# ratio grows as f^2. Pictures with rounding noise alone want the second or third ratio; noise and compression want the
# last ones. EXPERIMENTS.md, 2026-11-23, "an oracle: how well can one filter do".
NOISE_TO_SIGNAL = (1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.5e-2, 1e-1)
_NUM_FOLDED = FFT_PX // 2 + 1  # frequencies along y that are computed; the others mirror them
# The levels at which sizes are taken from the table of docs/method.md: fine enough to meet every odd size.
_LEVELS = tuple(step / 32 for step in range(33))
# The blurs of real cameras: motion along any line, defocus, soft lenses.
_MOTION_ANGLES_DEG = (22.5, 45, 67.5, 112.5, 135, 157.5)
_MOTION_LENGTHS_PX = (3, 5, 8, 11, 15, 20)
_DISK_RADII_PX = (1, 1.5, 2.2, 3, 4, 5.5)
_SOFT_SIGMAS_PX = (0.4, 0.6)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferFunction:
    """A symmetric blur kernel in the frequency domain: real, 1 at zero frequency."""

    name: str
    size: float  # px; sigma in px for a Gaussian, radius for a disk; the factor for resizing
    at: Callable[[Tensor, Tensor], Tensor]  # (cycles a px along y (H, 1), along x (1, F)) -> K (H, F)
    angle_deg: float | None = None  # of a line, counter-clockwise from the x axis


@lru_cache(maxsize=1)
def kernel_bank() -> tuple[TransferFunction, ...]:
    """The identity, the five linear kernels of docs/method.md in fine steps, and the blurs of real cameras."""
    lengths = (3, *sorted({line_length_px(level) for level in _LEVELS}))
    sides = sorted({box_side_px(level) for level in _LEVELS})
    sigmas = (*_SOFT_SIGMAS_PX, *(gaussian_sigma_px(step / 8) for step in range(9)))
    return (
        TransferFunction(name="identity", size=0, at=lambda y, x: torch.ones_like(y * x)),
        *(_separable("horizontal", n, _no_blur, _box, angle_deg=0) for n in lengths),
        *(_separable("vertical", n, _box, _no_blur, angle_deg=90) for n in lengths),
        *(_separable("averaging", n, _box, _box) for n in sides),
        *(_separable("gaussian", sigma, _gaussian, _gaussian) for sigma in sigmas),
        *(_separable("resizing", resizing_factor(step / 10), _down_and_up, _down_and_up) for step in range(11)),
        *(_motion(angle, length) for angle in _MOTION_ANGLES_DEG for length in _MOTION_LENGTHS_PX),
        *(_disk(radius) for radius in _DISK_RADII_PX),
    )


def num_filters() -> int:
    """Number of inverse filters: each kernel of the bank at each noise-to-signal ratio."""
    return len(kernel_bank()) * len(NOISE_TO_SIGNAL)


@lru_cache(maxsize=1)
def bank_responses(device: torch.device) -> Tensor:
    """Frequency responses of the whole bank on the FFT of a window, (K, FFT_PX, FFT_PX // 2 + 1); 170 MB."""
    with torch.inference_mode(mode=False):  # training needs them outside inference mode, too
        frequencies = _frequencies(device)
        return torch.cat([_inverses(kernel.at(*frequencies), *frequencies) for kernel in kernel_bank()])


def response(index: int, device: torch.device) -> Tensor:
    """Two responses (2, H, F): one filter R of the bank, and R K, its kernel followed by the filter."""
    frequencies = _frequencies(device)
    kernel, step = divmod(index, len(NOISE_TO_SIGNAL))
    transfer = kernel_bank()[kernel].at(*frequencies)
    inverse = _inverses(transfer, *frequencies)[step]
    return torch.stack([inverse, inverse * transfer])


def mixed(weights_MK: Tensor) -> Tensor:
    """The responses of M mixtures of the whole bank, (M, FFT_PX, FFT_PX // 2 + 1).

    All filters are mixed, not the heaviest ones alone: real blur is seldom one of the bank's kernels, and its mixture
    is spread over many filters (EXPERIMENTS.md, 2026-11-23, "whole mixtures of filters").
    """
    bank = _folded_bank(weights_MK.device)
    by_kernel = weights_MK.view(len(weights_MK), -1, len(NOISE_TO_SIGNAL))
    mirrored = by_kernel[:, bank.mirror]
    together = (by_kernel + mirrored)[:, bank.first]
    apart = (by_kernel - mirrored)[:, bank.paired]
    size = len(weights_MK), _NUM_FOLDED, -1
    even, odd = (
        (weights.flatten(1) @ responses.flatten(1)).view(*size)
        for weights, responses in ((together, bank.even), (apart, bank.odd))
    )
    return torch.cat([even + odd, (even - odd)[:, 1 : FFT_PX - _NUM_FOLDED + 1].flip(1)], 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoldedBank:
    """The bank on half of the frequencies along y, which takes half the memory and half the time to mix.

    A kernel's response at frequency -y is the response of its mirror image at y. The mirror image of a line is the line
    of the opposite slope; any other kernel is its own mirror image. So two lines that mirror each other are kept as
    half their sum, which is even in y, and half their difference, which is odd in y. A kernel that is its own mirror
    image is kept as half its response, because `mixed` adds its weight twice.
    """

    mirror: Tensor  # number of each kernel's mirror image
    first: Tensor  # number of the first kernel of each mirror pair
    paired: Tensor  # the numbers in `first` whose kernel is not its own mirror image
    even: Tensor  # (filters of first, _NUM_FOLDED, FFT_PX // 2 + 1)
    odd: Tensor  # (filters of paired, ...)


@lru_cache(maxsize=2)  # one for the networks' device, one for a test's; 85 MB each
def _folded_bank(device: torch.device) -> _FoldedBank:
    with torch.inference_mode(mode=False):
        bank = kernel_bank()
        keys = [(kernel.name, kernel.size, kernel.angle_deg) for kernel in bank]
        mirror = [keys.index((name, size, None if angle is None else -angle % 180)) for name, size, angle in keys]
        first = [number for number, other in enumerate(mirror) if number <= other]
        paired = [number for number in first if number != mirror[number]]
        all_y, x = _frequencies(device)
        y = all_y[:_NUM_FOLDED]

        def half(number: int, y: Tensor) -> Tensor:
            return _inverses(bank[number].at(y, x), y, x) / 2

        own = {number: half(number, y) for number in first}
        turned = {number: half(number, -y) for number in paired}
        return _FoldedBank(
            mirror=torch.tensor(mirror, device=device),
            first=torch.tensor(first, device=device),
            paired=torch.tensor(paired, device=device),
            even=torch.cat([own[n] + turned[n] if n in turned else own[n] for n in first]),
            odd=torch.cat([own[n] - turned[n] for n in paired]),
        )


def _inverses(transfer_HF: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Regularised inverses of a transfer function at each noise-to-signal ratio, (ratios, H, F)."""
    steps = torch.tensor(NOISE_TO_SIGNAL, device=transfer_HF.device)[:, None, None]
    regularisation = steps * (0.02 + (y.square() + x.square()) / 0.25**2)
    at_zero = 1 + steps * 0.02  # flat areas keep their level exactly
    return torch.div(at_zero * transfer_HF, transfer_HF.square() + regularisation)


def stronger(weights_K: Tensor, *, steps: int) -> Tensor:
    """A mixture (..., K) of the same kernels, each regularised `steps` steps of NOISE_TO_SIGNAL stronger."""
    by_noise = weights_K.view(*weights_K.shape[:-1], -1, len(NOISE_TO_SIGNAL))
    moved = torch.zeros_like(by_noise)
    moved[..., steps:] = by_noise[..., :-steps]
    moved[..., -1] += by_noise[..., -steps:].sum(-1)
    return moved.flatten(-2)


def _frequencies(device: torch.device) -> tuple[Tensor, Tensor]:
    """The frequencies of a window's FFT in cycles a px: along y (H, 1), along x (1, F)."""
    along_y = torch.fft.fftfreq(FFT_PX, device=device)[:, None]
    return along_y, torch.fft.rfftfreq(FFT_PX, device=device)[None, :]


def _separable(
    name: str,
    size: float,
    along_y: Callable[[Tensor, float], Tensor],
    along_x: Callable[[Tensor, float], Tensor],
    *,
    angle_deg: float | None = None,
) -> TransferFunction:
    return TransferFunction(
        name=name, size=size, at=lambda y, x: along_y(y, size) * along_x(x, size), angle_deg=angle_deg
    )


def _motion(angle_deg: float, length_px: float) -> TransferFunction:
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return TransferFunction(
        name="motion",
        size=length_px,
        at=lambda y, x: torch.sinc(length_px * (cos * x - sin * y)),
        angle_deg=angle_deg,
    )


def _no_blur(frequency: Tensor, _size: float) -> Tensor:
    return torch.ones_like(frequency)


def _box(frequency: Tensor, length_px: float) -> Tensor:
    """Transfer function of the mean of `length_px` samples, an odd number: the Dirichlet kernel."""
    half = torch.pi * frequency
    at_zero = half.abs() < 1e-6
    safe = torch.where(at_zero, torch.ones_like(half), half)
    return torch.where(at_zero, torch.ones_like(half), torch.sin(length_px * safe) / (length_px * torch.sin(safe)))


def _gaussian(frequency: Tensor, sigma_px: float) -> Tensor:
    return torch.exp(-2 * (torch.pi * sigma_px * frequency) ** 2)


def _down_and_up(frequency: Tensor, factor: float) -> Tensor:
    """Averaging over `factor` px (a sinc), then linear interpolation between them (a squared sinc)."""
    return torch.sinc(factor * frequency) ** 3


def _disk(radius_px: float) -> TransferFunction:
    def at(y: Tensor, x: Tensor) -> Tensor:
        argument = (2 * torch.pi * radius_px * torch.hypot(y, x)).clamp_min(1e-4)
        transfer: Tensor = 2 * torch.special.bessel_j1(argument) / argument
        return transfer

    return TransferFunction(name="disk", size=radius_px, at=at)
