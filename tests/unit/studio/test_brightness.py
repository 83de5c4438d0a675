"""HDR in ordinary brightness: against the formulas of the standards, one pixel at a time."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from concertdeblur.frame import HLG, PQ, Colour, Pixels
from concertdeblur.studio.brightness import in_ordinary_light

_BT709, _BT2020 = 1, 9


def pq_level(light_cdm2: float) -> float:
    """The level in [0, 1] of light, by SMPTE ST 2084."""
    power = (light_cdm2 / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg_level(light_cdm2: float) -> float:
    """The level in [0, 1] of grey light on a display of 1000 cd/m2, by ITU-R BT.2100."""
    scene = (light_cdm2 / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return math.sqrt(3 * scene)
    return 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


def srgb(light: float) -> float:
    """The level in [0, 255] of light, by IEC 61966-2-1."""
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


def shown(levels: list[float], transfer: int, primaries: int = _BT2020, dtype: str = "uint16") -> list[int]:
    """What one pixel becomes."""
    pixel = np.array(levels) * {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    pixels: Pixels = (pixel if dtype == "float32" else np.rint(pixel)).astype(dtype).reshape(1, 1, 3)
    found: list[int] = in_ordinary_light(pixels, Colour(primaries=primaries, transfer=transfer)).reshape(3).tolist()
    return found


@pytest.mark.parametrize(("transfer", "level"), [(PQ, pq_level), (HLG, hlg_level)])
@pytest.mark.parametrize("light_cdm2", [0.5, 4, 26, 100])
def test_what_is_darker_than_paper_is_as_bright_as_it_was_meant(
    transfer: int, level: Callable[[float], float], light_cdm2: float
) -> None:
    assert shown([level(light_cdm2)] * 3, transfer) == pytest.approx([srgb(light_cdm2 / 203)] * 3, abs=1)


@pytest.mark.parametrize(("transfer", "level"), [(PQ, pq_level), (HLG, hlg_level)])
def test_what_is_brighter_keeps_its_order_below_white(transfer: int, level: Callable[[float], float]) -> None:
    grey = [shown([level(light)] * 3, transfer)[0] for light in (0.001, 50, 150, 203, 300, 400)]
    assert grey == sorted(set(grey))
    assert 225 < grey[3] < 240, "paper"


def test_colours_stay_what_they_are() -> None:
    levels = [pq_level(light) for light in (20, 40, 10)]
    red, green, blue = shown(levels, PQ, _BT709)
    assert (red, green, blue) == pytest.approx([srgb(light / 203) for light in (20, 40, 10)], abs=1)
    assert shown(levels, PQ) != [red, green, blue], "the primaries of BT.2020 are others"
    bright = shown([pq_level(light) for light in (1000, 2000, 500)], PQ, _BT709)
    linear = [((level / 255 + 0.055) / 1.055) ** 2.4 for level in bright]
    assert linear[0] / linear[1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_of_all_kinds_are_taken(dtype: str) -> None:
    assert shown([0.5] * 3, HLG, dtype=dtype) == pytest.approx(shown([0.5] * 3, HLG), abs=2)
