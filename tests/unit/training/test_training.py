"""The core of training: data, objective, checkpoints, stages; all on pictures that fit in a second."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.blur import Kernel, blur
from concertdeblur.errors import TrainingError
from concertdeblur.models import concert
from concertdeblur.models.blur_cells import BLUR_CELL_PX, blur_grid, looped, surrounded_index
from concertdeblur.models.concert import BLUR_TYPES, ConcertGenerator, ConcertPatchGenerator
from concertdeblur.models.discriminator import CamDiscriminator, ConcertDiscriminator
from concertdeblur.models.inverse_filter import apply_weights, filter_frames
from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, kernel_bank, num_filters
from concertdeblur.training.analysis import AnalysisSchedule, AnalysisStage, filter_errors
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.samples import SampleSettings, SampleStream, collate_pictures, motion_blurred
from concertdeblur.training.ema import Ema
from concertdeblur.training.igan import Cells, IganSettings, IganStage, cropped, held_out_gains, prepare
from concertdeblur.training.objective import (
    blur_loss,
    delta,
    discriminator_loss,
    locating_loss,
    log_squared_error,
    ranking_loss,
    relative_l1,
    sharp_loss,
)
from concertdeblur.training.pgan import PganSettings, PganStage, drawn, judgement_loss, mine_windows
from concertdeblur.training.report import Report
from concertdeblur.training.stage import Schedule
from tests.pictures import photograph

SMALL_SAMPLES = SampleSettings()
FRAMED_SAMPLES = SampleSettings(framed_share=1)


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
        clean = SampleSettings(sharp_share=1, capture_share=0, noise_share=0, jpeg_share=0)
        batch = SampleStream(store, clean, seed=0, batch_size=8).batch(0)
        assert torch.equal(batch.blurred_NCHW, batch.sharp_NCHW)
        assert batch.type_N.tolist() == [0] * 8
        assert batch.level_N.tolist() == [0] * 8

    def test_every_type_occurs(self, store: PictureStore) -> None:
        stream = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=50)
        types = [BLUR_TYPES[i] for step in range(2) for i in stream.batch(step).type_N.tolist()]
        assert set(types) == set(BLUR_TYPES)

    def test_plain_crops_have_less_detail(self, store: PictureStore) -> None:
        def detail(plain_share: float) -> float:
            settings = SampleSettings(plain_share=plain_share, dark_share=0, capture_share=0)
            stream = SampleStream(store, settings, seed=0, batch_size=48)
            return float(stream.batch(0).sharp_NCHW.diff(dim=3).abs().mean())

        assert detail(1) < 0.9 * detail(0)

    def test_the_cell_is_cut_from_its_surroundings(self, store: PictureStore) -> None:
        """Where the picture ends with the cell, its reflection is around it."""
        batch = SampleStream(store, SampleSettings(framed_share=1), seed=0, batch_size=2).batch(0)
        cell, around = batch.sharp_NCHW, batch.surrounded_sharp
        assert cell.shape == (2, 3, BLUR_CELL_PX, BLUR_CELL_PX)
        index = surrounded_index(0, BLUR_CELL_PX)
        assert torch.equal(around, cell[:, :, index][..., index])

    def test_motion_is_along_its_angle_and_the_bank_agrees(self) -> None:
        dot = np.zeros((65, 65, 3), np.uint8)
        dot[32, 32] = 255
        for angle in (22.5, 45, 67.5, 112.5, 135, 157.5):
            kernel = motion_blurred(dot, angle, 15)[..., 0].astype(float)
            measured = np.fft.rfft2(np.fft.ifftshift(kernel / kernel.sum(), axes=(0, 1))).real
            y, x = torch.fft.fftfreq(65)[:, None], torch.fft.rfftfreq(65)[None, :]
            low = (y.abs() < 0.12) & (x < 0.12)
            error = {
                e.angle_deg: float(np.abs(measured - e.at(y, x).numpy())[low.numpy()].max())
                for e in kernel_bank()
                if e.name == "motion" and e.size == 15
            }
            assert min(error, key=lambda turned: error[turned]) == angle


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
        network = ConcertDiscriminator(16)
        strong = SampleSettings(sharp_share=0, motion_share=0, noise_share=0, jpeg_share=0, dark_share=0)
        batch = SampleStream(store, strong, seed=1, batch_size=16).batch(0)
        middle = (..., slice(64, 160), slice(64, 160))
        blurry, clear = batch.blurred_NCHW[middle], batch.sharp_NCHW[middle]
        adam = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(60):
            loss = discriminator_loss(network, blurry, clear, blurry, batch.type_N > 0)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        with torch.no_grad():
            sharp = delta(network, blurry, clear)
            blurred = delta(network, blurry, blurry)
        assert (sharp > blurred).float().mean() > 0.9

    @pytest.mark.parametrize(
        ("error", "floor", "floored_by"),
        [(relative_l1, 0.004, 0.204 / 0.006), (log_squared_error, 4e-6, 100 * 0.5)],
    )
    def test_a_clean_picture_counts_as_much_as_a_noisy_one(
        self, error: Callable[..., torch.Tensor], floor: float, floored_by: float
    ) -> None:
        """The same share of error is the same gain in dB; the floor bounds it."""
        sharp = torch.zeros(2, 3, 8, 8)
        for least, expected in ((0.0, 100), (floor, floored_by)):
            restored = torch.stack([torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.002)]).requires_grad_()
            error(restored, sharp, floor=least).backward()  # type: ignore[no-untyped-call]
            assert restored.grad is not None
            by_picture = restored.grad.abs().sum((1, 2, 3))
            assert by_picture[1] / by_picture[0] == pytest.approx(expected, rel=0.01)

    def test_only_sharp_pairs_still_give_a_loss(self) -> None:
        pictures = torch.rand(2, 3, 64, 64)
        loss = discriminator_loss(ConcertDiscriminator(8), pictures, pictures, pictures, torch.tensor([False, False]))
        assert loss.isfinite()

    def test_what_is_further_from_the_truth_must_be_called_the_more_blurred(self) -> None:
        sharp, candidate = further_downwards()

        def loss(told: float) -> float:
            return ranking_loss(telling(told), sharp, candidate, sharp).item()

        assert loss(1.0) < 0.5 * loss(0.0) < 0.25 * loss(-1.0)
        assert ranking_loss(telling(1.0), sharp, sharp, sharp).item() == 0  # nothing is further than anything else

    def test_what_is_near_the_truth_must_be_called_sharp_and_what_is_far_blurred(self) -> None:
        sharp, candidate = further_downwards()
        right, undecided, wrong = (
            locating_loss(telling(told), sharp, candidate, sharp).item() for told in (3.0, 0.0, -3.0)
        )
        assert right < undecided < wrong
        everywhere_sharp = cast(CamDiscriminator, lambda blurred, shown: torch.full((2, 16, 16), 9.0))
        assert locating_loss(everywhere_sharp, sharp, sharp, sharp).item() < 1e-3


def further_downwards() -> tuple[torch.Tensor, torch.Tensor]:
    """A truth, and a candidate that is the further from it, the lower."""
    sharp = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    shares = 0.5 * torch.linspace(0, 1, 128)[:, None] ** 4
    return sharp, sharp + shares * (0.5 - sharp)


def telling(told: float) -> CamDiscriminator:
    """A stand-in that calls the upper rows sharp and the lower ones blurred, as surely as `told` says."""
    rows = told * torch.linspace(1, -1, 16)[:, None].expand(2, 16, 16)
    return cast(CamDiscriminator, lambda blurred, shown: rows)


def test_ema_follows() -> None:
    source = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(source, decay=0.9)
    start = float(source.weight.detach())
    with torch.no_grad():
        source.weight.add_(1)
    ema.update(1000)
    assert ema.module.weight.item() == pytest.approx(start + 0.1, abs=1e-5)


class TestFilterErrors:
    """By Parseval, what every filter of the bank would leave."""

    def test_agree_with_filtering(self) -> None:
        picture = photograph(BLUR_CELL_PX, BLUR_CELL_PX)
        batch = collate_pictures(
            [blur(picture, kernel, 0.5) for kernel in (Kernel.AVERAGING, Kernel.GAUSSIAN)], picture
        )
        errors_NK = filter_errors(batch)
        for index in (0, 40 * len(NOISE_TO_SIGNAL) + 2, num_filters() - 1):
            weights = torch.zeros(2, num_filters())
            weights[:, index] = 1
            made = apply_weights(looped(batch.surrounded_blurred), weights)[:, :3]
            difference = (made - looped(batch.surrounded_sharp)) * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
            expected = difference.sum(1).square().mean((1, 2))
            assert errors_NK[:, index].sqrt().tolist() == pytest.approx(expected.sqrt().tolist(), rel=0.1)

    def test_the_true_kernel_serves_best(self) -> None:
        picture = photograph(BLUR_CELL_PX, BLUR_CELL_PX)
        for kernel, size in ((Kernel.HORIZONTAL, 13), (Kernel.VERTICAL, 13), (Kernel.AVERAGING, 9)):
            errors = filter_errors(collate_pictures([blur(picture, kernel, 0.5)], picture))[0]
            best = kernel_bank()[int(errors.argmin()) // len(NOISE_TO_SIGNAL)]
            assert (best.name, best.size) == (kernel.value, size)


def make_generator(width: int = 8) -> ConcertGenerator:
    torch.manual_seed(0)
    return ConcertGenerator(width=width, num_blocks=1, embedding_width=16)


def igan_stage(folder: Path, held_out: PictureStore, *, steps: int = 6, width: int = 8) -> IganStage:
    settings = IganSettings(
        steps=steps,
        cooldown_steps=2,
        batch_size=2,
        warmup_steps=2,
        adversarial_from_step=2,
        evaluate_every=100,
        save_every=3,
        crop_px=64,
    )
    return IganStage(make_generator(width), ConcertDiscriminator(8), settings, folder, held_out=held_out)


def cells_of(store: PictureStore) -> Callable[[int], Cells]:
    stream = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=2)
    return lambda step: Cells(batch=stream.batch(step), seed=step)


def same_weights(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())


class TestIganStage:
    def test_killed_and_resumed_gives_the_same_weights(
        self, store: PictureStore, store_folder: Path, tmp_path: Path
    ) -> None:
        cells, held_out = cells_of(store), PictureStore(store_folder, "held_out")
        whole = igan_stage(tmp_path / "whole", held_out)
        reports: list[Report] = []
        whole.run(cells, until_s=1e9, on_report=reports.append)
        assert reports[-1].step == 6
        assert set(reports[-1].held_out) == {"sharp", *(kernel.value for kernel in Kernel)}

        class Killed(Exception):
            pass

        def dying(step: int) -> Cells:
            if step == 4:
                raise Killed
            return cells(step)

        first = igan_stage(tmp_path / "pieces", held_out)
        with pytest.raises(Killed):
            first.run(dying, until_s=1e9, on_report=lambda _: None)
        second = igan_stage(tmp_path / "pieces", held_out)
        assert second.resume()
        assert second.step == 4
        second.run(cells, until_s=1e9, on_report=lambda _: None)
        assert same_weights(whole.generator, second.generator)
        assert same_weights(whole.ema.module, second.ema.module)
        assert same_weights(whole.discriminator, second.discriminator)

    def test_the_analysis_learns_through_the_restoration_from_its_step_on(
        self, store: PictureStore, tmp_path: Path
    ) -> None:
        stage = igan_stage(tmp_path, store)
        stage.settings = dataclasses.replace(stage.settings, analysis_from_step=3)
        before = copy.deepcopy(stage.generator.analysis)
        heads = {}

        def cells(step: int) -> Cells:
            heads[step] = stage.generator.analysis.filter_head.weight.detach().clone()
            return cells_of(store)(step)

        stage.run(cells, until_s=1e9, on_report=lambda _: None)
        assert torch.equal(heads[3], before.filter_head.weight)
        assert not torch.equal(heads[4], heads[3])
        assert not same_weights(stage.generator.analysis.embedding, before.embedding)

    def test_the_objective_is_what_is_descended_and_no_more(self, store: PictureStore, tmp_path: Path) -> None:
        """Not the opponent's loss, nor the L1 that the relative losses have replaced."""
        stage = igan_stage(tmp_path, store)
        stage.settings = dataclasses.replace(stage.settings, relative_from_step=0, adversarial_from_step=0)
        made = stage.train_step(cells_of(store)(0))
        parts = {"relative", "log_squared", "type", "level", "adversarial"}
        assert set(made.figures) == parts | {"l1", "discriminator"}
        assert float(made.objective) == pytest.approx(sum(float(made.figures[name].detach()) for name in parts))

    def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
        self, store: PictureStore, tmp_path: Path
    ) -> None:
        stage = igan_stage(tmp_path, store)
        stage.save()
        before = stage.checkpoint.read_bytes()
        with torch.no_grad():
            next(stage.generator.restoration.parameters()).fill_(float("nan"))
        with pytest.raises(TrainingError, match="not a number"):
            stage.run(cells_of(store), until_s=1e9, on_report=lambda _: None)
        assert stage.checkpoint.read_bytes() == before

    def test_a_checkpoint_of_another_architecture_is_refused(self, store: PictureStore, tmp_path: Path) -> None:
        igan_stage(tmp_path, store).save()
        with pytest.raises(TrainingError, match="another architecture"):
            igan_stage(tmp_path, store, width=16).resume()

    def test_a_broken_checkpoint_is_refused(self, store: PictureStore, tmp_path: Path) -> None:
        (tmp_path / "igan.safetensors").write_bytes(b"nothing")
        with pytest.raises(TrainingError, match="not a readable checkpoint"):
            igan_stage(tmp_path, store).resume()

    def test_the_rate_warms_up_holds_and_cools_down(self) -> None:
        schedule = Schedule(steps=100, cooldown_steps=20, batch_size=1, warmup_steps=10, learning_rate=1.0)
        assert [schedule.rate(step) for step in (0, 9, 50, 80, 90, 100)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0])

    def test_cells_are_prepared_as_frames_are(self, store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Training and inference reach the inverse filters through different code; results must agree.

        But for guesses that are negative light: only training believes them.
        """
        monkeypatch.setattr(concert, "_NEGATIVE", (100.0, 200.0))
        generator = make_generator()
        batch = SampleStream(store, SampleSettings(framed_share=1), seed=0, batch_size=2).batch(0)
        with torch.no_grad():
            generator.analysis.filter_head.weight.zero_()
            generator.analysis.filter_head.bias.fill_(-30)[[20, 200]] = 5
        generator.requires_grad_(False)
        analysis, guess = prepare(generator, batch)
        frames = batch.blurred_NCHW
        whole = generator.prepare(frames, generator.describe(frames))
        assert (whole.guess_NGHW - guess).abs().max() < 1e-4
        assert (whole.hints_NEhw[:, :, 3, 5] - analysis.embedding_ME).abs().max() < 1e-5
        weights = analysis.weights_MK.view(2, *blur_grid(BLUR_CELL_PX, BLUR_CELL_PX), -1)
        assert (filter_frames(frames, weights) - guess).abs().max() < 1e-4

    def test_crops_are_aligned(self, store: PictureStore) -> None:
        """A picture that nothing blurred: input, truth and the identity's guess are one."""
        generator = make_generator()
        with torch.no_grad():
            generator.analysis.filter_head.weight.zero_()
            generator.analysis.filter_head.bias.fill_(-30)[0] = 5
        clean = SampleSettings(sharp_share=1, capture_share=0, noise_share=0, jpeg_share=0, dark_share=0)
        batch = SampleStream(store, clean, seed=0, batch_size=4).batch(0)
        crops = cropped(prepare(generator, batch), batch, 96, seed=1)
        assert torch.equal(crops.blurred_NCHW, crops.sharp_NCHW)
        assert (crops.guess_NGHW[:, :3] - crops.sharp_NCHW).abs().mean() < 1e-3

    def test_gains_of_an_untrained_generator_are_zero(self, store_folder: Path) -> None:
        generator = make_generator()
        gains = held_out_gains(generator, PictureStore(store_folder, "held_out"))
        assert gains.pop("sharp") == pytest.approx(100)
        assert gains == pytest.approx({kernel.value: 0.0 for kernel in Kernel}, abs=1e-4)


def test_the_analysis_learns_and_resumes_exactly(store: PictureStore, tmp_path: Path) -> None:
    stream = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=4)
    held_out = SampleStream(store, SMALL_SAMPLES, seed=9, batch_size=8).batch(0)
    schedule = AnalysisSchedule(
        steps=8, cooldown_steps=2, batch_size=4, warmup_steps=2, evaluate_every=4, replayed=6, remembered=12
    )

    def stage(folder: Path) -> AnalysisStage:
        return AnalysisStage(make_generator().analysis, schedule, folder, held_out=held_out, seed=0)

    whole = stage(tmp_path / "whole")
    reports: list[Report] = []
    whole.run(stream.batch, until_s=1e9, on_report=reports.append)
    assert {"lost_db", "types_right"} <= set(reports[-1].held_out)
    first = stage(tmp_path / "pieces")
    first.run(stream.batch, until_s=1e9, on_report=lambda _: None, is_stopped=lambda: first.step == 5)
    second = stage(tmp_path / "pieces")
    assert second.resume()
    assert second.step == 5
    second.run(stream.batch, until_s=1e9, on_report=lambda _: None)
    assert same_weights(whole.ema.module, second.ema.module)
    learning, batch = stage(tmp_path / "learning"), stream.batch(0)
    losses = [float(learning.train_step(batch).figures["filter"].detach()) for _ in range(6)]
    assert losses[-1] < losses[0]


