"""The paths between the results of G_i."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from concertdeblur.deblurring.result_paths import ResultPaths
from concertdeblur.models.path_taps import Flow, Path

HEIGHT, WIDTH, STEP_PX = 90, 150, 3
PADDED = 96, 160
STILL: Flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)  # what blurred frames say, which is wrong


def results(num: int) -> list[Tensor]:
    """Pictures before a camera that moves to the right, padded."""
    noise = np.random.default_rng(4).random((PADDED[0] // 4, (PADDED[1] + num * STEP_PX) // 4, 3), np.float32)
    wide = cv2.resize(noise, (PADDED[1] + num * STEP_PX, PADDED[0]), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    views = [wide[:, n * STEP_PX : n * STEP_PX + PADDED[1]] for n in range(num)]
    return [torch.from_numpy(np.ascontiguousarray(view.transpose(2, 0, 1)))[None] for view in views]


def added(pictures: list[Tensor]) -> ResultPaths:
    known = ResultPaths()
    for picture in pictures:
        known.add(picture, (HEIGHT, WIDTH))
    return known


def middle_of(flow_12hw: Tensor | None) -> list[float]:
    """(x, y) in the middle of the frame, px."""
    assert flow_12hw is not None
    return [float(one) for one in flow_12hw[0, :, 8:14, 14:22].mean((1, 2))]


def test_motion_is_what_the_results_show_and_lasts_as_long_as_the_exposure() -> None:
    along = added(results(3)).along(Path(to_before=STILL, to_after=STILL, exposure=0.5))
    assert middle_of(along.to_before_12hw) == pytest.approx([STEP_PX, 0], abs=0.3)
    assert middle_of(along.to_after_12hw) == pytest.approx([-STEP_PX, 0], abs=0.3)
    assert middle_of(along.smear_12hw) == pytest.approx([-STEP_PX / 2, 0], abs=0.2)
    assert along.smear_12hw.shape == (1, 2, PADDED[0] // 4, PADDED[1] // 4)


def test_the_middle_one_of_three_is_looked_at() -> None:
    pictures = results(4)
    along = added(pictures).along(Path(to_before=STILL, to_after=STILL))
    shown = along.before_1CHW, along.result_1CHW, along.after_1CHW
    assert all(one is not None and torch.equal(one, made) for one, made in zip(shown, pictures[1:], strict=True))


@pytest.mark.parametrize("is_before", [True, False])
def test_a_neighbour_that_shows_another_scene_is_left_out(is_before: bool) -> None:
    path = Path(to_before=STILL if is_before else None, to_after=None if is_before else STILL)
    along = added(results(3)).along(path)
    assert (along.before_1CHW is not None) == (along.to_before_12hw is not None) == is_before
    assert (along.after_1CHW is not None) == (along.to_after_12hw is not None) == (not is_before)
    assert middle_of(along.smear_12hw) == pytest.approx([-STEP_PX, 0], abs=0.3)


def test_the_last_frame_of_a_stream_has_none_behind_it() -> None:
    pictures = results(3)
    known = added(pictures)
    known.end()
    along = known.along(Path(to_before=STILL, to_after=None))
    assert torch.equal(along.result_1CHW, pictures[2])
    assert along.after_1CHW is None


def test_results_that_are_overwritten_later_are_remembered() -> None:
    pictures = results(3)
    known = added(pictures)
    kept = pictures[0].clone()
    for picture in pictures:
        picture.zero_()
    before = known.along(Path(to_before=STILL, to_after=STILL)).before_1CHW
    assert before is not None
    assert torch.equal(before, kept)


def test_results_with_other_light_are_not_believed() -> None:
    pictures = results(3)
    pictures[2][..., 40:60, 60:80] = 1  # a lamp is lit
    along = added(pictures).along(Path(to_before=STILL, to_after=STILL))
    before, after = along.beliefs
    assert before is not None
    assert after is not None
    assert before.shape == after.shape == (1, 1, PADDED[0] // 4, PADDED[1] // 4)
    assert before[..., 6:16, 6:30].min() == 1
    assert after[0, 0, 12, 17] < 0.1
    assert added(results(2)).along(Path(to_before=None, to_after=STILL)).beliefs[0] is None
