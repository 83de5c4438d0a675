"""How frames are to be shown: turned and mirrored as a player does it."""

import itertools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.frame import Colour, Orientation, StreamInfo
from concertdeblur.media.comparison import doubled_size, side_by_side

_ONE = 65536  # of a display matrix
_MATRICES = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
             (-1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 0, -1), (0, -1, -1, 0)]  # fmt: skip


def info(matrix: tuple[int, int, int, int] | None, rotation_deg: int = 0) -> StreamInfo:
    """A stream of 3x5 px."""
    nine = None
    if matrix is not None:
        a, b, c, d = (_ONE * value for value in matrix)
        nine = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return StreamInfo(
        index=0, height=3, width=5, time_base=Fraction(1, 25), rate=None, num_frames_hint=None, bit_depth=8,
        pixel_format="yuv420p", colour=Colour(), rotation_deg=rotation_deg, display_matrix=nine,
    )  # fmt: skip


def moved(pixels: npt.NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """Every pixel where the matrix puts it."""
    a, b, c, d = matrix
    places = {(y, x): (b * x + d * y, a * x + c * y) for y, x in itertools.product(*map(range, pixels.shape[:2]))}
    top, left = (min(place[axis] for place in places.values()) for axis in (0, 1))
    height, width = (max(place[axis] for place in places.values()) + 1 for axis in (0, 1))
    made = np.zeros((height - top, width - left, *pixels.shape[2:]), np.uint8)
    for (y, x), (new_y, new_x) in places.items():
        made[new_y - top, new_x - left] = pixels[y, x]
    return made


@pytest.mark.parametrize("matrix", _MATRICES)
def test_pixels_go_where_the_display_matrix_puts_them(matrix: tuple[int, int, int, int]) -> None:
    pixels = np.arange(45, dtype=np.uint8).reshape(3, 5, 3)
    orientation = info(matrix).orientation
    np.testing.assert_array_equal(orientation.of(pixels), moved(pixels, matrix))
    assert orientation.swaps_sides == (matrix[0] == 0)


@pytest.mark.parametrize(("rotation_deg", "num_quarters"), [(0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2)])
def test_without_a_matrix_the_rotation_counts(rotation_deg: int, num_quarters: int) -> None:
    assert info(None, rotation_deg).orientation == Orientation(num_quarters=num_quarters)


@pytest.mark.parametrize("matrix", _MATRICES)
def test_before_is_shown_on_the_left(matrix: tuple[int, int, int, int]) -> None:
    before, after = np.arange(45, dtype=np.uint8).reshape(3, 5, 3), np.full((3, 5, 3), 200, np.uint8)
    stream = info(matrix)
    joined = side_by_side(before, after, orientation=stream.orientation)
    assert joined.shape[:2] == doubled_size(stream)
    expected = np.concatenate([moved(before, matrix), moved(after, matrix)], axis=1)
    np.testing.assert_array_equal(moved(np.asarray(joined, np.uint8), matrix), expected)
