"""Results averaged along the motion: less noise, no ghosts, nothing where nothing was deblurred."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.deblurring import motion, steadiness
from concertdeblur.deblurring.motion import MotionSearch
from concertdeblur.deblurring.steadiness import Steadier
from concertdeblur.evaluation.metrics import warping_error
from tests.pictures import photograph

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

NUM_FRAMES = 8


def pan(step_px: float) -> list[Picture]:
    """A photograph that moves to the left by `step_px` a frame."""
    wide = photograph(200, 420)
    moves = [np.array([[1, 0, -step_px * i], [0, 1, 0]], np.float64) for i in range(NUM_FRAMES)]
    moved = [cv2.warpAffine(wide, move, (420, 200), flags=cv2.INTER_CUBIC) for move in moves]
    return [np.ascontiguousarray(np.asarray(frame, dtype=np.uint8)[20:180, 20:260]) for frame in moved]


def blurred(sharp: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2), dtype=np.uint8)


def as_float(pixels: Picture) -> Plane:
    return pixels.astype(np.float32) / np.float32(255)


def noisy(sharp: list[Picture], rms: float) -> list[Plane]:
    """As a deblurrer would give them back: the truth with an error that is new in every frame."""
    rng = np.random.default_rng(3)
    return [np.clip(as_float(p) + rng.normal(0, rms / 255, p.shape), 0, 1).astype(np.float32) for p in sharp]


def steadied(given: list[Picture], results: list[Plane]) -> list[Plane]:
    steadier, search = Steadier(), MotionSearch()
    return [steadier.steady(p, result, search.next(p)) for p, result in zip(given, results, strict=True)]


def mean_square(made: list[Plane], sharp: list[Picture]) -> float:
    return float(np.mean([np.mean((m - as_float(s)) ** 2) for m, s in zip(made[3:], sharp[3:], strict=True)]))


@pytest.mark.parametrize("step_px", [0.0, 3.0, 2.37])
def test_noise_is_averaged_along_the_motion(step_px: float) -> None:
    sharp = pan(step_px)
    results = noisy(sharp, 4)
    made = steadied([blurred(frame) for frame in sharp], results)
    assert mean_square(made, sharp) < 0.5 * mean_square(results, sharp)
    truth = [as_float(frame) for frame in sharp]
    assert warping_error(made, truth) < 0.3 * warping_error(results, truth)


def test_a_perfect_result_stays_nearly_perfect() -> None:
    """Repeated interpolation must not blur the picture."""
    sharp = pan(2.37)
    made = steadied([blurred(frame) for frame in sharp], [as_float(frame) for frame in sharp])
    assert mean_square(made, sharp) < (4 / 255) ** 2


def test_a_moving_object_leaves_no_ghost() -> None:
    background = np.ascontiguousarray(photograph(160, 240)[:, ::-1])
    sharp = []
    for i in range(NUM_FRAMES):
        frame = background.copy()
        frame[60:100, 20 + 17 * i : 60 + 17 * i] = photograph(40, 40) // 2 + 100
        sharp.append(frame)
    made = steadied([blurred(frame) for frame in sharp], [as_float(frame) for frame in sharp])
    for i in range(1, NUM_FRAMES):
        uncovered = (slice(56, 104), slice(17 * i - 1, 20 + 17 * i - 1))
        assert np.abs(made[i] - as_float(sharp[i]))[uncovered].mean() < 2 / 255


def test_a_frame_that_moved_faster_than_this_one_counts_less() -> None:
    """It was blurred further, so its result differs more from the truth than this one's."""
    sharp, search = pan(3.0)[:2], MotionSearch()
    given = [blurred(frame) for frame in sharp]
    motions = [search.next(frame) for frame in given]
    results = [as_float(blurred(sharp[0])), as_float(sharp[1])]

    def error(speed_before: float) -> float:
        steadier = Steadier()
        for n, speed in enumerate((speed_before, 3.0)):
            velocity = np.full((40, 60, 2), (speed, 0), np.float32)
            made = steadier.steady(given[n], results[n], motions[n], velocity=velocity)
        return float(np.mean((made - as_float(sharp[1])) ** 2))

    assert error(12.0) < 0.3 * error(3.0)
    assert error(1.0) == error(3.0)


