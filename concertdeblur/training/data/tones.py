"""Motion samples as another camera would have filmed them: in other colours, brighter or darker, of another contrast.

A training set has few real scenes, and a network soon knows them by heart. Tones make more of each: all frames of a
sample, the truth and the guesses go through the same curves. What was blurred stays blurred alike, since a curve is
nearly straight over the range of values that meet in a blurred pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture
from concertdeblur.models.spectrum import LUMA_WEIGHTS
from concertdeblur.training.data.guesses import Guesses

# Of what is drawn: the exponent's logarithm, the gain, each colour's logarithm of the gain, and how bright black gets.
_EXPONENT, _GAIN, _COLOUR, _LIFT = 0.25, (0.65, 1.08), 0.12, 0.03
_SWAPPED_SHARE = 0.5  # share of tones that swap colours
_LUMA = np.array(LUMA_WEIGHTS, np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """What another camera makes of a picture."""

    order: tuple[int, int, int]  # the colour from which each colour is taken
    curves: npt.NDArray[np.uint8]  # (256, 3), of each new colour

    def of(self, picture: Picture) -> Picture:
        """A picture (height, width, 3) in this tone."""
        made = cv2.LUT(np.ascontiguousarray(picture[..., self.order]), self.curves[None])
        return np.asarray(made, dtype=np.uint8)

    def of_guesses(self, guesses: Guesses) -> Guesses:
        """Guesses (4, height, width) in this tone: RGB, and the luma of a guess of its own."""
        red_green_blue, luma = guesses[:3].astype(np.float32), guesses[3].astype(np.float32)
        levels = np.linspace(0, 1, 256, dtype=np.float32)
        made = np.empty_like(guesses, dtype=np.float32)
        for colour, source in enumerate(self.order):
            made[colour] = np.interp(red_green_blue[source], levels, self.curves[:, colour] / np.float32(255))
        # How far the two guesses differ is stretched as the curve of grey stretches values there.
        grey = (self.curves @ _LUMA) / np.float32(255)
        stretch = np.interp(luma, levels, np.gradient(grey, levels)).astype(np.float32)
        made[3] = np.tensordot(_LUMA, made[:3], 1) + stretch * (luma - np.tensordot(_LUMA, red_green_blue, 1))
        return made.astype(guesses.dtype)


def drawn_tone(rng: np.random.Generator) -> Tone:
    """A tone at random."""
    gain = rng.uniform(*_GAIN) * np.exp(rng.uniform(-_COLOUR, _COLOUR, 3))
    exponent, lift = np.exp(rng.uniform(-_EXPONENT, _EXPONENT)), rng.uniform(0, _LIFT)
    light = np.minimum(1, gain * np.linspace(0, 1, 256)[:, None] ** exponent)
    order = rng.permutation(3) if rng.random() < _SWAPPED_SHARE else np.arange(3)
    red, green, blue = (int(colour) for colour in order)
    curves = np.rint((lift + (1 - lift) * light) * 255).astype(np.uint8)
    return Tone(order=(red, green, blue), curves=curves)
