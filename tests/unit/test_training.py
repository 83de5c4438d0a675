"""The core of training: data, objective, checkpoints, stages; all on pictures that fit in a second."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.blur import Kernel
from concertdeblur.errors import TrainingError
from concertdeblur.models.discriminator import FastDiscriminator
from concertdeblur.models.fast import BLUR_TYPES, FastGenerator, FastPatchGenerator
from concertdeblur.models.inverse_filter import (
    apply_response,
    filter_frames,
    inverse_responses,
    kernel_bank,
    num_filters,
    padded_length,
)
from concertdeblur.training.ema import Ema
from concertdeblur.training.igan import IganSettings, IganStage, held_out_gains, psnr
from concertdeblur.training.objective import blur_loss, delta, discriminator_loss, sharp_loss
from concertdeblur.training.pgan import PganSettings, PganStage, mine_windows
from concertdeblur.training.pictures import PictureStore, build_store
from concertdeblur.training.samples import SampleSettings, SampleStream, motion_blurred, nearest_kernel
from tests.pictures import photograph

SMALL_SAMPLES = SampleSettings(crop_px=64)


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("photographs")
    picture = photograph(512, 512)
    for number in range(24):
        part = np.roll(picture, 40 * number, axis=1)[:300, :320]
        cv2.imwrite(str(source / f"p{number:02d}.png"), part[:, :, ::-1])
    folder = tmp_path_factory.mktemp("store")
    build_store(source, folder, min_side_px=256)
    return folder


@pytest.fixture(scope="module")
def store(store_folder: Path) -> PictureStore:
    return PictureStore(store_folder, "train")


class TestSamples:
    def test_a_batch_is_a_function_of_seed_and_step(self, store: PictureStore) -> None:
        first, second = (SampleStream(store, SMALL_SAMPLES, seed=3, batch_size=4) for _ in range(2))
        second.batch(0)
        assert torch.equal(first.batch(5).blurred_NCHW, second.batch(5).blurred_NCHW)
        other = SampleStream(store, SMALL_SAMPLES, seed=4, batch_size=4)
        assert not torch.equal(first.batch(5).blurred_NCHW, other.batch(5).blurred_NCHW)

    def test_sharp_samples_are_identical_pairs(self, store: PictureStore) -> None:
        clean = SampleSettings(crop_px=64, sharp_share=1, noise_share=0, jpeg_share=0)
        batch = SampleStream(store, clean, seed=0, batch_size=8).batch(0)
        assert torch.equal(batch.blurred_NCHW, batch.sharp_NCHW)
        assert batch.type_N.tolist() == [0] * 8
        assert batch.level_N.tolist() == [0] * 8

    def test_every_type_occurs_and_labels_fit(self, store: PictureStore) -> None:
        stream = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=50)
        batch = stream.batch(0)
        more = stream.batch(1)
        types = [BLUR_TYPES[i] for i in [*batch.type_N.tolist(), *more.type_N.tolist()]]
        assert set(types) == set(BLUR_TYPES)
        for type_index, kernel in zip(batch.type_N.tolist(), batch.kernel_N.tolist(), strict=True):
            name = BLUR_TYPES[type_index]
            if name in ("sharp", "median", "bilateral"):
                assert kernel_bank()[kernel].name == "identity"
            elif name != "motion":
                assert kernel_bank()[kernel].name == name

    def test_nearest_kernel_has_the_size(self) -> None:
        assert kernel_bank()[nearest_kernel(Kernel.HORIZONTAL, 0.5)].size == 13
        assert kernel_bank()[nearest_kernel(Kernel.AVERAGING, 1.0)].size == 13
        assert kernel_bank()[nearest_kernel(Kernel.GAUSSIAN, 0.0)].size == pytest.approx(0.8)

    def test_motion_is_along_its_angle_and_the_bank_agrees(self) -> None:
        dot = np.zeros((65, 65, 3), np.uint8)
        dot[32, 32] = 255
        for angle in (30, 45, 60, 120, 135, 150):
            kernel = motion_blurred(dot, angle, 13)[..., 0].astype(float)
            measured = np.fft.rfft2(np.fft.ifftshift(kernel / kernel.sum(), axes=(0, 1))).real
            y, x = torch.fft.fftfreq(65)[:, None], torch.fft.rfftfreq(65)[None, :]
            low = (y.abs() < 0.12) & (x < 0.12)
            error = {
                e.name: float(np.abs(measured - e.at(y, x).numpy())[low.numpy()].max())
                for e in kernel_bank()
                if e.name.startswith("motion") and e.size == 13
            }
            assert min(error, key=lambda name: error[name]) == f"motion{angle}"


class TestObjective:
    def test_losses_are_cross_entropies_of_two_classes(self) -> None:
        confidence = torch.tensor([-2.0, 0.5, 3.0])
        logits = torch.stack([torch.zeros(3), confidence], 1)
        sharp = torch.nn.functional.cross_entropy(logits, torch.ones(3, dtype=torch.long))
        blurred = torch.nn.functional.cross_entropy(logits, torch.zeros(3, dtype=torch.long))
        assert torch.isclose(sharp_loss(confidence), sharp)
        assert torch.isclose(blur_loss(confidence), blurred)

    def test_the_discriminator_learns_which_of_two_is_sharper(self, store: PictureStore) -> None:
        """Ranking is what BRMR asks of it: delta of (B, S) over delta of (B, B), for the same B."""
        torch.manual_seed(0)
        network = FastDiscriminator(16)
        strong = SampleSettings(crop_px=64, sharp_share=0, motion_share=0, noise_share=0, jpeg_share=0, dark_share=0)
        batch = SampleStream(store, strong, seed=1, batch_size=16).batch(0)
        adam = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(60):
            loss = discriminator_loss(
                network, batch.blurred_NCHW, batch.sharp_NCHW, batch.blurred_NCHW, batch.type_N > 0
            )
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            sharp = delta(network, batch.blurred_NCHW, batch.sharp_NCHW)
            blurred = delta(network, batch.blurred_NCHW, batch.blurred_NCHW)
        assert (sharp > blurred).float().mean() > 0.9

    def test_only_sharp_pairs_still_give_a_loss(self) -> None:
        pictures = torch.rand(2, 3, 64, 64)
        loss = discriminator_loss(FastDiscriminator(8), pictures, pictures, pictures, torch.tensor([False, False]))
        assert loss.isfinite()

    def test_psnr(self) -> None:
        pictures = torch.zeros(2, 3, 4, 4)
        other = pictures.clone()
        other[1] += 0.1
        assert psnr(pictures, other).tolist() == pytest.approx([100.0, 20.0])


def test_ema_follows() -> None:
    source = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(source, decay=0.9)
    start = float(source.weight.detach())
    with torch.no_grad():
        source.weight.add_(1)
    ema.update(1000)
    assert ema.module.weight.item() == pytest.approx(start + 0.1, abs=1e-5)


def igan_stage(folder: Path, steps: int = 6) -> IganStage:
    torch.manual_seed(0)
    settings = IganSettings(
        steps=steps,
        cooldown_steps=2,
        batch_size=2,
        warmup_steps=2,
        adversarial_from_step=2,
        evaluate_every=100,
        save_every=3,
    )
    return IganStage(FastGenerator(width=8, num_blocks=1), FastDiscriminator(8), settings, folder)


class TestIganStage:
    def test_killed_and_resumed_gives_the_same_weights(self, store: PictureStore, tmp_path: Path) -> None:
        stream = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=2)
        whole = igan_stage(tmp_path / "whole")
        whole.run(stream, store, until_s=1e9, on_report=lambda _: None)

        class Killed(Exception):
            pass

        class Dying:
            def batch(self, step: int) -> object:
                if step == 4:
                    raise Killed
                return stream.batch(step)

        first = igan_stage(tmp_path / "pieces")
        with pytest.raises(Killed):
            first.run(Dying(), store, until_s=1e9, on_report=lambda _: None)  # type: ignore[arg-type]
        second = igan_stage(tmp_path / "pieces")
        assert second.resume()
        assert second.step == 4
        second.run(stream, store, until_s=1e9, on_report=lambda _: None)
        for one, two in (
            (whole.generator, second.generator),
            (whole.ema.module, second.ema.module),
            (whole.discriminator, second.discriminator),
        ):
            for name, value in one.state_dict().items():
                assert torch.equal(value, two.state_dict()[name]), name

    def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
        self, store: PictureStore, tmp_path: Path
    ) -> None:
        stage = igan_stage(tmp_path)
        stage.save()
        before = (tmp_path / "igan.safetensors").read_bytes()
        with torch.no_grad():
            next(stage.generator.restoration.parameters()).fill_(float("nan"))
        with pytest.raises(TrainingError, match="not a number"):
            stage.run(
                SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=2), store, until_s=1e9, on_report=lambda _: None
            )
        assert (tmp_path / "igan.safetensors").read_bytes() == before

    def test_a_checkpoint_of_another_architecture_is_refused(self, tmp_path: Path) -> None:
        igan_stage(tmp_path).save()
        other = IganStage(
            FastGenerator(width=16, num_blocks=1),
            FastDiscriminator(8),
            IganSettings(steps=1, cooldown_steps=1),
            tmp_path,
        )
        with pytest.raises(TrainingError, match="another architecture"):
            other.resume()

    def test_a_broken_checkpoint_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "igan.safetensors").write_bytes(b"nothing")
        with pytest.raises(TrainingError, match="not a readable checkpoint"):
            igan_stage(tmp_path).resume()

    def test_the_rate_warms_up_holds_and_cools_down(self) -> None:
        settings = IganSettings(steps=100, cooldown_steps=20, warmup_steps=10, learning_rate=1.0)
        assert [settings.rate(step) for step in (0, 9, 50, 80, 90, 100)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0])

    def test_crops_are_filtered_as_frames_are(self, store: PictureStore) -> None:
        """Training and inference reach the inverse filter through different code; results must agree."""
        frames = SampleStream(store, SampleSettings(crop_px=128), seed=0, batch_size=2).batch(0).blurred_NCHW
        weights = torch.zeros(2, num_filters())
        weights[0, 20], weights[1, [90, 91]] = 1, 0.5
        padded = (padded_length(128), padded_length(128))
        responses = (weights @ inverse_responses(*padded, like=frames).flatten(1)).view(2, padded[0], -1)
        assert (filter_frames(frames, weights) - apply_response(frames, responses, padded)).abs().max() < 1e-4

    def test_gains_of_an_untrained_generator_are_zero(self, store_folder: Path) -> None:
        gains = held_out_gains(FastGenerator(width=8, num_blocks=1), PictureStore(store_folder, "held_out"), side_px=96)
        assert gains.pop("sharp") == pytest.approx(100)
        assert gains == pytest.approx(dict.fromkeys(Kernel, 0.0), abs=1e-4)


class TestPganStage:
    def test_mined_windows_lie_where_the_discriminator_says(self, store: PictureStore) -> None:
        torch.manual_seed(0)
        generator, discriminator = FastGenerator(width=8, num_blocks=1), FastDiscriminator(8)
        stream = SampleStream(store, SampleSettings(crop_px=256), seed=0, batch_size=2)
        settings = PganSettings(num_pictures=4, windows_per_picture=2, steps=1, cooldown_steps=1)
        windows = mine_windows(generator, discriminator, stream, settings)
        assert windows.result_MCHW.shape == (8, 3, 128, 128)
        batch = stream.batch(0)
        map_hw = discriminator(batch.blurred_NCHW, batch.blurred_NCHW)[0].detach()
        scores = [
            (float(map_hw[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16].mean()), y, x)
            for y in (0, 64, 128)
            for x in (0, 64, 128)
        ]
        _, y, x = min(scores)
        expected = batch.sharp_NCHW[0, :, y : y + 128, x : x + 128]
        assert (windows.sharp_MCHW[0].float() - expected).abs().max() < 1e-3

    def test_it_learns_and_resumes_exactly(self, store: PictureStore, tmp_path: Path) -> None:
        torch.manual_seed(0)
        stream = SampleStream(store, SampleSettings(crop_px=256), seed=0, batch_size=2)
        settings = PganSettings(num_pictures=4, steps=4, cooldown_steps=1, batch_size=2, warmup_steps=1)
        windows = mine_windows(FastGenerator(width=8, num_blocks=1), FastDiscriminator(8), stream, settings)

        def stage(folder: Path) -> PganStage:
            torch.manual_seed(1)
            return PganStage(FastPatchGenerator(width=8, num_blocks=1), FastDiscriminator(8), settings, folder, seed=0)

        whole = stage(tmp_path / "whole")
        whole.run(windows, until_s=1e9, on_report=lambda _: None)
        first = stage(tmp_path / "pieces")
        first.run(windows, until_s=0, on_report=lambda _: None)
        second = stage(tmp_path / "pieces")
        assert second.resume()
        second.run(windows, until_s=1e9, on_report=lambda _: None)
        for name, value in whole.ema.module.state_dict().items():
            assert torch.equal(value, second.ema.module.state_dict()[name]), name
