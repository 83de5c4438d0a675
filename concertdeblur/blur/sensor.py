"""From light on the sensor to an 8-bit picture: noise, colour mosaic, tone curve, and what a phone does to it."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.tone import Light, ToneCurve

_POOL_SIZE = 1 << 21
_POOL_SEED = 7307
_WHITE = 65535  # white of the 16-bit mosaic; OpenCV's demosaicing takes integers


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor:
    """Noise of one exposure. Variance is `shot` times light, plus `read` squared, in units of white."""

    shot: float  # 1e-4 is base sensitivity, 2e-3 a phone in a dark hall
    read: float
    has_mosaic: bool = False  # each pixel has one colour (RGGB); else it has all three, as after binning
    grain_px: float = 0.0  # standard deviation of the smoothing by scaling and denoising; 0: white noise


@dataclass(frozen=True, kw_only=True, slots=True)
class Processing:
    """What happens to encoded pixels; 0 leaves a step out."""

    chroma_px: float = 0.0  # standard deviation of the smoothing of colour
    denoise_px: float = 0.0  # standard deviation of the smoothing of brightness
    sharpening: float = 0.0  # weight of the unsharp mask
    sharpening_px: float = 1.0  # standard deviation of the unsharp mask


def read_out(light: Light, sensor: Sensor, rng: np.random.Generator) -> Light:
    """Light as the sensor counts it, clipped to [0, 1]."""
    clipped = np.minimum(light, 1)
    if sensor.has_mosaic:
        return _demosaiced(_noisy(_mosaic(clipped), sensor, rng))
    return _noisy(clipped, sensor, rng)


def processed(picture: Picture, steps: Processing) -> Picture:
    """An encoded picture after denoising and sharpening."""
    if steps.chroma_px > 0 or steps.denoise_px > 0:
        luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
        if steps.chroma_px > 0:
            red, blue = (cv2.GaussianBlur(plane, (0, 0), steps.chroma_px) for plane in (red, blue))
        if steps.denoise_px > 0:
            luma = cv2.GaussianBlur(luma, (0, 0), steps.denoise_px)
        picture = np.asarray(cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
    if steps.sharpening > 0:
        soft = cv2.GaussianBlur(picture, (0, 0), steps.sharpening_px)
        sharpened = cv2.addWeighted(picture, 1 + steps.sharpening, soft, -steps.sharpening, 0)
        picture = np.asarray(sharpened, dtype=np.uint8)
    return picture


def developed(light: Light, sensor: Sensor, curve: ToneCurve, steps: Processing, rng: np.random.Generator) -> Picture:
    """Light to the picture that a phone would hand to its encoder."""
    return processed(curve.encoded(read_out(light, sensor, rng)), steps)


def _noisy(light: Light, sensor: Sensor, rng: np.random.Generator) -> Light:
    noise = _normal(light.shape, rng)
    if sensor.grain_px > 0:
        noise = np.stack([cv2.GaussianBlur(plane, (0, 0), sensor.grain_px) for plane in noise])
    noisy = light * np.float32(sensor.shot)
    noisy += np.float32(sensor.read**2)
    np.sqrt(noisy, out=noisy)
    noisy *= noise
    noisy += light
    return np.asarray(np.clip(noisy, 0, 1, out=noisy), dtype=np.float32)


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Normal numbers, taken from a pool that is made once; fresh ones for 304x304 RGB would take 3.4 ms."""
    size = int(np.prod(shape))
    if size > _POOL_SIZE // 2:
        return rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(_POOL_SIZE - size + 1))
    sign = np.float32(rng.choice((-1, 1)))
    return _pool()[start : start + size].reshape(shape) * sign


@lru_cache(maxsize=1)
def _pool() -> npt.NDArray[np.float32]:
    return np.random.default_rng(_POOL_SEED).standard_normal(_POOL_SIZE, dtype=np.float32)


def _mosaic(light: Light) -> Light:
    mosaic: Light = light[1].copy()
    mosaic[0::2, 0::2] = light[0, 0::2, 0::2]
    mosaic[1::2, 1::2] = light[2, 1::2, 1::2]
    return mosaic


def _demosaiced(mosaic: Light) -> Light:
    """RGB from an RGGB mosaic, edge-aware. OpenCV names a pattern by its second row: BayerBG is RGGB."""
    counts = (mosaic * np.float32(_WHITE) + np.float32(0.5)).astype(np.uint16)
    picture = cv2.demosaicing(counts, cv2.COLOR_BayerBG2RGB_EA)
    planes = np.stack(cv2.split(np.asarray(picture, dtype=np.uint16)))
    light: Light = planes * np.float32(1 / _WHITE)
    return light
