"""What a stage adds to a scene, in linear light: lamps beyond white, darkness without detail, things in front."""

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.draws import log_uniform
from concertdeblur.blur.tone import Light

_WHITE_FROM = 0.85  # in linear light; it is encoded as about 237 of 255
_LAMP_SIDE_PX = 33


def beyond_white(light: Light, gain: float) -> Light:
    """Light in which white becomes `gain` times brighter; the gain grows from 1 at 85 % of white."""
    brightest = np.maximum(np.maximum(light[0], light[1]), light[2])
    share = np.clip((brightest - np.float32(_WHITE_FROM)) * np.float32(1 / (1 - _WHITE_FROM)), 0, 1)
    return np.asarray(light * (1 + np.float32(gain - 1) * share * share), dtype=np.float32)


def with_lamps(light: Light, rng: np.random.Generator) -> Light:
    """Light with one to six small lamps of 2 to 30 times white, coloured or not, with a weak halo."""
    lit = light.copy()
    y, x = np.mgrid[:_LAMP_SIDE_PX, :_LAMP_SIDE_PX].astype(np.float32) - _LAMP_SIDE_PX // 2
    for _ in range(int(rng.integers(1, 7))):
        centre = rng.uniform(-0.5, 0.5, 2)
        distance = np.hypot(y - centre[0], x - centre[1])
        core = np.clip(rng.uniform(0.6, 4) + 0.5 - distance, 0, 1)
        halo = rng.uniform(0, 0.03) * np.exp(-distance / rng.uniform(1, 4))
        colour = 1 - rng.uniform(0, 0.9) * rng.uniform(0, 1, 3) if rng.random() < 0.6 else np.ones(3)
        lamp = (core + halo) * log_uniform(rng, (2, 30)) * colour[:, None, None]
        top, left = (int(rng.integers(1 - _LAMP_SIDE_PX, length)) for length in light.shape[1:])
        inside = lit[:, max(0, top) : top + _LAMP_SIDE_PX, max(0, left) : left + _LAMP_SIDE_PX]
        inside += lamp[:, max(0, -top) :, max(0, -left) :][:, : inside.shape[1], : inside.shape[2]].astype(np.float32)
    return lit


def gradient(height: int, width: int, rng: np.random.Generator) -> Light:
    """A flat scene: one colour that changes evenly from corner to corner, or not at all."""
    corners = np.float32(rng.uniform(0, 1) ** 2) * rng.uniform(0, 1, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.5:
        corners[:] = corners[0, 0]
    whole = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.stack(cv2.split(np.asarray(whole, dtype=np.float32)))


def blob(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A mask (height, width) of random shape, 0 to 1, with soft edges; it covers a tenth to a half of the picture."""
    rough = rng.standard_normal((4, 4)).astype(np.float32)
    field = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    level = np.quantile(field[::8, ::8], rng.uniform(0.5, 0.9))
    steepness = min(height, width) / rng.uniform(8, 48)
    return np.asarray(np.clip((field - level) * steepness + 0.5, 0, 1), dtype=np.float32)
