"""Metrics and the held-out table, on pictures whose figures are known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel
from concertdeblur.errors import TrainingError
from concertdeblur.evaluation.held_out import evaluate_held_out, read_centres
from concertdeblur.evaluation.metrics import psnr_db, warping_error
from tests.networks import random_deblurrer
from tests.pictures import photograph


def as_float(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return pixels.astype(np.float32) / np.float32(255)


def test_psnr() -> None:
    picture = as_float(photograph(16, 16))
    assert psnr_db(picture, picture) == 100
    assert psnr_db(np.zeros((4, 4, 3), np.float32), np.full((4, 4, 3), 0.1, np.float32)) == pytest.approx(20)


def test_a_steady_pan_warps_well_and_flicker_does_not() -> None:
    wide = as_float(photograph(200, 400))
    clip = [np.ascontiguousarray(wide[:, 4 * i : 200 + 4 * i]) for i in range(4)]
    steady = warping_error(clip, clip)
    flicker = warping_error([frame + np.float32(0.05 * (i % 2)) for i, frame in enumerate(clip)], clip)
    assert steady < 0.0005
    assert flicker == pytest.approx(steady + 0.05**2, rel=0.4)


def test_the_table_of_untrained_networks_is_consistent(tmp_path: Path) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), photograph(300, 300)[:, :: 1 - 2 * number, ::-1])
    report = evaluate_held_out(random_deblurrer(), sorted(tmp_path.iterdir()))
    assert [row.kernel for row in report.rows] == [kernel.value for kernel in Kernel]
    assert report.num_pictures == 2
    assert all(20 < row.blurred_db < 45 for row in report.rows)
    assert report.windows_kept <= report.windows_tried
    assert report.refined_gain_db < 0  # random networks only harm
    assert f"{report.refined_gain_db:+.2f}" in report.markdown()


def test_pictures_that_are_too_small_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), photograph(100, 300))
    with pytest.raises(TrainingError, match="256"):
        read_centres([tmp_path / "a.png"])
