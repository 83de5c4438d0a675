"""A perceptual hash of 64 bits, by which frames that show the same picture are found."""

import cv2
import numpy as np
import numpy.typing as npt

_SIDE_PX = 32
_FREQUENCIES = 8
NEAR_BITS = 8  # the same picture, encoded, scaled or a second later, differs by so many bits; others differ by 20 to 44


def perceptual_hash(picture: npt.NDArray[np.uint8]) -> int:
    """64 bits from the signs of the lowest frequencies about their median (pHash).

    Args:
        picture: (height, width, 3) RGB, or (height, width) luma.

    """
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean is brightness, not content
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance_bits(first: int, second: int) -> int:
    """The number of bits in which two hashes differ."""
    return (first ^ second).bit_count()
