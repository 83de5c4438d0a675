"""The paper's networks train: the objective falls, dropout does not spoil an exact resume, windows are mined."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from concertdeblur.deblurring import cam
from concertdeblur.models.discriminator import PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.samples import SampleSettings, SampleStream
from concertdeblur.training.igan import IganSettings
from concertdeblur.training.paper import (
    PaperIganStage,
    PaperPganStage,
    PaperWindows,
    drawn_windows,
    held_out_gains,
    mine_paper_windows,
)
from concertdeblur.training.pgan import PganSettings
from concertdeblur.training.recipe import read_recipe
from tests.pictures import photograph

_SAMPLES = SampleSettings(sharp_share=0, capture_share=0, motion_share=0, noise_share=0, jpeg_share=0, framed_share=1)
_IGAN = IganSettings(
    steps=4, cooldown_steps=2, batch_size=1, warmup_steps=1, learning_rate=2e-4, ema_decay=0, max_gradient_norm=1e9,
    max_gradient_ratio=1e9, crop_px=256, adversarial_weight=0.01, evaluate_every=100,
)  # fmt: skip
_PGAN = PganSettings(
    num_pictures=2, windows_per_picture=1, steps=4, cooldown_steps=2, batch_size=1, warmup_steps=1, ema_decay=0
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    import cv2

    source = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        cv2.imwrite(str(source / f"p{number}.png"), np.roll(photograph(512, 512), 90 * number, axis=1)[:280, :300])
    folder = tmp_path_factory.mktemp("run") / "store"
    build_store(source, folder, min_side_px=256)
    return PictureStore(folder, "train")


def stage(folder: Path, store: PictureStore) -> PaperIganStage:
    torch.manual_seed(0)
    return PaperIganStage(PaperGenerator(width=4), PaperDiscriminator(4), _IGAN, folder, held_out=store, seed=1)


def test_stopped_and_resumed_is_bitwise_the_same_with_dropout(store: PictureStore, tmp_path: Path) -> None:
    stream = SampleStream(store, _SAMPLES, seed=0, batch_size=1)
    whole = stage(tmp_path / "whole", store)
    whole.run(stream.batch, until_s=1e9, on_report=lambda _: None)
    first = stage(tmp_path / "pieces", store)
    first.run(stream.batch, until_s=1e9, on_report=lambda _: None, is_stopped=lambda: first.step == 2)
    torch.manual_seed(99)
    second = stage(tmp_path / "pieces", store)
    assert second.resume()
    second.run(stream.batch, until_s=1e9, on_report=lambda _: None)
    for one, two in ((whole.network, second.network), (whole.discriminator, second.discriminator)):
        made = two.state_dict()
        assert all(torch.equal(value, made[name]) for name, value in one.state_dict().items())


def test_dropout_is_on_in_training_and_off_in_what_is_kept(store: PictureStore, tmp_path: Path) -> None:
    trained = stage(tmp_path, store)
    trained.train_step(SampleStream(store, _SAMPLES, seed=0, batch_size=1).batch(0))
    assert trained.network.training
    assert not trained.ema.module.training
    kept = trained.ema.module.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in trained.network.state_dict().items())


def test_it_learns(store: PictureStore, tmp_path: Path) -> None:
    batch = SampleStream(store, _SAMPLES, seed=0, batch_size=1).batch(0)
    trained = stage(tmp_path, store)
    losses = []
    for trained.step in range(12):
        trained.schedule = IganSettings(steps=10**6, cooldown_steps=1, batch_size=1, warmup_steps=1, learning_rate=2e-3)
        losses.append(float(trained.train_step(batch).figures["l1"].detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_the_most_blurred_window_is_mined(store: PictureStore) -> None:
    torch.manual_seed(0)
    unet, discriminator = PaperGenerator(width=4).restoration.eval(), PaperDiscriminator(4)
    stream = SampleStream(store, _SAMPLES, seed=0, batch_size=1)
    windows = mine_paper_windows(unet, discriminator, stream.batch, _PGAN)
    assert windows.result_MCHW.shape == (2, 3, 128, 128)
    batch = stream.batch(0)
    with torch.no_grad():
        result = unet(batch.blurred_NCHW)
        small: Tensor = discriminator(batch.blurred_NCHW, result)
    map_hw = torch.nn.functional.interpolate(small[:, None], (32, 32), mode="bilinear")[0, 0].double().numpy()
    place, _ = cam.most_blurred(map_hw, cam.cells_of(256, 256)[0])
    expected = batch.sharp_NCHW[(0, slice(None), *place.of_pixels())]
    assert (windows.sharp_MCHW[0].float() - expected).abs().max() < 1e-3


def test_pgan_sees_every_window_once_an_epoch(tmp_path: Path) -> None:
    values = torch.arange(5.0)[:, None, None, None].expand(5, 3, 128, 128).half() / 8
    windows = PaperWindows(
        result_MCHW=values, blurred_MCHW=values, sharp_MCHW=values, is_blurred_M=torch.ones(5, dtype=torch.bool)
    )
    batches = drawn_windows(windows, batch_size=1, seed=0)
    for epoch in range(2):
        seen = [float(batches(5 * epoch + n).sharp_MCHW[0, 0, 0, 0]) * 8 for n in range(5)]
        assert sorted(seen) == [0, 1, 2, 3, 4]
    stage = PaperPganStage(PaperPatchGenerator(width=4), PaperDiscriminator(4), _PGAN, tmp_path, seed=0)
    stage.run(batches, until_s=1e9, on_report=lambda _: None)
    assert stage.is_done


def test_gains_of_a_network_that_gives_grey_are_losses(store: PictureStore) -> None:
    class Grey(torch.nn.Conv2d):
        def forward(self, frames: Tensor) -> Tensor:
            return torch.full_like(frames, 0.5)

    gains = held_out_gains(Grey(1, 1, 1), store)
    assert gains["sharp"] < 20
    assert all(gain < 0 for name, gain in gains.items() if name != "sharp")


def test_the_recipe_is_the_papers() -> None:
    recipe = read_recipe("paper")
    assert recipe.igan.steps == 200 * 2800
    assert (recipe.igan.batch_size, recipe.igan.learning_rate, recipe.igan.adversarial_weight) == (1, 2e-4, 1 / 100)
    rates = [recipe.igan.rate(step) for step in (0, 279_999, 420_000, 560_000)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 0])
