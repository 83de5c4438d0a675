"""Drawn pictures: what is built, for training."""

from collections.abc import Callable

import numpy as np
import pytest

from concertdeblur.training.data import drawings
from concertdeblur.training.data.drawings import drawing


def power_beyond(picture: np.ndarray, cycles_a_px: float) -> float:
    """Share of the variance above a frequency."""
    grey = picture.astype(float).mean(2)
    spectrum = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(np.hanning(len(grey)), np.hanning(len(grey))))) ** 2
    y, x = np.fft.fftfreq(len(grey))[:, None], np.fft.fftfreq(len(grey))[None, :]
    return float(spectrum[np.hypot(y, x) > cycles_a_px].sum() / spectrum.sum())


def test_the_same_numbers_draw_the_same_picture() -> None:
    one, other, another = (drawing(160, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.shape == (160, 160, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, other)
    assert not np.array_equal(one, another)


@pytest.mark.parametrize("draw", drawings._THINGS, ids=lambda draw: draw.__name__)
def test_every_thing_covers_a_part_of_most_masks(draw: Callable[[int, np.random.Generator], drawings.Mask]) -> None:
    covered = [float((draw(384, np.random.default_rng(seed)) > 127).mean()) for seed in range(12)]
    assert sum(0.001 < share < 0.95 for share in covered) >= 9


def test_they_are_as_sharp_as_a_lens_and_no_sharper() -> None:
    pictures = [drawing(256, np.random.default_rng(seed)) for seed in range(20)]
    assert np.median([power_beyond(picture, 0.25) for picture in pictures]) > 1e-3
    assert max(power_beyond(picture, 0.45) for picture in pictures) < 0.1
