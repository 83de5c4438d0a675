"""Reduced copies of frames: which ones are drawn, and what they show."""

from typing import Literal

import numpy as np
import pytest

from concertdeblur.training.data.reduced_copies import ReducedCopy, drawn_copies, whole_copy

LEAST_PX = 128


def copies(seed: int, height: int = 720, width: int = 1280, num_copies: int = 8) -> list[ReducedCopy]:
    return drawn_copies(height, width, num_copies, least_side_px=LEAST_PX, rng=np.random.default_rng(seed))


def test_copies_are_a_function_of_the_seed() -> None:
    assert copies(1) == copies(1)
    assert copies(1) != copies(2)


def test_sizes_filters_and_grids_vary_and_most_copies_are_small() -> None:
    drawn = copies(1)
    assert len({copy.size for copy in drawn}) == 8
    assert {copy.reduction for copy in drawn} == {"area", "bicubic"}
    assert len({(copy.rows.start, copy.columns.start) for copy in drawn}) > 4
    scales = sorted(copy.scale for copy in drawn)
    assert 0.2 <= scales[0] < 0.25
    assert 0.55 < scales[-1] <= 0.75
    assert scales[5] < 0.5


@pytest.mark.parametrize("num_copies", [0, 1, 3])
def test_as_many_are_drawn_as_are_wanted(num_copies: int) -> None:
    assert len(copies(1, num_copies=num_copies)) == num_copies


def test_crops_fit_into_every_copy() -> None:
    for seed in range(50):
        for height in (200, 300, 720):
            drawn = copies(seed, height, height + 40)
            assert len(drawn) == 8
            for copy in drawn:
                assert min(copy.size) >= LEAST_PX
                made = copy.of(np.zeros((height, height + 40, 3), np.uint8))
                assert made.shape == (*copy.size, 3)
    assert not copies(1, 180, 320)  # three quarters of it would have no room


@pytest.mark.parametrize("reduction", ["area", "bicubic"])
def test_what_a_copy_shows_lies_where_the_cut_puts_it(reduction: Literal["area", "bicubic"]) -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[100:124, 60:96] = 255  # its middle is 112, 78
    copy = ReducedCopy(scale=0.25, rows=slice(7, 199), columns=slice(10, 298), reduction=reduction)
    made = copy.of(frame)[..., 0].astype(float)
    assert made.shape == (48, 72)
    y, x = (float((made * place).sum() / made.sum()) + 0.5 for place in np.indices(made.shape))
    assert [y, x] == pytest.approx([(112 - 7) / 4, (78 - 10) / 4], abs=0.05)


@pytest.mark.parametrize("reduction", ["area", "bicubic"])
def test_lines_that_are_too_fine_become_grey(reduction: Literal["area", "bicubic"]) -> None:
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[::2] = 255
    copy = ReducedCopy(scale=0.23, rows=slice(3, 718), columns=slice(5, 1275), reduction=reduction)
    assert np.abs(copy.of(frame)[4:-4].astype(float) - 127.5).max() < 25


def test_a_whole_copy_is_the_mean_of_areas() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    means = frame.reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(whole_copy(40, 60, 0.5).of(frame) - means).max() <= 0.5