def test_the_analysis_learns_which_filter_serves(store: PictureStore, tmp_path: Path) -> None:
    batch = SampleStream(store, SMALL_SAMPLES, seed=0, batch_size=4).batch(0)
    schedule = AnalysisSchedule(
        steps=50, cooldown_steps=0, batch_size=4, warmup_steps=1, evaluate_every=10, replayed=0, remembered=4
    )
    stage = AnalysisStage(make_generator().analysis, schedule, tmp_path, held_out=batch, seed=0)
    reports: list[Report] = []
    stage.run(lambda _: batch, until_s=1e9, on_report=reports.append)
    assert reports[-1].figures["filter"] < 0.8 * reports[0].figures["filter"]
    assert reports[-1].held_out["lost_db"] < next(r for r in reports if r.held_out).held_out["lost_db"]


class TestPganStage:
    SETTINGS = PganSettings(num_pictures=4, steps=4, cooldown_steps=1, batch_size=2, warmup_steps=1)

    def test_mined_windows_lie_where_the_discriminator_says(self, store: PictureStore) -> None:
        generator, discriminator = make_generator(), ConcertDiscriminator(8)
        stream = SampleStream(store, FRAMED_SAMPLES, seed=0, batch_size=2)
        windows = mine_windows(generator, discriminator, stream, self.SETTINGS)
        assert windows.result_MCHW.shape == (8, 3, 128, 128)
        assert windows.guess_MGHW.shape == (8, 10, 128, 128)  # consistent, blurred, G_i's
        batch = stream.batch(0)
        map_hw = discriminator(batch.blurred_NCHW, batch.blurred_NCHW)[0].detach()
        places = [(y, x) for y in (0, 64, 128) for x in (0, 64, 128)]
        y, x = min(
            places, key=lambda at: float(map_hw[at[0] // 8 : at[0] // 8 + 16, at[1] // 8 : at[1] // 8 + 16].mean())
        )
        expected = batch.sharp_NCHW[0, :, y : y + 128, x : x + 128]
        assert (windows.sharp_MCHW[0].float() - expected).abs().max() < 1e-3

    def test_pictures_that_go_on_are_not_mined(self, store: PictureStore) -> None:
        stream = SampleStream(store, SampleSettings(framed_share=0), seed=0, batch_size=2)
        with pytest.raises(ValueError, match="framed_share"):
            mine_windows(make_generator(), ConcertDiscriminator(8), stream, self.SETTINGS)

    def test_the_discriminator_learns_which_steps_gain(self, store: PictureStore) -> None:
        """From one batch: a step towards the truth and one away from it."""
        stream = SampleStream(store, FRAMED_SAMPLES, seed=0, batch_size=2)
        windows = mine_windows(make_generator(), ConcertDiscriminator(8), stream, self.SETTINGS)
        batch = drawn(windows, batch_size=4, seed=0)(0)
        away = (2 * batch.result_MCHW - batch.sharp_MCHW).clamp(0, 1)
        steps = torch.where(torch.arange(4)[:, None, None, None] % 2 == 0, batch.sharp_MCHW, away)
        torch.manual_seed(0)
        judge = ConcertDiscriminator(8)
        descent = torch.optim.Adam(judge.parameters(), 4e-3)
        losses = []
        for _ in range(40):
            loss = judgement_loss(judge, batch, batch.result_MCHW, steps)
            descent.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            descent.step()
            losses.append(loss.item())
        assert losses[-1] < 0.6 * losses[0]

    def test_the_objective_leaves_out_what_the_discriminators_learn(self, store: PictureStore, tmp_path: Path) -> None:
        stream = SampleStream(store, FRAMED_SAMPLES, seed=0, batch_size=2)
        windows = mine_windows(make_generator(), ConcertDiscriminator(8), stream, self.SETTINGS)
        patch = ConcertPatchGenerator(width=8, num_blocks=1, embedding_width=16)
        stage = PganStage(
            patch, ConcertDiscriminator(8), self.SETTINGS, tmp_path, image_discriminator=ConcertDiscriminator(8)
        )
        made = stage.train_step(drawn(windows, batch_size=2, seed=0)(0))
        assert {"discriminator", "image_discriminator", "judgement", "l1_before"} < set(made.figures)
        parts = [float(made.figures[name].detach()) for name in ("l1", "adversarial")]
        assert float(made.objective) == pytest.approx(sum(parts))

    def test_it_learns_and_resumes_exactly(self, store: PictureStore, tmp_path: Path) -> None:
        stream = SampleStream(store, FRAMED_SAMPLES, seed=0, batch_size=2)
        windows = mine_windows(make_generator(), ConcertDiscriminator(8), stream, self.SETTINGS)
        batches = drawn(windows, batch_size=2, seed=0)

        def stage(folder: Path) -> PganStage:
            torch.manual_seed(1)
            patch = ConcertPatchGenerator(width=8, num_blocks=1, embedding_width=16)
            judge, image_judge = ConcertDiscriminator(8), ConcertDiscriminator(8)
            return PganStage(patch, judge, self.SETTINGS, folder, image_discriminator=image_judge)

        whole = stage(tmp_path / "whole")
        whole.run(batches, until_s=1e9, on_report=lambda _: None)
        first = stage(tmp_path / "pieces")
        first.run(batches, until_s=0, on_report=lambda _: None)
        second = stage(tmp_path / "pieces")
        assert second.resume()
        second.run(batches, until_s=1e9, on_report=lambda _: None)
        assert same_weights(whole.ema.module, second.ema.module)
        assert whole.image_discriminator is not None
        assert second.image_discriminator is not None
        assert same_weights(whole.image_discriminator, second.image_discriminator)
