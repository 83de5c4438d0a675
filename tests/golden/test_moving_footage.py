"""Promises of the shipped weights on moving footage: lamps stay lit, sharp stays sharp, and the heatmap is true."""

from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest

import concertdeblur
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.psnr import psnr_db
from concertdeblur.sample import frames as sample_frames
from tests.moving_clips import HEIGHT, NUM_FRAMES, WIDTH, Lamp, Picture, deblurred, panned, scene

MIDDLE = NUM_FRAMES // 2
FLASH = tuple(number == MIDDLE for number in range(NUM_FRAMES))
GAP = tuple(not lit for lit in FLASH)
EXPOSURE = 0.9


@pytest.fixture(scope="module")
def deblurrer() -> Deblurrer:
    return concertdeblur.load("concert", device="cpu", backend="torch")


def lamp_pixels(lamp: Lamp, number: int, step_px: float, *, exposure: float = EXPOSURE) -> npt.NDArray[np.bool_]:
    """The pixels that show nothing but the lamp during the whole exposure of a frame; 0: where the sharp one has it."""
    always = Lamp(lit=(True,) * NUM_FRAMES, x=lamp.x, y=lamp.y, radius_px=lamp.radius_px, brightness=1)
    dark = np.zeros((HEIGHT, 512, 3), np.float32)
    seen = panned(lambda frame: always.over(dark, frame), step_px=step_px, exposure=exposure)[number]
    return np.asarray(seen.min(2) > 250)


@pytest.mark.parametrize("step_px", [0.0, 3.0, 8.0])
@pytest.mark.parametrize("lit", [FLASH, GAP], ids=["flash", "gap"])
def test_a_blinking_lamp_keeps_its_brightness(deblurrer: Deblurrer, lit: tuple[bool, ...], step_px: float) -> None:
    """It does so within 6 grey levels in every frame, also in one in which it differs from the neighbours."""
    lamp, light = Lamp(lit=lit), scene()
    clip = panned(lambda frame: lamp.over(light, frame), step_px=step_px, exposure=EXPOSURE)
    for number, (given, made) in enumerate(zip(clip, deblurred(deblurrer, clip), strict=True)):
        at = lamp_pixels(lamp, number, step_px)
        before, after = given[at].mean(), np.asarray(made.frame.pixels)[at].mean()
        assert abs(after - before) <= 6, (number, lit[number], before, after)


@pytest.mark.parametrize("radius_px", [6.0, 10.0])
def test_a_lamp_that_flashes_before_a_moving_camera_gets_no_hole(deblurrer: Deblurrer, radius_px: float) -> None:
    """Where the sharp picture shows it, it does not become darker, though its neighbours show none."""
    lamp, light = Lamp(lit=FLASH, radius_px=radius_px, brightness=1), scene()
    clip = panned(lambda frame: lamp.over(light, frame), step_px=8, exposure=EXPOSURE)
    at = lamp_pixels(lamp, MIDDLE, 8, exposure=0)
    before, after = clip[MIDDLE][at], np.asarray(deblurred(deblurrer, clip)[MIDDLE].frame.pixels)[at]
    assert after.mean() >= before.mean(), (before.mean(), after.mean())
    assert after.min() >= before.min() - 20, (before.min(), after.min())


def test_sharp_moving_footage_stays_sharp(deblurrer: Deblurrer) -> None:
    """A pan of 6 px a frame with a short exposure."""
    light = scene()
    clip = panned(lambda _: light, step_px=6, exposure=0)
    figures = [
        psnr_db(np.asarray(made.frame.pixels), given, full_scale=255)
        for given, made in zip(clip, deblurred(deblurrer, clip), strict=True)
    ]
    assert min(figures) >= 40, figures


def half_moving() -> list[Picture]:
    """The left half stands still and is sharp; the right half moves and is smeared."""
    light = scene()
    still = panned(lambda _: light, step_px=0, exposure=EXPOSURE)
    moving = panned(lambda _: np.ascontiguousarray(light[:, ::-1]), step_px=12, exposure=EXPOSURE)
    half = WIDTH // 2
    return [np.concatenate([a[:, :half], b[:, half:]], axis=1) for a, b in zip(still, moving, strict=True)]


def test_the_heatmap_tells_the_half_that_moves_from_the_sharp_one(deblurrer: Deblurrer) -> None:
    """In every frame that has a neighbour on each side. What moves is mostly restored, so the halves come near."""
    half = WIDTH // 2
    for made in deblurred(deblurrer, half_moving(), heatmap=True)[1:-1]:
        assert made.heatmap is not None
        sharp, smeared = made.heatmap[:, : half - 16].mean(), made.heatmap[:, half + 16 :].mean()
        assert smeared > sharp + 0.07, (sharp, smeared)


def test_the_sample_clip_gets_sharper_and_refining_did_part_of_it(deblurrer: Deblurrer) -> None:
    pairs = list(islice(sample_frames(), 8))
    made = deblurred(deblurrer, [blurred for blurred, _ in pairs])
    gains = [
        psnr_db(np.asarray(out.frame.pixels), sharp, full_scale=255) - psnr_db(blurred, sharp, full_scale=255)
        for out, (blurred, sharp) in zip(made, pairs, strict=True)
    ]
    assert np.mean(gains) >= 0.8, gains
    assert sum(out.windows_accepted for out in made) > 0
