"""PSNR, of arrays whose figure is known."""

import numpy as np
import pytest

from concertdeblur.psnr import psnr_db


def test_psnr() -> None:
    grey = np.full((4, 4, 3), 0.3, np.float32)
    assert psnr_db(grey, grey) == 100
    assert psnr_db(np.zeros((4, 4, 3), np.float32), np.full((4, 4, 3), 0.1, np.float32)) == pytest.approx(20)


@pytest.mark.parametrize(("kind", "full_scale"), [(np.uint8, 255.0), (np.uint16, 65535.0)])
def test_integers_do_not_wrap_and_count_by_their_full_scale(
    kind: type[np.uint8 | np.uint16], full_scale: float
) -> None:
    low, high = np.zeros((2, 2), kind), np.full((2, 2), full_scale / 5, kind)
    for one, other in ((low, high), (high, low)):
        assert psnr_db(one, other, full_scale=full_scale) == pytest.approx(10 * np.log10(25))
