"""One picture as pixels, and how it changes its number of bits."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from concertdeblur.frame import Pixels

Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Still:
    """One picture of a file, upright."""

    pixels: Pixels  # (height, width) grey or (height, width, 3) RGB; uint8, uint16 or float32 from 0 to 1
    alpha: Pixels | None = None  # (height, width), of the same type; never multiplied in
    duration_ms: float = 0.0  # in an animation

    @property
    def rgb(self) -> Pixels:
        """The pixels as (height, width, 3); grey three times over."""
        return np.repeat(self.pixels[:, :, None], 3, axis=2) if self.pixels.ndim == 2 else self.pixels

    def with_rgb(self, rgb: Pixels) -> "Still":
        """The same picture with other pixels; a grey one stays grey."""
        return replace(self, pixels=np.ascontiguousarray(rgb[:, :, 1]) if self.pixels.ndim == 2 else rgb)

    def in_bits(self, depth_bits: int) -> "Still":
        """The same picture in no more than 8, 16 or 32 bits a channel."""
        alpha = None if self.alpha is None else _rounded(self.alpha, depth_bits)
        return replace(self, pixels=_rounded(self.pixels, depth_bits), alpha=alpha)

    def interleaved(self) -> Pixels:
        """Pixels and alpha in one array, (height, width) or (height, width, 2 to 4)."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])


def split(channels: Pixels, *, duration_ms: float = 0.0) -> Still:
    """A picture of an array of 1 (or none) to 4 channels, where 2 and 4 have alpha last."""
    if channels.ndim == 2:
        return Still(pixels=np.ascontiguousarray(channels), duration_ms=duration_ms)
    num_channels = channels.shape[2]
    alpha = np.ascontiguousarray(channels[:, :, -1]) if num_channels in (2, 4) else None
    colour = channels[:, :, 0] if num_channels < 3 else channels[:, :, :3]
    return Still(pixels=np.ascontiguousarray(colour), alpha=alpha, duration_ms=duration_ms)


def rgb_8_bits(still: Still) -> Bytes:
    """The pixels of any picture as (height, width, 3) uint8, without its alpha."""
    return np.asarray(still.in_bits(8).rgb, dtype=np.uint8)


def _rounded(pixels: Pixels, depth_bits: int) -> Pixels:
    if pixels.dtype == np.float32 and depth_bits < 32:
        full = 255 if depth_bits == 8 else 65535
        kind = np.uint8 if depth_bits == 8 else np.uint16
        return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(full)), dtype=kind)
    if pixels.dtype == np.uint16 and depth_bits == 8:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return pixels
