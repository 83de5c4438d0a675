"""Paths of a shaking hand or a moving singer during one exposure, and the blur kernels that they draw.

A path is an array (N, 2) of (x, y) in pixels at N equal moments of the exposure. Kernels are float32, square, odd,
sum to 1, and their centroid is the centre pixel, so that a blurred picture is not shifted against the sharp one.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

Path = npt.NDArray[np.float64]
BlurKernel = npt.NDArray[np.float32]

NUM_MOMENTS = 96  # moments of a path; for 32 px a step is at most a third of a pixel
_TIMES = np.linspace(-0.5, 0.5, NUM_MOMENTS)


def shake(rng: np.random.Generator, length_px: float) -> Path:
    """A hand-held camera's smooth path: anything from a straight pan to a curve that turns back.

    It is the sum of a line and of three sines of falling weight in either axis. The weight of the sines is random.

    Args:
        rng: Source of randomness.
        length_px: The largest distance between two points of the path, along x or y or aslant.

    """
    angle = rng.uniform(0, math.pi)
    roughness = rng.uniform(0, 1) ** 2
    line = _TIMES[:, None] * np.array([math.cos(angle), -math.sin(angle)])
    waves = np.zeros((NUM_MOMENTS, 2))
    for order in (1, 2, 3):
        weight, phase = rng.normal(0, 0.5 / order, 2), rng.uniform(0, 2 * math.pi, 2)
        waves += weight * np.sin(2 * math.pi * 0.7 * order * _TIMES[:, None] + phase)
    return scaled(line + roughness * waves, length_px)


def straight(rng: np.random.Generator, length_px: float) -> Path:
    """A path of constant speed along a line of any direction."""
    angle = rng.uniform(0, math.pi)
    return scaled(_TIMES[:, None] * np.array([math.cos(angle), -math.sin(angle)]), length_px)


def scaled(path: Path, length_px: float) -> Path:
    """The path, scaled to an extent of `length_px` and moved so that its centroid is at 0."""
    centred = path - path.mean(axis=0)
    extent = extent_px(centred)
    return np.asarray(centred * (length_px / extent) if extent > 1e-9 else centred)


def extent_px(path: Path) -> float:
    """The largest width of a path over all directions (to within 1 %)."""
    angles = np.linspace(0, math.pi, 16, endpoint=False)
    along = path @ np.stack([np.cos(angles), np.sin(angles)])
    return float(np.ptp(along, axis=0).max())


def drawn(path: Path, optics: BlurKernel | None = None) -> BlurKernel:
    """The kernel of a path, seen through `optics` (`lens`) if given."""
    centred = path - path.mean(axis=0)
    radius = math.ceil(float(np.abs(centred).max())) + 1
    side = 2 * radius + 1
    whole = np.floor(centred).astype(np.int64)
    part = centred - whole
    corner = (whole[:, 1] + radius) * side + whole[:, 0] + radius
    right, down = part[:, 0], part[:, 1]
    index = np.concatenate([corner, corner + 1, corner + side, corner + side + 1])
    weight = np.concatenate([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down])
    kernel = np.bincount(index, weight, side * side).reshape(side, side).astype(np.float32)
    if optics is not None:
        margin = len(optics) // 2
        padded = cv2.copyMakeBorder(kernel, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
        kernel = np.asarray(cv2.filter2D(padded, -1, optics, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)
    kernel = np.maximum(kernel, 0)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def lens(radius_px: float, softness_px: float, *, num_blades: int = 0, turn_rad: float = 0.0) -> BlurKernel:
    """The kernel of a lens: an even disk, or polygon, of a defocused point, softened by a Gaussian.

    Args:
        radius_px: Radius of the disk, or the circle about the polygon; 0 for none.
        softness_px: Standard deviation of the Gaussian; 0 for none.
        num_blades: Corners of the polygon; 0 for a disk.
        turn_rad: Angle by which the polygon is turned.

    """
    margin = math.ceil(radius_px) + max(1, math.ceil(3 * softness_px))
    if radius_px < 0.05:
        kernel = np.zeros((2 * margin + 1, 2 * margin + 1), np.float32)
        kernel[margin, margin] = 1
    else:
        y, x = np.mgrid[-margin : margin + 1, -margin : margin + 1].astype(np.float32)
        distance = np.hypot(x, y)
        if num_blades:
            wedge = 2 * math.pi / num_blades
            aside = (np.arctan2(y, x) + turn_rad) % wedge - wedge / 2
            distance = distance * np.cos(aside) / math.cos(wedge / 2)
        kernel = np.clip(radius_px + 0.5 - distance, 0, 1).astype(np.float32)  # the edge covers a part of its pixels
        kernel = (kernel + kernel[::-1, ::-1]) / 2  # an odd polygon's centroid is off its centre
    if softness_px > 0:
        side = 2 * margin + 1
        soft = cv2.GaussianBlur(kernel, (side, side), softness_px, borderType=cv2.BORDER_CONSTANT)
        kernel = np.asarray(soft, dtype=np.float32)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
