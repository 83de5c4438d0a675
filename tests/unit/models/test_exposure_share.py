"""The share of a frame interval in which the shutter is open, told from frames of which it is known."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.blur.kernels import Picture
from concertdeblur.models.exposure_share import WHOLE_SHARE, ExposureSearch, believed_exposure, counted_share, evidence
from concertdeblur.models.path_taps import Path

HEIGHT, WIDTH = 200, 320
Flow = npt.NDArray[np.float32]


def scene(seed: int) -> npt.NDArray[np.float32]:
    """Discs of many sizes over each other, like things in a picture: edges of all directions."""
    rng = np.random.default_rng(seed)
    canvas = np.full((HEIGHT + 160, WIDTH + 160, 3), 90, np.float32)
    for _ in range(500):
        centre = tuple(int(v) for v in rng.integers(0, (WIDTH + 160, HEIGHT + 160)))
        colour = tuple(float(v) for v in rng.uniform(20, 230, 3))
        cv2.circle(canvas, centre, int(rng.integers(2, 22)), colour, -1, cv2.LINE_AA)
    return canvas


def exposed(x: float, y: float, share: float, *, seed: int = 0, noise: float = 1.0) -> Picture:
    """A frame of a camera that moves by (x, y) px a frame interval, and is open for a share of it."""
    canvas, times = scene(seed), (np.arange(64) / 63 - 0.5) * share
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for time in times:
        shift = np.array([[1, 0, 80 - x * time], [0, 1, 80 - y * time]])
        total += cv2.warpAffine(canvas, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    noisy = total / len(times) + np.random.default_rng(seed).normal(0, noise, total.shape)
    return np.asarray(np.clip(noisy + 0.5, 0, 255), dtype=np.uint8)


def moving(x: float, y: float) -> Flow:
    flow = np.empty((HEIGHT // 4, WIDTH // 4, 2), np.float32)
    flow[...] = x, y
    return flow


def path(x: float, y: float) -> Path:
    return Path(to_before=moving(-x, -y), to_after=moving(x, y))


class TestBelievedExposure:
    @pytest.mark.parametrize("velocity", [(12.0, 0.0), (0.0, -14.0), (8.0, 9.0), (-20.0, 11.0)])
    @pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 1.0])
    def test_it_is_the_share_that_was_exposed(self, velocity: tuple[float, float], share: float) -> None:
        found = evidence(exposed(*velocity, share, seed=0), moving(*velocity))
        for seed in range(1, 5):
            found = found.with_more(evidence(exposed(*velocity, share, seed=seed), moving(*velocity)), 1.0)
        assert abs(believed_exposure(found) - counted_share(share)) < 0.16

    def test_what_is_sharp_is_told_from_what_is_smeared(self) -> None:
        sharp = believed_exposure(evidence(exposed(15, 4, 0.0), moving(15, 4)))
        assert sharp < 0.3

    def test_shares_from_whole_share_on_count_as_the_whole_interval(self) -> None:
        assert counted_share(WHOLE_SHARE) == counted_share(1.1) == 1
        assert counted_share(WHOLE_SHARE / 2) == 0.5

    def test_a_still_or_slow_picture_says_nothing(self) -> None:
        for velocity in ((0.0, 0.0), (3.0, 1.0)):
            assert believed_exposure(evidence(exposed(*velocity, 0.3), moving(*velocity))) == 1

    def test_a_flat_picture_says_nothing(self) -> None:
        flat = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        assert believed_exposure(evidence(flat, moving(10, 0))) == 1

    @pytest.mark.parametrize("share", [0.25, 1.0])
    def test_noise_does_not_hide_it(self, share: float) -> None:
        told = believed_exposure(evidence(exposed(12, 3, share, noise=6.0), moving(12, 3)))
        assert abs(told - counted_share(share)) < 0.16

    def test_bytes_and_floats_say_the_same(self) -> None:
        frame = exposed(12, 5, 0.4)
        floats = frame.astype(np.float32) / 255
        by_bytes, by_floats = (believed_exposure(evidence(some, moving(12, 5))) for some in (frame, floats))
        assert abs(by_bytes - by_floats) < 0.03

    @pytest.mark.parametrize("size", [(8, 8), (40, 300), (60, 60)])
    def test_small_frames_are_taken(self, size: tuple[int, int]) -> None:
        frame = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        assert 0 < believed_exposure(evidence(frame, np.full((4, 4, 2), 9, np.float32))) <= 1


class TestExposureSearch:
    def test_it_remembers(self) -> None:
        """A frame that says nothing has the exposure of the frames before it."""
        search = ExposureSearch()
        for seed in range(4):
            short = search.next(exposed(14, 3, 0.3, seed=seed), path(14, 3))
        assert short < 0.6
        still = search.next(exposed(0, 0, 0.3), path(0, 0))
        assert abs(still - short) < 0.05

    def test_it_follows_a_change_step_by_step(self) -> None:
        search = ExposureSearch()
        told = [search.next(exposed(14, 3, 1.0, seed=seed), path(14, 3)) for seed in range(3)]
        assert min(told) > 0.9
        told += [search.next(exposed(14, 3, 0.25, seed=seed), path(14, 3)) for seed in range(40)]
        assert max(np.abs(np.diff(told))) < 0.25
        assert told[-1] < 0.55

    def test_another_scene_begins_anew(self) -> None:
        search = ExposureSearch()
        for seed in range(3):
            search.next(exposed(14, 3, 0.25, seed=seed), path(14, 3))
        search.begin_anew()
        assert search.next(exposed(14, 3, 1.0), path(14, 3)) > 0.9

    def test_what_is_not_known_is_the_whole_interval(self) -> None:
        assert ExposureSearch().next(exposed(9, 0, 0.3), Path(to_before=None, to_after=None)) == 1
