"""Single pictures with a predictor of smears: when the restoration along the motion takes part, and on what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from concertdeblur.deblurring import smear_search
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.deblurring.image_generator import ImageGenerator
from concertdeblur.deblurring.smear_search import SmearSearch
from concertdeblur.deblurring.stream_frames import lone_frame
from concertdeblur.models import Architecture
from concertdeblur.models.architecture import SmearPredictorSettings
from concertdeblur.models.path_taps import Flow, Samples
from concertdeblur.models.prepared import Prepared
from concertdeblur.models.smear_predictor import PREDICTED_PX, SmearPredictor, smear_bins
from concertdeblur.pretrained import load, load_networks, read_manifest, save_weight_set
from concertdeblur.runtime import choose_runtime
from tests.networks import SMALL_VIDEO, random_networks
from tests.pictures import photograph

Pixels = npt.NDArray[np.uint8]
SETTINGS = BrmrSettings(max_iterations=2)


def architecture() -> Architecture:
    assert SMALL_VIDEO.video is not None
    video = replace(SMALL_VIDEO.video, smear_predictor=SmearPredictorSettings(width=8, num_blocks=1))
    return replace(SMALL_VIDEO, video=video)


def deblurrer(*, has_predictor: bool = True) -> Deblurrer:
    networks = random_networks(architecture())
    assert networks.video is not None
    if not has_predictor:
        networks = replace(networks, video=replace(networks.video, smear_predictor=None))
    return Deblurrer(networks, SETTINGS, choose_runtime("cpu", "torch"))


def shows(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Every predictor rates one of its bins highest everywhere."""

    def rated(_predictor: SmearPredictor, luma_N1HW: Tensor) -> Tensor:
        num, _, height, width = luma_N1HW.shape
        logits = torch.full((num, len(smear_bins()), height // PREDICTED_PX, width // PREDICTED_PX), -30.0)
        logits[:, number] = 0
        return logits

    monkeypatch.setattr(SmearPredictor, "rated", rated)


NO_SMEAR, SMEARED = 0, 1 + 12 * 2  # the bin of 6 px to the right


def by_motion(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    monkeypatch.setattr(ImageGenerator, "is_blurred_by_motion", lambda *_args: torch.tensor(told))


def timid(monkeypatch: pytest.MonkeyPatch, *, along_smear: bool) -> None:
    """One of the two ways changes next to nothing."""
    restored = ImageGenerator.restored

    def made(self: ImageGenerator, blurred: Tensor, prepared: Prepared, **how: int) -> Tensor:
        whole = restored(self, blurred, prepared, **how)
        return blurred + 0.01 * (whole - blurred) if (prepared.path is not None) == along_smear else whole

    monkeypatch.setattr(ImageGenerator, "restored", made)


def test_a_picture_that_shows_a_smear_is_restored_along_it(monkeypatch: pytest.MonkeyPatch) -> None:
    by_motion(monkeypatch, True)
    shows(monkeypatch, SMEARED)
    timid(monkeypatch, along_smear=False)
    picture = photograph(150, 170)
    plain, along = deblurrer(has_predictor=False).deblur(picture), deblurrer().deblur(picture)
    assert along.shape == picture.shape
    assert np.square(along.astype(float) - picture).mean() > 2 * np.square(plain.astype(float) - picture).mean()


def test_a_picture_that_its_kernels_change_more_is_not_restored_along_its_smear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_motion(monkeypatch, True)
    shows(monkeypatch, SMEARED)
    timid(monkeypatch, along_smear=True)
    picture = photograph(150, 170)
    assert np.array_equal(deblurrer(has_predictor=False).deblur(picture), deblurrer().deblur(picture))


def test_a_picture_that_shows_no_smear_is_restored_as_without_a_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    by_motion(monkeypatch, True)
    shows(monkeypatch, NO_SMEAR)
    picture = photograph(150, 170)
    assert np.array_equal(deblurrer(has_predictor=False).deblur(picture), deblurrer().deblur(picture))


def test_a_picture_under_one_of_the_seven_kernels_is_restored_as_without_a_predictor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_motion(monkeypatch, False)
    shows(monkeypatch, SMEARED)
    picture = photograph(150, 170)
    assert np.array_equal(deblurrer(has_predictor=False).deblur(picture), deblurrer().deblur(picture))


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (33, 17), (721, 730)])
@pytest.mark.parametrize(("dtype", "full"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_any_size_and_type(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], dtype: str, full: int) -> None:
    """The largest is restored at half of its size."""
    by_motion(monkeypatch, True)
    shows(monkeypatch, SMEARED)
    timid(monkeypatch, along_smear=False)
    picture: npt.NDArray[Any] = (photograph(*size).astype(np.float64) / 255 * full).astype(dtype)
    made = deblurrer().deblur_picture(picture, DeblurOptions(refine=size[0] < 100))
    assert made.pixels.shape == picture.shape
    assert made.pixels.dtype == dtype


def test_a_picture_longer_than_what_opencv_samples_has_no_path() -> None:
    def six_px(samples: Samples) -> Flow:
        return np.full((*samples.shape[:2], 2), (6.0, 0.0), np.float32)

    assert lone_frame(np.zeros((33_000, 4, 3), np.uint8), six_px).neighbours is None
    assert lone_frame(np.zeros((31_000, 4, 3), np.uint8), six_px).neighbours is not None


def test_the_smear_is_told_in_px_of_the_picture_itself() -> None:
    def six_px(samples: Samples) -> Flow:
        assert samples.shape == (361, 365, 3)
        return np.full((20, 20, 2), [6, 0], np.float32)

    neighbours = lone_frame(photograph(721, 730), six_px).neighbours
    assert neighbours is not None
    assert neighbours.before is None
    assert neighbours.after is None
    velocity = neighbours.path.velocity()
    assert velocity is not None
    assert np.allclose(velocity, [12, 0], atol=0.05)


def test_tiles_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = SmearPredictor(width=8, num_blocks=0)
    torch.nn.init.normal_(predictor.tail.weight, std=5)
    search, picture = SmearSearch(predictor, choose_runtime("cpu", "torch")), photograph(500, 470)
    whole = search(picture)
    monkeypatch.setattr(smear_search, "_TILE_PX", 64)
    assert np.abs(search(picture) - whole).max() < 1e-4
    assert np.hypot(whole[..., 0], whole[..., 1]).max() > 1


def test_a_weight_set_holds_its_predictor(tmp_path: Path) -> None:
    networks = random_networks(architecture())
    folder = tmp_path / "set"
    save_weight_set(folder, networks, recipe="random", architecture=architecture(), brmr=SETTINGS, provenance={})
    loaded = load_networks(folder, read_manifest(folder))
    assert networks.video is not None
    assert loaded.video is not None
    assert networks.video.smear_predictor is not None
    assert loaded.video.smear_predictor is not None
    luma = torch.from_numpy(photograph(64, 96)).float().mean(2)[None, None] / 255
    assert torch.equal(networks.video.smear_predictor(luma), loaded.video.smear_predictor.eval()(luma))
    assert load(folder, device="cpu", backend="torch").deblur(photograph(20, 30)).shape == (20, 30, 3)
