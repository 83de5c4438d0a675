"""HEIC as phones write it: turned by the container, in 8 and 10 bits."""

from pathlib import Path

import numpy as np
import pytest

from concertdeblur.pictures.containers import nclx_colour
from concertdeblur.pictures.metadata import turned
from concertdeblur.pictures.reading import open_picture
from concertdeblur.pictures.stills import rgb_8_bits
from tests.heic import heic
from tests.pictures import photograph
from tests.unit.pictures.test_kept import passed


@pytest.mark.parametrize(
    ("turns", "mirror", "orientation"),
    [(0, None, 1), (1, None, 8), (2, None, 3), (3, None, 6), (0, 0, 4), (0, 1, 2), (3, 1, 5), (3, 0, 7)],
)
def test_heic_is_shown_as_its_container_says(tmp_path: Path, turns: int, mirror: int | None, orientation: int) -> None:
    (tmp_path / "in.heic").write_bytes(heic(photograph(64, 96), turns=turns, mirror=mirror))
    opened = open_picture(tmp_path / "in.heic")
    picture = rgb_8_bits(opened.still())
    expected = turned(photograph(64, 96), orientation)
    assert (opened.height, opened.width) == picture.shape[:2] == expected.shape[:2]
    assert np.abs(picture.astype(int) - expected).mean() < 3
    for target in ("out.png", "out.avif", "out.jpg"):
        again = open_picture(passed(tmp_path / "in.heic", target))
        assert np.abs(rgb_8_bits(again.still()).astype(int) - picture).mean() < 2


def test_10_bits_of_heic_become_16_of_png(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 96, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    (tmp_path / "in.heic").write_bytes(heic(ramp, deep=True))
    made = open_picture(passed(tmp_path / "in.heic", "out.png"))
    assert (open_picture(tmp_path / "in.heic").depth_bits, made.depth_bits) == (10, 16)
    pixels = made.still().pixels.astype(int)
    assert np.abs(pixels / 257 - ramp).max() < 3
    assert pixels.max() > 65000
    assert open_picture(passed(tmp_path / "in.heic", "out.avif")).depth_bits == 10


def test_a_heic_that_is_cut_off_is_named_as_that(tmp_path: Path) -> None:
    data = heic(photograph(64, 96))
    assert nclx_colour(data) is not None
    (tmp_path / "in.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match="cut off"):
        open_picture(tmp_path / "in.heic")
