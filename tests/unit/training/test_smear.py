"""The predictor of smears in training: what it is to say, and that it learns it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.models.path_taps import NUM_PLANES
from concertdeblur.models.prepared import SMEAR_PX
from concertdeblur.models.smear_predictor import PREDICTED_PX, SmearPredictor
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.report import Report
from concertdeblur.training.smear import SmearSettings, SmearStage, smear_targets

CROP_PX = 64


def crops(seed: int, num: int = 6, *, is_sharp: bool = False) -> MotionCrops:
    """Textures that are smeared by 9 px, to the right or downward."""
    rng = np.random.default_rng(seed)
    blurred, sharp, smears = [], [], []
    for _ in range(num):
        side = CROP_PX + 32
        texture = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1)
        texture = np.clip(128 + 60 * texture / texture.std(), 0, 255).astype(np.uint8)
        is_across = rng.random() < 0.5
        smeared = texture if is_sharp else cv2.blur(texture, (9, 1) if is_across else (1, 9))
        inner = slice(16, -16)
        sharp.append(np.repeat(texture[None, inner, inner], 3, 0))
        blurred.append(np.repeat(smeared[None, inner, inner], 3, 0))
        smears.append(np.full((CROP_PX // SMEAR_PX, CROP_PX // SMEAR_PX, 2), (9, 0) if is_across else (0, 9)))
    return MotionCrops(
        blurred_NCHW=torch.from_numpy(np.stack(blurred)),
        sharp_NCHW=torch.from_numpy(np.stack(sharp)),
        guess_NGHW=torch.zeros(num, 4, CROP_PX, CROP_PX, dtype=torch.float16),
        taps_NTHW=torch.zeros(num, NUM_PLANES, 1, 1, dtype=torch.uint8),
        smear_N2hw=torch.from_numpy(np.stack(smears).astype(np.float32)).permute(0, 3, 1, 2),
    )


def test_targets_are_smears_without_their_sign_and_flat_places_count_little() -> None:
    given = crops(1)
    given.blurred_NCHW[:, :, : CROP_PX // 2] = 100
    targets = smear_targets(given)
    assert targets.wanted_N3hw.shape == (6, 3, CROP_PX // PREDICTED_PX, CROP_PX // PREDICTED_PX)
    assert torch.allclose(targets.wanted_N3hw[:, 0].abs(), torch.tensor(9.0))
    assert torch.allclose(targets.wanted_N3hw[:, 2], torch.tensor(9.0))
    assert targets.weight_N1hw[:, :, 0].max() < 0.2 * targets.weight_N1hw[:, :, -1].min()


def test_what_is_as_sharp_as_its_truth_has_no_smear() -> None:
    assert not smear_targets(crops(1, is_sharp=True)).wanted_N3hw.any()


def test_it_learns_directions_and_goes_on_exactly(tmp_path: Path) -> None:
    settings = SmearSettings(
        steps=60, cooldown_steps=20, batch_size=6, warmup_steps=3, learning_rate=1e-2, ema_decay=0.7, evaluate_every=60
    )

    def stage(folder: str) -> SmearStage:
        torch.manual_seed(0)
        predictor = SmearPredictor(width=8, num_blocks=1)
        return SmearStage(predictor, settings, tmp_path / folder, held_out=crops(10_000))

    reports: list[Report] = []
    whole = stage("whole")
    targets = smear_targets(crops(0))
    untrained = targets.loss(whole.predictor.rated(targets.luma_N1HW)).item()
    whole.run(crops, until_s=600, on_report=reports.append)
    assert reports[-1].objective < 0.5 * untrained
    judged = reports[-1].held_out
    assert judged["smear px"] == pytest.approx(9)
    assert judged["smear error px"] < 5

    def killed(step: int) -> MotionCrops:
        if step == 12:
            raise KeyboardInterrupt
        return crops(step)

    with pytest.raises(KeyboardInterrupt):
        stage("parts").run(killed, until_s=600, on_report=lambda _: None)
    second = stage("parts")
    assert second.resume()
    second.run(crops, until_s=600, on_report=lambda _: None)
    for name, value in whole.predictor.state_dict().items():
        assert torch.equal(value, second.predictor.state_dict()[name]), name
