"""A bank of regularised inverse filters, mixed by what the blur analysis says, cell by cell.

Every kernel of the bank is symmetric, so its transfer function K is real and its regularised
inverse is K / (K^2 + regularisation): close to 1/K where the blur let something through, close to 0
where it let nothing through. Mixing inverses costs one FFT and one inverse FFT a cell, however many
kernels there are.

Cells lie on a fixed grid, so tiles of one frame agree, memory does not grow with the frame, and each
cell may have a blur of its own. Beyond the frame's border lies its reflection: a blur made with
OpenCV's default border is undone exactly up to there.

Shape suffixes: N frames, C channels, H height, W width, R rows and Q columns of cells, K filters of
the bank, M windows, F frequencies along x.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from concertdeblur.blur.kernels import box_side_px, gaussian_sigma_px, line_length_px, resizing_factor
from concertdeblur.models.spectrum import luma

CELL_PX = 256  # also BRMR's cells
REACH_PX = 48  # of real picture that a filter sees before its cell; twice as much gains lines 0.1 dB
_AHEAD_PX = 32  # and after it: as far as cells fade into each other
# At a window's end, where it fades into what lies before its beginning: no jump where the FFT wraps. Half as
# much costs lines 1 dB.
_LOOP_PX = 64
WINDOW_PX = REACH_PX + CELL_PX + _AHEAD_PX + _LOOP_PX  # the FFT of one cell: 2^4 * 5^2
_NUM_FOLDED = WINDOW_PX // 2 + 1  # frequencies along y that say it all: the others mirror them
BEFORE_PX = REACH_PX + _LOOP_PX  # of a cell's surroundings, before it
_FADE_PX = _AHEAD_PX  # on either side of a border between cells, where their results fade into each other
# Noise-to-signal ratios at a quarter cycle a px; photographs' power falls as 1/f^2, so the ratio grows as f^2.
# With 8-bit rounding alone boxes want the second, lines the third (oracle on held-out photographs); compression
# and noise want the last.
NOISE_TO_SIGNAL = (1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.5e-2, 1e-1)
# The cautious filter is so many steps stronger: where the first one rings, beside strong edges, it does not.
_CAUTIOUS_STEPS = 2
# Levels at which sizes are taken from METHOD.md's table: fine enough to hit every odd size.
_LEVELS = tuple(step / 32 for step in range(33))
# Real cameras: motion along any line, defocus, soft lenses.
_MOTION_ANGLES_DEG = (22.5, 45, 67.5, 112.5, 135, 157.5)
_MOTION_LENGTHS_PX = (3, 5, 8, 11, 15, 20)
_DISK_RADII_PX = (1, 1.5, 2.2, 3, 4, 5.5)
_SOFT_SIGMAS_PX = (0.4, 0.6)
_CELLS_AT_ONCE = 32  # mixed by one product: 20 MB of filters


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferFunction:
    """A symmetric blur kernel in the frequency domain: real, 1 at zero frequency."""

    name: str
    size: float  # px; sigma in px for a Gaussian, radius for a disk; the factor for resizing
    at: Callable[[Tensor, Tensor], Tensor]  # (cycles a px along y (H, 1), along x (1, F)) -> K (H, F)
    angle_deg: float | None = None  # of a line, counter-clockwise from the x axis


@lru_cache(maxsize=1)
def kernel_bank() -> tuple[TransferFunction, ...]:
    """Identity, the five linear kernels of METHOD.md's table at fine steps, and a camera's blurs."""
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
    """Frequency responses of the whole bank on the FFT of a window, (K, WINDOW_PX, WINDOW_PX // 2 + 1); 170 MB."""
    with torch.inference_mode(mode=False):  # whoever asks first, training can use it
        frequencies = _frequencies(device)
        return torch.cat([_inverses(kernel.at(*frequencies), *frequencies) for kernel in kernel_bank()])


def response(index: int, device: torch.device) -> Tensor:
    """One filter of the bank, and what is left of each frequency after its kernel and then the filter: (2, H, F)."""
    frequencies = _frequencies(device)
    kernel, step = divmod(index, len(NOISE_TO_SIGNAL))
    transfer = kernel_bank()[kernel].at(*frequencies)
    inverse = _inverses(transfer, *frequencies)[step]
    return torch.stack([inverse, inverse * transfer])


def mixed(weights_MK: Tensor) -> Tensor:
    """The responses of M mixtures of the whole bank, (M, WINDOW_PX, WINDOW_PX // 2 + 1).

    Real blur is seldom one of the bank's kernels: the sixteen heaviest filters hold four fifths of a mixture for one of
    the seven kernels, but a third of it for a camera's blur. Leaving out the rest costs 0.10 dB there, and 0.03 on the
    seven.
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
    return torch.cat([even + odd, (even - odd)[:, 1 : WINDOW_PX - _NUM_FOLDED + 1].flip(1)], 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FoldedBank:
    """The bank on the first half of the frequencies along y: half the numbers, half the time.

    A kernel's response at -y is that of its mirror image at y: a line of the opposite slope, or the kernel itself. So
    two such lines are kept as half their sum, which is even in y, and half their difference, which is odd. A kernel
    that is its own image is kept as its half: its weight is added twice.
    """

    mirror: Tensor  # number of each kernel's mirror image
    first: Tensor  # of each kernel and its mirror image, the one that comes first
    paired: Tensor  # those of them that are not their own
    even: Tensor  # (filters of first, _NUM_FOLDED, WINDOW_PX // 2 + 1)
    odd: Tensor  # (filters of paired, ...)


@lru_cache(maxsize=2)  # the networks' device, and a test's; 85 MB
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


def cautious(weights_K: Tensor) -> Tensor:
    """Weights (..., K) of the same kernels, each at a much stronger regularisation."""
    return stronger(weights_K, steps=_CAUTIOUS_STEPS)


def stronger(weights_K: Tensor, *, steps: int) -> Tensor:
    """Weights (..., K) of the same kernels, each regularised so many steps of NOISE_TO_SIGNAL stronger."""
    by_noise = weights_K.view(*weights_K.shape[:-1], -1, len(NOISE_TO_SIGNAL))
    moved = torch.zeros_like(by_noise)
    moved[..., steps:] = by_noise[..., :-steps]
    moved[..., -1] += by_noise[..., -steps:].sum(-1)
    return moved.flatten(-2)


def grid_of(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of cells of a frame."""
    return math.ceil(height / CELL_PX), math.ceil(width / CELL_PX)


def filter_frames(frames_NCHW: Tensor, weights_NRQK: Tensor) -> Tensor:
    """Inverse-filter frames of any size, each cell with its own mixture of filters.

    Args:
        frames_NCHW: RGB in [0, 1].
        weights_NRQK: Weights of the filters in each cell of `grid_of` the frame; they sum to 1.

    Returns:
        (N, 4, H, W), channels_last unless the frames are contiguous, not clamped: the filtered frames, and the
        luma of the cautiously filtered ones.
    """
    height, width = frames_NCHW.shape[2:]
    num, rows, columns = weights_NRQK.shape[:3]
    faded = (fades(rows, height, frames_NCHW), fades(columns, width, frames_NCHW))
    layout = torch.contiguous_format if frames_NCHW.is_contiguous() else torch.channels_last
    filtered = frames_NCHW.new_zeros(num, 4, height, width).contiguous(memory_format=layout)
    filters = _bold_and_wary(weights_NRQK.flatten(0, 2))
    for n in range(num):
        for row in range(rows):
            for column in range(columns):
                window = looped(surrounded_window(frames_NCHW[n], row, column))
                made = _filtered(window[None], *next(filters))
                (top, bottom), (left, right) = faded_area(row, height), faded_area(column, width)
                y, x = top - (row * CELL_PX - REACH_PX), left - (column * CELL_PX - REACH_PX)
                fade = faded[0][row, top:bottom, None] * faded[1][column, None, left:right]
                part = (slice(y, y + bottom - top), slice(x, x + right - left))
                for channels, planes in zip((slice(0, 3), slice(3, 4)), made, strict=True):  # joining would copy them
                    filtered[n, channels, top:bottom, left:right] += fade * planes[0][(..., *part)]
    return filtered


def apply_weights(windows_MCHW: Tensor, weights_MK: Tensor) -> Tensor:
    """Filter looped windows (M, 3, WINDOW_PX, WINDOW_PX), each with its mixture; (M, 4, ...) as `filter_frames`.

    The weights can be learned through it.
    """
    return torch.cat(_filtered(windows_MCHW, mixed(weights_MK), mixed(cautious(weights_MK))), 1)


def _bold_and_wary(weights_MK: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The responses of both filters of each row, (1, WINDOW_PX, WINDOW_PX // 2 + 1) each."""
    for weights in torch.split(weights_MK, _CELLS_AT_ONCE):
        both = mixed(torch.cat([weights, cautious(weights)]))
        bold, wary = torch.chunk(both, 2)
        yield from zip(torch.split(bold, 1), torch.split(wary, 1), strict=True)


def _filtered(windows_MCHW: Tensor, bold_MHF: Tensor, wary_MHF: Tensor) -> tuple[Tensor, Tensor]:
    """The filtered windows, and the cautiously filtered luma."""
    spectra = torch.fft.rfft2(windows_MCHW)
    size = (WINDOW_PX, WINDOW_PX)
    brightness = luma(spectra) * wary_MHF[:, None]
    return torch.fft.irfft2(spectra * bold_MHF[:, None], s=size), torch.fft.irfft2(brightness, s=size)


def looped(surrounded_CHW: Tensor) -> Tensor:
    """A window with `_LOOP_PX` more before it -> the window, its end faded into what lies before its beginning."""
    fade = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(_LOOP_PX, device=surrounded_CHW.device) + 0.5) / _LOOP_PX)
    for dim in (-2, -1):
        before, window = torch.split(surrounded_CHW, [_LOOP_PX, WINDOW_PX], dim)
        body, end = torch.split(window, [WINDOW_PX - _LOOP_PX, _LOOP_PX], dim)
        along = fade[:, None] if dim == -2 else fade
        surrounded_CHW = torch.cat([body, end + along * (before - end)], dim)
    return surrounded_CHW


def surrounded_index(cell: int, length: int, *, device: torch.device | None = None) -> Tensor:
    """Where the pixels of a cell's window, and `_LOOP_PX` before it, lie in a row of `length` px; reflected."""
    first = cell * CELL_PX - BEFORE_PX
    return _reflected(torch.arange(first, first + _LOOP_PX + WINDOW_PX, device=device), length)


def surrounded_window(frames: Tensor, row: int, column: int) -> Tensor:
    """A cell's window of frames (..., H, W), with `_LOOP_PX` more before it; ready for `looped`."""
    return _span(_span(frames, -2, row), -1, column)


def _span(frames: Tensor, dim: int, cell: int) -> Tensor:
    """The px of `surrounded_index`, by slices where the reflection is a single one: no copy of the frame."""
    length, start = frames.shape[dim], cell * CELL_PX - BEFORE_PX
    stop = start + _LOOP_PX + WINDOW_PX
    before, after = max(0, -start), max(0, stop - length)
    inside = frames.narrow(dim, max(0, start), min(stop, length) - max(0, start))
    size = inside.shape[dim]
    if not before and not after:
        return inside
    if max(before, after) >= size:
        return frames.index_select(dim, surrounded_index(cell, length, device=frames.device))
    first, last = inside.narrow(dim, 1, before), inside.narrow(dim, size - 1 - after, after)
    return torch.cat([first.flip(dim), inside, last.flip(dim)], dim)


def faded_area(cell: int, length: int) -> tuple[int, int]:
    """First px, and last px + 1, that a cell has a share in, of a row of `length` px."""
    return max(0, cell * CELL_PX - _FADE_PX), min(length, (cell + 1) * CELL_PX + _FADE_PX)


def fades(num_cells: int, length: int, like: Tensor) -> Tensor:
    """Share of each cell in each pixel of a row, (num_cells, length); they sum to 1 everywhere."""
    position = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    borders = CELL_PX * torch.arange(1, num_cells, device=like.device, dtype=like.dtype)
    passed = ((position - borders[:, None]) / (2 * _FADE_PX) + 0.5).clamp(0, 1)  # 0 before a border, 1 after it
    ones, zeros = torch.ones_like(position)[None], torch.zeros_like(position)[None]
    return torch.cat([ones, passed]) - torch.cat([passed, zeros])


def _frequencies(device: torch.device) -> tuple[Tensor, Tensor]:
    """Of a window's FFT, cycles a px: along y (H, 1), along x (1, F)."""
    along_y = torch.fft.fftfreq(WINDOW_PX, device=device)[:, None]
    return along_y, torch.fft.rfftfreq(WINDOW_PX, device=device)[None, :]


def _reflected(index: Tensor, size: int) -> Tensor:
    """Reflect indices into [0, size) without repeating the edge, as often as it takes."""
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return torch.where(index < size, index, period - index)


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


def _disk(radius_px: float) -> TransferFunction:
    def at(y: Tensor, x: Tensor) -> Tensor:
        argument = (2 * torch.pi * radius_px * torch.hypot(y, x)).clamp_min(1e-4)
        transfer: Tensor = 2 * torch.special.bessel_j1(argument) / argument
        return transfer

    return TransferFunction(name="disk", size=radius_px, at=at)
