"""Motion samples in another camera's tone: all parts of a sample stay those of one picture."""

import cv2
import numpy as np
import pytest

from concertdeblur.psnr import psnr_db
from concertdeblur.training.data.tones import Tone, drawn_tone
from tests.pictures import photograph

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def tones() -> list[Tone]:
    return [drawn_tone(np.random.default_rng(seed)) for seed in range(12)]


@pytest.mark.parametrize("tone", tones())
def test_guesses_at_a_sharp_picture_are_the_picture_in_every_tone(tone: Tone) -> None:
    picture = photograph(96, 128)
    scaled = picture.astype(np.float32) / 255
    guesses = np.concatenate([scaled, (scaled @ LUMA)[..., None]], 2).transpose(2, 0, 1).astype(np.float16)
    made, expected = tone.of_guesses(guesses).astype(np.float32), tone.of(picture).astype(np.float32) / 255
    assert np.abs(made[:3].transpose(1, 2, 0) - expected).max() < 2 / 255
    assert np.abs(made[3] - expected @ LUMA).max() < 2 / 255


@pytest.mark.parametrize("tone", tones())
def test_what_was_blurred_stays_blurred_alike(tone: Tone) -> None:
    sharp = photograph(96, 128)
    blurred = np.asarray(cv2.blur(sharp, (7, 1)), dtype=np.uint8)
    made, again = tone.of(blurred), np.asarray(cv2.blur(tone.of(sharp), (7, 1)), dtype=np.uint8)
    assert psnr_db(made / 255, again / 255) > psnr_db(made / 255, tone.of(sharp) / 255) + 6


def test_tones_differ_and_some_swap_colours() -> None:
    picture = photograph(96, 128)
    assert len({tone.of(picture).tobytes() for tone in tones()}) == len(tones())
    assert {tone.order == (0, 1, 2) for tone in tones()} == {True, False}
