"""The seven kernels, by METHOD's table of sizes."""

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.kernels import (
    box_side_px,
    gaussian_sigma_px,
    line_length_px,
    median_side_px,
    resizing_factor,
)
from tests.pictures import photograph


def test_sizes_at_the_ends_and_in_the_middle() -> None:
    levels = (0.0, 0.5, 1.0)
    assert [line_length_px(s) for s in levels] == [5, 13, 21]
    assert [box_side_px(s) for s in levels] == [3, 9, 13]
    assert [gaussian_sigma_px(s) for s in levels] == pytest.approx([0.8, 2.0, 3.2])
    assert [median_side_px(s) for s in levels] == [3, 7, 9]
    assert [resizing_factor(s) for s in levels] == pytest.approx([1.5, 2.75, 4.0])


def test_lines_are_rows_and_columns() -> None:
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    row, column = blur(dot, Kernel.HORIZONTAL, 0.5)[..., 0], blur(dot, Kernel.VERTICAL, 0.5)[..., 0]
    assert np.argwhere(row).tolist() == [[15, x] for x in range(9, 22)]
    assert (column == row.T).all()
    assert set(row[15, 9:22]) == {round(255 / 13)}


@pytest.mark.parametrize("kernel", Kernel)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_blur_keeps_shape_type_and_input_and_takes_detail(kernel: Kernel, level: float) -> None:
    sharp = photograph(97, 130)
    before = sharp.copy()
    blurred = blur(sharp, kernel, level)
    assert (blurred.shape, blurred.dtype) == (sharp.shape, sharp.dtype)
    assert (sharp == before).all()
    detail = [cv2.Laplacian(p, cv2.CV_64F).var() for p in (sharp, blurred)]
    assert detail[1] < detail[0]


@pytest.mark.parametrize("kernel", Kernel)
def test_more_level_is_more_blur(kernel: Kernel) -> None:
    sharp = photograph(256, 256)
    errors = [np.mean((blur(sharp, kernel, level).astype(float) - sharp) ** 2) for level in (0.0, 0.5, 1.0)]
    assert errors == sorted(errors)


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_levels_outside_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        blur(photograph(8, 8), Kernel.MEDIAN, level)