def test_a_cut_ends_the_memory() -> None:
    one, other = pan(3.0)[:4], [np.ascontiguousarray(frame[::-1, ::-1]) for frame in pan(3.0)[4:]]
    results = noisy(one + other, 4)
    made = steadied([blurred(frame) for frame in one + other], results)
    assert not np.array_equal(made[3], results[3])
    assert np.array_equal(made[4], results[4])
    assert not np.array_equal(made[5], results[5])


def test_a_flash_is_not_mixed_with_its_neighbours() -> None:
    sharp = [photograph(160, 240) // 2] * 6
    sharp[3] = photograph(160, 240)
    results = [as_float(frame) for frame in sharp]
    made = steadied([blurred(frame) for frame in sharp], results)
    assert all(np.abs(m - r).mean() < 0.5 / 255 for m, r in zip(made, results, strict=True))


def test_what_deblurring_left_alone_stays_exactly() -> None:
    sharp = pan(3.0)
    results = noisy(sharp, 4)
    given = [blurred(frame) for frame in sharp]
    for pixels, result in zip(given, results, strict=True):
        result[:, :100] = as_float(pixels)[:, :100]
    made = steadied(given, results)
    assert all(np.array_equal(m[:, :100], r[:, :100]) for m, r in zip(made, results, strict=True))
    assert not np.array_equal(made[-1][:, 100:], results[-1][:, 100:])
    untouched = [as_float(pixels) for pixels in given]
    assert all(m is r for m, r in zip(steadied(given, untouched), untouched, strict=True))


@pytest.mark.parametrize(
    "converted",
    [lambda p: p.astype(np.uint16) * np.uint16(257), lambda p: p.astype(np.float32) / np.float32(255)],
    ids=["uint16", "float32"],
)
def test_every_pixel_type_is_steadied_alike(converted: Callable[[Picture], Picture]) -> None:
    sharp = pan(3.0)
    given, results = [blurred(frame) for frame in sharp], noisy(sharp, 4)
    expected = steadied(given, results)
    made = steadied([converted(pixels) for pixels in given], results)
    assert max(float(np.abs(m - e).max()) for m, e in zip(made, expected, strict=True)) < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 200), (24, 24), (25, 31), (130, 24)])
def test_any_size_goes_through(shape: tuple[int, int]) -> None:
    steadier, search = Steadier(), MotionSearch()
    rng = np.random.default_rng(0)
    for _ in range(3):
        pixels = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        made = steadier.steady(pixels, rng.random((*shape, 3), dtype=np.float32), search.next(pixels))
        assert made.shape == (*shape, 3)
        assert made.dtype == np.float32
        assert np.isfinite(made).all()


def test_a_new_size_begins_anew() -> None:
    steadier, search = Steadier(), MotionSearch()
    for frame in pan(3.0)[:2]:
        steadier.steady(blurred(frame), noisy([frame], 4)[0], search.next(blurred(frame)))
    smaller = photograph(64, 64)
    result = noisy([smaller], 4)[0]
    assert np.array_equal(steadier.steady(blurred(smaller), result, search.next(blurred(smaller))), result)


def test_large_frames_search_motion_at_a_reduced_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = pan(3.0)
    given, results = [blurred(frame) for frame in sharp], noisy(sharp, 4)
    monkeypatch.setattr(motion, "_FLOW_AREA_PX", 160 * 107)
    assert mean_square(steadied(given, results), sharp) < 0.6 * mean_square(results, sharp)


def test_bands_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = pan(3.0)
    given, results = [blurred(frame) for frame in sharp], noisy(sharp, 4)
    monkeypatch.setattr(motion, "_FLOW_AREA_PX", 140 * 95)
    expected = steadied(given, results)
    monkeypatch.setattr(steadiness, "_BAND_PX", 17)
    made = steadied(given, results)
    # A resampled band starts at another 1/32 of a reduced pixel: flow differs by a little.
    assert max(float(np.abs(m - e).mean()) for m, e in zip(made, expected, strict=True)) < 0.2 / 255


def test_the_arguments_are_not_changed() -> None:
    sharp = pan(3.0)
    given, results = [blurred(frame) for frame in sharp], noisy(sharp, 4)
    copies = [p.copy() for p in given], [r.copy() for r in results]
    steadied(given, results)
    assert all(np.array_equal(p, c) for p, c in zip(given, copies[0], strict=True))
    assert all(np.array_equal(r, c) for r, c in zip(results, copies[1], strict=True))
