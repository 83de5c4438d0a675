"""Metrics, on pictures whose figures are known."""

import numpy as np
import pytest

from concertdeblur.evaluation.metrics import warping_error
from tests.pictures import photograph


def as_float(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return pixels.astype(np.float32) / np.float32(255)


def test_a_steady_pan_warps_well_and_flicker_does_not() -> None:
    wide = as_float(photograph(200, 400))
    clip = [np.ascontiguousarray(wide[:, 4 * i : 200 + 4 * i]) for i in range(4)]
    steady = warping_error(clip, clip)
    flicker = warping_error([frame + np.float32(0.05 * (i % 2)) for i, frame in enumerate(clip)], clip)
    assert steady < 0.0005
    assert flicker == pytest.approx(steady + 0.05**2, rel=0.4)
