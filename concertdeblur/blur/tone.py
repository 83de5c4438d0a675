"""Camera tone curves: from the linear light of a sensor to the encoded 8 bits of a file, and back."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture

# Linear light, never negative: 0 black, 1 the brightest that the file holds, lamps beyond. Planes (3, height, width):
# weighting all pixels is then one long loop, 2 to 5 times faster than with the colours innermost.
Light = npt.NDArray[np.float32]

# Tables are indexed by the square root of light: 1/4096 of it is at most 0.06 of an encoded level anywhere.
_NUM_ENTRIES = 4096
_GRID = np.linspace(0, 1, _NUM_ENTRIES) ** 2


@dataclass(frozen=True, slots=True)
class ToneCurve:
    """A camera's tone curve as two tables; `encoded(linear(picture))` is the picture, bit for bit."""

    to_linear: npt.NDArray[np.float32]  # light of each of the 256 levels
    to_encoded: npt.NDArray[np.uint8]  # the level, by the square root of light

    def linear(self, picture: Picture) -> Light:
        """The light (3, height, width), in [0, 1], of encoded pixels (height, width, 3)."""
        planes = np.stack(cv2.split(picture))
        light = cv2.LUT(planes.reshape(-1, planes.shape[2]), self.to_linear)
        return np.asarray(light, dtype=np.float32).reshape(planes.shape)

    def encoded(self, light: Light) -> Picture:
        """The encoded pixels (height, width, 3) of light, clipped to 8 bits."""
        index = np.sqrt(light)
        index *= np.float32(_NUM_ENTRIES - 1)
        index += np.float32(0.5)
        np.minimum(index, _NUM_ENTRIES - 1, out=index)
        planes = np.take(self.to_encoded, index.astype(np.uint16), mode="clip")
        return np.asarray(cv2.merge(list(planes)), dtype=np.uint8)


def tone_curve(*, gamma: float = 1.0, contrast: float = 0.0) -> ToneCurve:
    """The sRGB curve (IEC 61966-2-1), bent by an exponent and an S.

    Args:
        gamma: Exponent on the encoded value; 1 for none.
        contrast: Weight of e (1 - e) (2 e - 1) added to the encoded value e, in (-1, 1) so that the curve rises.

    """
    srgb = np.where(_GRID <= 0.0031308, 12.92 * _GRID, 1.055 * _GRID ** (1 / 2.4) - 0.055)
    bent = srgb**gamma
    bent = bent + contrast * bent * (1 - bent) * (2 * bent - 1)
    to_linear = np.interp(np.arange(256) / 255, bent, _GRID)
    return ToneCurve(
        to_linear=to_linear.astype(np.float32),
        to_encoded=np.clip(bent * 255 + 0.5, 0, 255).astype(np.uint8),
    )
