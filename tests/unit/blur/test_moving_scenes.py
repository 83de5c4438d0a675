"""Rendered clips: pure functions of their seed, with truths that belong to them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.blur import moving_scenes
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.moving_scenes import NUM_FRAMES, MovingScene, SceneSettings, moving_scene
from tests.pictures import photograph

SIDE_PX = 96
CLEAN = SceneSettings(
    still_share=0, lights_share=0, beyond_white_share=0, dark_share=0, noise_share=0, h264_share=0, jpeg_share=0
)


@pytest.fixture(scope="module")
def photos() -> list[Picture]:
    return [np.ascontiguousarray(np.roll(photograph(400, 420), 90 * number, axis=1)) for number in range(3)]


def scene(
    photos: Sequence[Picture], seed: int, settings: SceneSettings | None = None, *, num_frames: int = NUM_FRAMES,
    num_truths: int = 1,
) -> MovingScene:  # fmt: skip
    return moving_scene(
        photos, np.random.default_rng(seed), side_px=SIDE_PX, settings=settings, num_frames=num_frames,
        num_truths=num_truths,
    )  # fmt: skip


def test_a_scene_is_a_function_of_its_seed(photos: list[Picture]) -> None:
    first, again, other = scene(photos, 5), scene(photos, 5), scene(photos, 6)
    assert (first.frames == again.frames).all()
    assert (first.sharp == again.sharp).all()
    assert first.field == again.field
    assert (first.frames != other.frames).any()


def test_sides_and_types(photos: list[Picture]) -> None:
    for seed in range(6):
        made = scene(photos, seed)
        assert made.frames.shape == (NUM_FRAMES, SIDE_PX, SIDE_PX, 3)
        assert made.sharp.shape == (SIDE_PX, SIDE_PX, 3)
        assert [some.dtype.name for some in (made.frames, made.sharp)] == ["uint8", "uint8"]
        assert made.field in (0.25, 0.5, 1.0)


def test_a_still_scene_shows_its_truth(photos: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_scenes, "_number", lambda _rng: 0)  # no layers
    for seed in range(4):
        clean = scene(photos, seed, replace(CLEAN, still_share=1))
        assert all((frame == clean.sharp).all() for frame in clean.frames)
        noisy = scene(photos, seed, replace(CLEAN, still_share=1, noise_share=1))
        errors = noisy.frames.astype(float) - noisy.sharp
        assert np.abs(errors.mean((1, 2))).max() < 3
        assert 0 < errors.std() < 15


def test_a_moving_scene_is_blurred_and_its_frames_differ(photos: list[Picture]) -> None:
    errors = []
    for seed in range(8):
        made = scene(photos, seed, CLEAN)
        errors.append(np.abs(made.frames[1].astype(float) - made.sharp).mean())
        assert (made.frames[0] != made.frames[2]).any()
    assert min(errors) > 0
    assert max(errors) > 5


def test_a_scene_of_five_frames_is_that_of_three_with_one_more_at_each_end(photos: list[Picture]) -> None:
    for seed in range(4):
        three, five = scene(photos, seed, CLEAN), scene(photos, seed, CLEAN, num_frames=5, num_truths=3)
        assert five.frames.shape == (5, SIDE_PX, SIDE_PX, 3)
        assert five.truths.shape == (3, SIDE_PX, SIDE_PX, 3)
        assert (five.frames[1:4] == three.frames).all()
        assert (five.sharp == three.sharp).all()
        assert (five.sharp == five.truths[1]).all()


def test_each_truth_is_of_its_own_frame(photos: list[Picture]) -> None:
    def difference(made: MovingScene, frame: int, truth: int) -> float:
        return float(np.abs(made.frames[frame].astype(float) - made.truths[truth]).mean())

    for seed in range(4):
        made = scene(photos, seed, CLEAN, num_frames=5, num_truths=5)
        for frame in range(5):
            others = [difference(made, frame, truth) for truth in range(5) if truth != frame]
            assert difference(made, frame, frame) < min(others)


def test_truths_show_the_lights_of_their_frames(photos: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves here, so a clean frame is its truth; some lamps are lit for one frame alone."""
    monkeypatch.setattr(moving_scenes, "_number", lambda _rng: 0)  # no layers
    flashes = 0
    for seed in range(12):
        made = scene(photos, seed, replace(CLEAN, still_share=1, lights_share=1), num_frames=5, num_truths=5)
        assert (made.frames == made.truths).all()
        truths = made.truths.astype(int).max(3)
        lit_once = [truths[n] - np.maximum(truths[n - 1], truths[n + 1]) for n in range(1, 4)]
        flashes += any(int((more > 60).sum()) >= 9 for more in lit_once)
    assert flashes


def test_noise_and_coding_touch_the_frames_alone(photos: list[Picture]) -> None:
    clean = scene(photos, 3, CLEAN)
    noisy = scene(photos, 3, replace(CLEAN, noise_share=1))
    assert (clean.sharp == noisy.sharp).all()
    assert (clean.frames != noisy.frames).any()


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_no_step_of_an_exposure_is_longer_than_about_a_pixel(
    photos: list[Picture], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Of camera and layers: else moving lights leave rows of dots."""
    looks: dict[int, list[list[npt.NDArray[np.float64]]]] = {}

    def recorded(
        back: npt.NDArray[np.float32], layers: Sequence[Any], paths: Sequence[Any], time: float, side: int, _level: Any
    ) -> npt.NDArray[np.float32]:
        camera = paths[0](time)
        looks.setdefault(round(time), []).append([camera, *(camera + layer.path(time) for layer in layers)])
        return np.asarray(back[:side, :side], dtype=np.float32)

    monkeypatch.setattr(moving_scenes, "_seen", recorded)
    for one in range(seed, seed + 6):
        looks.clear()
        scene(photos, one, CLEAN)
        looks[0].pop()  # the truth is looked at last
        assert len(looks) == NUM_FRAMES
        for of_frame in looks.values():
            jumps = np.linalg.norm(np.diff(np.array(of_frame), axis=0), axis=2)
            assert jumps.max(initial=0) < 1.6, one
