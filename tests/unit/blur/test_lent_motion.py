"""The motion of a clip lent to a sharp picture."""

from pathlib import Path

import numpy as np
import pytest

from concertdeblur.blur.lent_motion import Motion, exposed_along, lend, motions
from concertdeblur.errors import SourceError
from tests.pictures import photograph
from tests.unit.blur.test_averaging import detail, panning_clip


def test_a_pan_lends_its_direction(tmp_path: Path) -> None:
    found = list(motions(panning_clip(tmp_path / "pan.mp4", step_px=4)))
    assert found
    travelled = np.median(found[0].offsets[-1] - found[0].offsets[0], axis=(0, 1))
    assert travelled == pytest.approx([-16, 0], abs=2)  # eight frames of 4 px, found at half size
    picture = photograph(160, 200)
    for index in range(4):
        pair = lend(found[0], picture, np.random.default_rng(index))
        assert pair.blurred.shape == pair.sharp.shape == picture.shape
        kept = sorted(detail(pair.blurred, axis=axis) / detail(pair.sharp, axis=axis) for axis in (0, 1))
        assert kept[0] < 0.95 * kept[1]  # along one axis; turned by a quarter, along the other


def test_a_still_clip_lends_nothing(tmp_path: Path) -> None:
    assert not list(motions(panning_clip(tmp_path / "still.mp4", step_px=0)))


def test_the_same_numbers_give_the_same_pair() -> None:
    offsets = np.cumsum(np.random.default_rng(1).normal(size=(9, 1, 1, 2)), axis=0) * np.ones((9, 40, 60, 1))
    motion = Motion((offsets - offsets[4]).astype(np.float32))
    first, again, other = (lend(motion, photograph(96, 96), np.random.default_rng(n)) for n in (1, 1, 2))
    assert np.array_equal(first.blurred, again.blurred)
    assert np.array_equal(first.sharp, again.sharp)
    assert not np.array_equal(first.blurred, other.blurred)


def test_only_what_moves_is_blurred_and_no_light_is_lost() -> None:
    light = np.zeros((3, 40, 80), np.float32)
    light[:, 20, 20] = light[:, 20, 60] = 1
    offsets = np.zeros((3, 40, 80, 2), np.float32)
    offsets[0, :, 40:, 0], offsets[2, :, 40:, 0] = -5, 5
    exposed = exposed_along(light, offsets)
    assert exposed[0, 20, 20] == pytest.approx(1)
    assert np.count_nonzero(exposed[0, 20, 40:] > 0.05) == pytest.approx(10, abs=2)  # a streak as long as the path
    assert exposed[0].sum() == pytest.approx(2, rel=0.02)


def test_a_missing_clip_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        next(motions(tmp_path / "missing.mp4"))
