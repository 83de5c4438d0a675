"""Training samples: (blurred, sharp) crops, each a pure function of (seed, index)."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.blur.kernels import (
    Kernel,
    Picture,
    blur,
    box_side_px,
    gaussian_sigma_px,
    line_length_px,
    resizing_factor,
)
from concertdeblur.models.fast import BLUR_TYPES
from concertdeblur.models.inverse_filter import kernel_bank
from concertdeblur.training.pictures import PictureStore

_MARGIN_PX = 24  # blurred around the crop, more than half of the largest kernel (21 px)
_IDENTITY = 0  # in kernel_bank(): what a filter can do best against median and bilateral is nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """What training samples are made of; shares are probabilities."""

    crop_px: int = 160
    sharp_share: float = 0.125
    motion_share: float = 0.1  # linear motion at any angle, up to 21 px
    nonlinear_weight: float = 0.6  # median and bilateral, relative to the five linear kernels
    noise_share: float = 0.25  # Gaussian noise, 0.3 to 3 grey levels
    jpeg_share: float = 0.25  # quality 70 to 98
    dark_share: float = 0.15  # multiplied by 0.05 to 1: stages are dark
    shrink_share: float = 0.3  # scaled down by up to 1.6 before cropping

    def __post_init__(self) -> None:
        if self.crop_px % 8 or self.crop_px < 64:
            raise ValueError(f"crop_px must be a multiple of 8, at least 64, but {self.crop_px = }")


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """N samples; labels tell the analysis heads what was done."""

    blurred_NCHW: Tensor  # float32 in [0, 1]
    sharp_NCHW: Tensor  # float32 in [0, 1]
    type_N: Tensor  # index into BLUR_TYPES
    level_N: Tensor  # 0 to 1
    kernel_N: Tensor  # index into kernel_bank() of the nearest linear kernel


@dataclass(frozen=True, slots=True)
class _Sample:
    blurred: Picture
    sharp: Picture
    type_index: int
    level: float
    kernel_index: int


class SampleStream:
    """An endless, seekable stream of training batches."""

    def __init__(self, store: PictureStore, settings: SampleSettings, *, seed: int, batch_size: int) -> None:
        self._store = store
        self._settings = settings
        self._seed = seed
        self._batch_size = batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step; the same for the same (seed, step), whatever came before."""
        first = step * self._batch_size
        return collate([self._sample(first + i) for i in range(self._batch_size)])

    def _sample(self, index: int) -> _Sample:
        rng = np.random.default_rng([self._seed, index])
        s = self._settings
        margin = _MARGIN_PX if rng.random() < 0.75 else 0  # else the crop ends where the picture ends
        region = self._region(rng, s.crop_px + 2 * margin)
        if rng.random() < s.dark_share:
            region = np.asarray(cv2.convertScaleAbs(region, alpha=rng.uniform(0.05, 1)), dtype=np.uint8)
        level = float(rng.random())
        blurred, type_index, kernel_index = _blurred(rng, region, level, s)
        inner = slice(margin, margin + s.crop_px)
        blurred = _degraded(rng, blurred[inner, inner], s)
        return _Sample(blurred, region[inner, inner], type_index, level if type_index else 0.0, kernel_index)

    def _region(self, rng: np.random.Generator, side_px: int) -> Picture:
        picture = self._store.read(int(rng.integers(len(self._store))))
        scale = rng.uniform(1, 1.6) if rng.random() < self._settings.shrink_share else 1.0
        wanted = min(round(side_px * scale), *picture.shape[:2])
        y = int(rng.integers(picture.shape[0] - wanted + 1))
        x = int(rng.integers(picture.shape[1] - wanted + 1))
        region = picture[y : y + wanted, x : x + wanted]
        if wanted != side_px:
            region = np.asarray(cv2.resize(region, (side_px, side_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if rng.random() < 0.5:
            region = region[:, ::-1]
        if rng.random() < 0.5:
            region = region.transpose(1, 0, 2)
        return np.ascontiguousarray(region)


def collate(samples: list[_Sample]) -> Batch:
    """Stack samples into tensors."""
    return Batch(
        blurred_NCHW=to_tensor(np.stack([s.blurred for s in samples])),
        sharp_NCHW=to_tensor(np.stack([s.sharp for s in samples])),
        type_N=torch.tensor([s.type_index for s in samples]),
        level_N=torch.tensor([s.level for s in samples]),
        kernel_N=torch.tensor([s.kernel_index for s in samples]),
    )


def to_tensor(pictures_NHWC: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1], channels_last."""
    return torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2).float().div_(255)


def motion_blurred(picture: Picture, angle_deg: float, length_px: float) -> Picture:
    """Blur along a line of any angle (degrees, counter-clockwise from the x axis) and length."""
    side = 2 * math.ceil(length_px / 2) + 3
    centre = side / 2
    dx, dy = math.cos(math.radians(angle_deg)) * length_px / 2, -math.sin(math.radians(angle_deg)) * length_px / 2
    scale = 16  # drawn with sub-pixel ends, then averaged down
    drawn = np.zeros((side * scale, side * scale), np.float32)
    start = (round((centre - dx) * scale), round((centre - dy) * scale))
    end = (round((centre + dx) * scale), round((centre + dy) * scale))
    cv2.line(drawn, start, end, 1.0, scale)
    kernel = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), dtype=np.uint8)


def _blurred(
    rng: np.random.Generator, region: Picture, level: float, settings: SampleSettings
) -> tuple[Picture, int, int]:
    """The blurred region, the index of its type and the nearest kernel of the bank."""
    draw = rng.random()
    if draw < settings.sharp_share:
        return region, 0, 0
    if draw < settings.sharp_share + settings.motion_share:
        angle, length = rng.uniform(0, 180), line_length_px(level)
        return motion_blurred(region, angle, length), BLUR_TYPES.index("motion"), _nearest_motion(angle, length)
    weights = np.array([settings.nonlinear_weight if k in (Kernel.MEDIAN, Kernel.BILATERAL) else 1.0 for k in Kernel])
    kernel = list(Kernel)[int(rng.choice(len(Kernel), p=weights / weights.sum()))]
    return blur(region, kernel, level), BLUR_TYPES.index(kernel.value), nearest_kernel(kernel, level)


def nearest_kernel(kernel: Kernel, level: float) -> int:
    """Index of the bank's kernel nearest to a blur; identity for median and bilateral."""
    sizes = {
        Kernel.HORIZONTAL: line_length_px(level),
        Kernel.VERTICAL: line_length_px(level),
        Kernel.AVERAGING: box_side_px(level),
        Kernel.GAUSSIAN: gaussian_sigma_px(level),
        Kernel.RESIZING: resizing_factor(level),
    }
    if kernel not in sizes:
        return _IDENTITY
    candidates = [(abs(entry.size - sizes[kernel]), i) for i, entry in enumerate(kernel_bank()) if entry.name == kernel]
    return min(candidates)[1]


def _nearest_motion(angle_deg: float, length_px: float) -> int:
    names = {0: "horizontal", 180: "horizontal", 90: "vertical"} | {
        a: f"motion{a}" for a in (30, 45, 60, 120, 135, 150)
    }
    name = names[min(names, key=lambda a: abs(a - angle_deg))]
    candidates = [(abs(entry.size - length_px), i) for i, entry in enumerate(kernel_bank()) if entry.name == name]
    return min(candidates)[1]


def _degraded(rng: np.random.Generator, picture: Picture, settings: SampleSettings) -> Picture:
    if rng.random() < settings.noise_share:
        noise = rng.normal(0, rng.uniform(0.3, 3), picture.shape)
        picture = np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg_share:
        quality = int(rng.integers(70, 99))
        encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])
    return picture
