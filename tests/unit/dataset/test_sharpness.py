"""What counts as sharp: measured on photographs, whatever the light, the grain or the encoding."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.dataset.scan import LEAST_SHARPNESS, rank_frames
from concertdeblur.dataset.sharpness import (
    Sharpness,
    absolute_sharpness,
    judge,
    measure,
    noise_energy,
    region_side_px,
)
from tests.concert_clips import photo

Luma = npt.NDArray[np.uint8]
PHOTOS = ("astronaut", "coffee", "rocket")


def luma(name: str) -> Luma:
    return np.asarray(cv2.cvtColor(photo(name), cv2.COLOR_RGB2GRAY), dtype=np.uint8)[:400, :512]


def sharpness(picture: Luma) -> float:
    return absolute_sharpness(judge(measure(picture)))


def noisy(picture: Luma, sigma: float) -> Luma:
    noise = np.random.default_rng(3).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


BLURS: tuple[Callable[[Any], Any], ...] = (
    lambda p: cv2.GaussianBlur(p, (0, 0), 0.8),
    lambda p: cv2.blur(p, (5, 1)),
    lambda p: cv2.blur(p, (1, 5)),
    lambda p: cv2.blur(p, (3, 3)),
)


@pytest.mark.parametrize("name", PHOTOS)
def test_the_more_a_picture_is_blurred_the_lower_it_scores(name: str) -> None:
    scores = [sharpness(cv2.GaussianBlur(luma(name), (0, 0), s)) for s in (0.3, 0.6, 1.0, 1.6, 2.5)]  # type: ignore
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 1.5 * scores[2]


def test_a_sharp_photograph_is_sharp_enough_and_a_soft_one_is_not() -> None:
    assert sharpness(luma("astronaut")) > LEAST_SHARPNESS
    assert sharpness(cv2.GaussianBlur(luma("astronaut"), (0, 0), 2)) < LEAST_SHARPNESS  # type: ignore[arg-type]
    assert sharpness(cv2.blur(luma("astronaut"), (11, 1))) < LEAST_SHARPNESS  # type: ignore[arg-type]


def test_light_does_not_matter() -> None:
    whole = sharpness(luma("coffee"))
    for gain in (0.3, 0.6):
        dimmed = (luma("coffee") * gain).astype(np.uint8)
        assert sharpness(dimmed) == pytest.approx(whole, rel=0.25)


def test_grain_makes_nothing_sharp() -> None:
    soft = np.asarray(cv2.GaussianBlur(luma("astronaut"), (0, 0), 1.5), dtype=np.uint8)
    assert sharpness(noisy(soft, 6)) < sharpness(soft) + 0.15
    assert sharpness(noisy(soft, 6)) < 0.6 * sharpness(noisy(luma("astronaut"), 6))


@pytest.mark.parametrize("name", PHOTOS)
def test_a_smear_under_grain_is_told_from_what_is_sharp(name: str) -> None:
    """Grain as of a phone in a dark hall: stronger in the light."""
    smeared = np.asarray(cv2.blur(luma(name), (25, 1)), dtype=np.uint8)
    grain = np.random.default_rng(5).normal(0, 1, smeared.shape) * (1 + 6 * np.sqrt(smeared / 255))
    soft, sharp = (np.clip(picture + grain, 0, 255).astype(np.uint8) for picture in (smeared, luma(name)))
    assert sharpness(soft) < 0.6 * sharpness(sharp)
    assert sharpness(sharp) > LEAST_SHARPNESS


def test_coding_blocks_make_nothing_sharp() -> None:
    soft = cv2.GaussianBlur(luma("coffee"), (0, 0), 2.5)
    _, data = cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, 8])
    blocks = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    assert sharpness(blocks) < LEAST_SHARPNESS


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_an_empty_picture_has_no_sharpness(level: int) -> None:
    assert sharpness(np.full((240, 320), level, dtype=np.uint8)) == 0


def test_noise_alone_has_no_sharpness() -> None:
    assert sharpness(noisy(np.full((240, 320), 90, dtype=np.uint8), 8)) == 0


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("number", range(len(BLURS)))
@pytest.mark.parametrize("light", ["steady", "strobe", "dark"])
@pytest.mark.parametrize("grain", [0.0, 5.0])
def test_the_sharp_one_of_a_pan_is_found(name: str, number: int, light: str, grain: float) -> None:
    sharp_at, frames = 4, []
    for index in range(8):
        frame = luma(name)[: 400 - 16, 2 * index : 2 * index + 480]
        frame = frame if index == sharp_at else BLURS[number](frame)
        gain = {"steady": 1.0, "dark": 0.35, "strobe": 0.4 + 0.6 * (index * 5 % 8) / 8}[light]
        frames.append(measure(noisy(np.asarray(frame * gain, dtype=np.uint8), grain)))
    noise = float(np.quantile([noise_energy(regions) for regions in frames], 0.25))
    assert int(np.argmax(rank_frames([judge(regions, noise) for regions in frames]))) == sharp_at


def test_a_frame_that_smears_the_singer_loses_though_the_wall_is_sharp() -> None:
    picture = luma("astronaut")
    smeared = picture.copy()
    smeared[100:300, 150:350] = cv2.blur(picture, (9, 1))[100:300, 150:350]
    ranks = rank_frames([judge(measure(one)) for one in (smeared, picture, smeared)])
    assert int(np.argmax(ranks)) == 1


def test_regions_fit_the_frame() -> None:
    assert [region_side_px(*size) for size in ((1080, 1920), (720, 1280), (288, 352), (64, 64))] == [64, 64, 32, 16]
    regions = measure(np.zeros((724, 1279), dtype=np.uint8))
    assert regions.fine_DRC.shape == regions.coarse_DRC.shape == (2, 11, 20)
    assert regions.luma_RC.shape == (11, 20)


def test_regions_average_what_is_in_them() -> None:
    picture = np.zeros((256, 256), dtype=np.uint8)
    picture[:, 128:] = 200
    regions = measure(picture)
    assert regions.luma_RC[:, 0].max() == 0
    assert regions.luma_RC[:, -1].min() == pytest.approx(200)
    assert isinstance(judge(regions), Sharpness)
