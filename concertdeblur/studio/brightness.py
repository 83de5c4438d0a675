"""HDR pixels as a page shows them: in the brightness and the colours of an ordinary screen.

Pictures and videos of the page are in 8 bits of sRGB or BT.709. Pixels in PQ or HLG look pale there, and browsers
differ in what they do about it. So light is computed, and what is brighter than paper is compressed.
"""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.tone import tone_curve
from concertdeblur.frame import HLG, PQ, Colour, Pixels, full_scale

Light = npt.NDArray[np.float32]  # (height, width, 3), linear; 1 is white paper

_WHITE_CDM2 = 203.0  # of white paper in PQ and HLG (ITU-R BT.2408, table 1)
_HLG_PEAK_CDM2, _HLG_GAMMA = 1000.0, 1.2  # the display of HLG's reference (ITU-R BT.2100, table 5)
_KNEE = 0.5  # light above it is compressed, so that lamps keep some of their shape
_BT2020 = 9
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
_TO_BT709 = np.array(  # ITU-R BT.2087, table 3, inverted
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def in_ordinary_light(pixels: Pixels, colour: Colour) -> npt.NDArray[np.uint8]:
    """Pixels of an HDR clip in sRGB.

    Args:
        pixels: (height, width, 3) R'G'B' in the clip's own transfer and primaries.
        colour: The clip's; its transfer is PQ or HLG.

    """
    light = _light(pixels, colour.transfer)
    if colour.primaries == _BT2020:
        light = np.asarray(cv2.transform(light, _TO_BT709), dtype=np.float32)
    light = _compressed(np.maximum(light, 0))
    return tone_curve().encoded(np.ascontiguousarray(light.transpose(2, 0, 1)))


def _light(pixels: Pixels, transfer: int) -> Light:
    is_deep = pixels.dtype == np.uint16
    levels = np.asarray(pixels if is_deep else np.rint(pixels * (65535 / full_scale(pixels))), dtype=np.uint16)
    light: Light = _table(transfer)[levels]
    if transfer == HLG:  # a display makes what is bright brighter still, all three colours alike
        luma = np.maximum(light @ _LUMA, np.float32(1e-6))
        light *= (luma ** np.float32(_HLG_GAMMA - 1) * np.float32(_HLG_PEAK_CDM2 / _WHITE_CDM2))[..., None]
    return light


@cache
def _table(transfer: int) -> npt.NDArray[np.float32]:
    """Light of each of 65536 levels: as shares of white paper for PQ, of the scene's brightest for HLG."""
    level = np.linspace(0, 1, 65536)
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = level ** (1 / m2)
        light = 10000 / _WHITE_CDM2 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:  # ARIB STD-B67
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
    return light.astype(np.float32)


def _compressed(light: Light) -> Light:
    """Light in [0, 1]; the brightest of the three colours decides, so that colours stay what they are."""
    most = light.max(axis=2)
    rest = np.float32(1 - _KNEE)
    above = np.maximum(most - np.float32(_KNEE), 0)
    kept = np.minimum(most, np.float32(_KNEE)) + rest * (1 - np.exp(-above / rest))
    share = np.divide(kept, most, out=np.ones_like(most), where=most > 0)
    return np.asarray(light * share[..., None], dtype=np.float32)
