"""Networks of a video in training: samples that move, windows, stages, and what judges them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.blur.moving_scenes import SceneSettings
from concertdeblur.deblurring import working_size as working_size_module
from concertdeblur.models.concert import ConcertGenerator
from concertdeblur.models.discriminator import ConcertDiscriminator
from concertdeblur.models.path_taps import BESIDE, NUM_PLANES, NUM_TAPS
from concertdeblur.models.prepared import SMEAR_PX
from concertdeblur.models.restoration import UNSHUFFLE, PathRestoration
from concertdeblur.training.data.guesses import Guesser, make_guesses
from concertdeblur.training.data.motion import MotionCrops, MotionSettings, MotionStream
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.samples import SampleSettings, SampleStream
from concertdeblur.training.data.sequence_sources import SequenceSettings, build_sequence_store
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence
from concertdeblur.training.data.stored_scenes import StoredScenes, build_scene_store
from concertdeblur.training.motion_gain import REAL, REAL_WORST, gain_judge
from concertdeblur.training.report import Report
from concertdeblur.training.video import VideoIganSettings, VideoIganStage
from concertdeblur.training.video_windows import (
    PathWindowStream,
    VideoPganSettings,
    VideoPganStage,
    frame_results,
    make_result_flows,
)
from concertdeblur.training.whole_frames import WholeFrames, cut_size
from tests.networks import SMALL_VIDEO, random_networks
from tests.pictures import write_photographs
from tests.sequences import write_gopro_folder

CROP_PX = 64


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureStore:
    folder = tmp_path_factory.mktemp("store") / "pictures"
    build_store(write_photographs(tmp_path_factory.mktemp("photographs")), folder, min_side_px=256)
    return PictureStore(folder, "train")


@pytest.fixture(scope="module")
def generator() -> ConcertGenerator:
    network = random_networks(SMALL_VIDEO).image_generator
    assert isinstance(network, ConcertGenerator)
    return network


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory, generator: ConcertGenerator) -> Path:
    root = tmp_path_factory.mktemp("sequences")
    write_gopro_folder(root / "real", "a", 9, height=160, width=176)
    settings = SequenceSettings(least_side_px=CROP_PX, held_out_share=0.4, most_frames=100, num_copies=2)
    build_sequence_store(root / "store", settings, real=root / "real", clips=[], seed=1)
    for split in ("train", "held_out"):
        make_guesses(SequenceStore(root / "store", split), Guesser(generator))
    return root / "store"


def stream(
    pictures: PictureStore, generator: ConcertGenerator, store: SequenceStore | None, settings: MotionSettings,
    *, seed: int = 3, batch_size: int = 4, uses: int = 2,
) -> MotionStream:  # fmt: skip
    cells = SampleStream(pictures, SampleSettings(capture_share=0), seed=5, batch_size=batch_size)
    return MotionStream(
        pictures, cells, store, Guesser(generator), settings, seed=seed, batch_size=batch_size, crop_px=CROP_PX,
        uses=uses,
    )  # fmt: skip


def only(kind: str) -> MotionSettings:
    """Samples of one kind, next to nothing of the others."""
    shares = dict.fromkeys(("real", "clips", "sharp", "rendered"), 0.0) | {"still": 1e-9} | {kind: 1.0}
    return MotionSettings(
        real=shares["real"], clips=shares["clips"], sharp=shares["sharp"], rendered=shares["rendered"],
        still=shares["still"],
    )  # fmt: skip


class TestMotionSamples:
    def test_a_batch_is_a_function_of_seed_and_number(
        self, pictures: PictureStore, generator: ConcertGenerator, sequences: Path
    ) -> None:
        store = SequenceStore(sequences, "train")
        first, second = (stream(pictures, generator, store, MotionSettings()) for _ in range(2))
        second.batch(0)
        for one, other in zip(first.batch(2).crops, second.batch(2).crops, strict=True):
            for name in ("blurred_NCHW", "sharp_NCHW", "guess_NGHW", "taps_NTHW", "smear_N2hw"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
        other_seed = stream(pictures, generator, store, MotionSettings(), seed=4).batch(2).crops[0]
        assert not torch.equal(first.batch(2).crops[0].blurred_NCHW, other_seed.blurred_NCHW)

    @pytest.mark.parametrize("kind", ["real", "sharp", "rendered", "still"])
    def test_shapes_and_types(
        self, pictures: PictureStore, generator: ConcertGenerator, sequences: Path, kind: str
    ) -> None:
        batch = stream(pictures, generator, SequenceStore(sequences, "train"), only(kind)).batch(0)
        assert len(batch.crops) == 2
        for crops in batch.crops:
            assert crops.blurred_NCHW.shape == crops.sharp_NCHW.shape == (4, 3, CROP_PX, CROP_PX)
            assert crops.guess_NGHW.shape == (4, 4, CROP_PX, CROP_PX)
            assert crops.taps_NTHW.shape == (4, NUM_PLANES, CROP_PX, CROP_PX)
            assert crops.smear_N2hw.shape == (4, 2, CROP_PX // SMEAR_PX, CROP_PX // SMEAR_PX)
            assert crops.blurred_NCHW.dtype == crops.taps_NTHW.dtype == torch.uint8
        if kind == "sharp":
            assert torch.equal(batch.crops[0].blurred_NCHW, batch.crops[0].sharp_NCHW)
        if kind == "still":
            assert not batch.crops[0].smear_N2hw.any()
        if kind == "real":
            assert batch.crops[0].smear_N2hw.abs().amax((1, 2, 3)).min() > 1

    @pytest.mark.parametrize("kind", ["real", "rendered", "still"])
    def test_without_guesses_the_pixels_are_the_same(
        self, pictures: PictureStore, generator: ConcertGenerator, sequences: Path, kind: str
    ) -> None:
        """A method that sees one frame learns from the very samples of those that see three."""
        settings, store = replace(only(kind), toned=0.5), SequenceStore(sequences, "train")
        whole = stream(pictures, generator, store, settings).batch(1)
        cells = SampleStream(pictures, SampleSettings(capture_share=0), seed=5, batch_size=2)
        bare = [
            MotionStream(pictures, cells, store, None, settings, seed=3, batch_size=2, crop_px=CROP_PX, uses=2).batch(n)
            for n in (2, 3)
        ]
        for use, crops in enumerate(whole.crops):
            for name in ("blurred_NCHW", "sharp_NCHW"):
                halves = [getattr(batch.crops[use], name) for batch in bare]
                assert torch.equal(torch.cat(halves), getattr(crops, name)), name
        assert bare[0].crops[0].taps_NTHW.shape[1] == bare[0].crops[0].guess_NGHW.shape[1] == 0

    def test_what_is_turned_moves_with_its_sides(
        self, pictures: PictureStore, generator: ConcertGenerator, sequences: Path
    ) -> None:
        """A tap further along the path shows what a small move of the crop along its velocity shows."""
        settings = replace(only("real"), dropped=0.0, as_filmed=1.0)
        crops = (
            stream(pictures, generator, SequenceStore(sequences, "train"), settings, batch_size=24).batch(0).crops[0]
        )
        directions = {tuple(np.sign(np.round(v.mean((1, 2)).numpy(), 0))) for v in crops.smear_N2hw}
        assert {(6.0, 0.0), (0.0, 1.0)} & directions or len(directions) > 2
        for number in range(24):
            frame = crops.blurred_NCHW[number].float()
            x, y = (round(float(v)) for v in crops.smear_N2hw[number].mean((1, 2)))
            at_one = crops.taps_NTHW[number][8 : 3 * NUM_TAPS : NUM_TAPS].float()  # a whole frame interval along
            moved = torch.roll(frame, (-y, -x), (1, 2))
            inner = (slice(None), slice(12, -12), slice(12, -12))
            assert (at_one - moved)[inner].abs().mean() < 0.5 * (at_one - frame)[inner].abs().mean()

    def test_a_lone_sample_says_nothing_of_neighbours(
        self, pictures: PictureStore, generator: ConcertGenerator, sequences: Path
    ) -> None:
        """The taps of either neighbour are the frame itself; those along the path are not."""
        settings = replace(only("real"), lone=1.0)
        crops = stream(pictures, generator, SequenceStore(sequences, "train"), settings).batch(0).crops[0]
        red = crops.taps_NTHW[:, :NUM_TAPS]
        assert torch.equal(red[:, -2 * len(BESIDE) :], crops.blurred_NCHW[:, :1].expand(-1, 2 * len(BESIDE), -1, -1))
        assert not torch.equal(red[:, :1], crops.blurred_NCHW[:, :1])
        assert crops.smear_N2hw.abs().amax((1, 2, 3)).min() > 1

    def test_without_sequences_clips_are_rendered_in_their_place(
        self, pictures: PictureStore, generator: ConcertGenerator
    ) -> None:
        crops = stream(pictures, generator, None, MotionSettings(), uses=3).batch(0).crops
        assert len(crops) == 3
        assert crops[0].smear_N2hw.any()
        assert not torch.equal(crops[0].blurred_NCHW, crops[1].blurred_NCHW)

    def test_impossible_shares_are_refused(self) -> None:
        for wrong in (
            {"real": -0.1},
            {"toned": 1.5},
            {"rendered": 0.0, "still": 0.0},
            {"as_filmed": 1.1},
            {"copies": -1},
            {"stored_scenes": -1},
            {"stored_lights": 1.1},
            {"rendered_windows": -0.1},
            {"held_out": 0.8},
        ):
            with pytest.raises(ValueError, match="must"):
                MotionSettings(**wrong)


def video_restoration() -> PathRestoration:
    video = random_networks(SMALL_VIDEO, scale=0.0).video
    assert video is not None
    return video.restoration.requires_grad_(True).train()


class TestVideoIgan:
    SETTINGS = VideoIganSettings(steps=6, cooldown_steps=3, batch_size=4, crop_px=CROP_PX, warmup_steps=1)

    def test_it_learns_and_goes_on_exactly(
        self, tmp_path: Path, pictures: PictureStore, generator: ConcertGenerator, sequences: Path
    ) -> None:
        source = stream(pictures, generator, SequenceStore(sequences, "train"), only("real"), uses=1)
        judge = gain_judge(SequenceStore(sequences, "held_out"), Guesser(generator))
        reports: list[Report] = []
        whole = VideoIganStage(video_restoration(), self.SETTINGS, tmp_path / "whole", judge=judge)
        whole.run(lambda step: source.batch(step).crops[0], until_s=600, on_report=reports.append)
        assert {REAL, REAL_WORST} <= reports[-1].held_out.keys()
        assert reports[-1].held_out[REAL] > 0

        def killed(step: int) -> MotionCrops:
            if step == 3:
                raise KeyboardInterrupt
            return source.batch(step).crops[0]

        first = VideoIganStage(video_restoration(), self.SETTINGS, tmp_path / "parts")
        with pytest.raises(KeyboardInterrupt):
            first.run(killed, until_s=600, on_report=lambda _: None)
        second = VideoIganStage(video_restoration(), self.SETTINGS, tmp_path / "parts")
        assert second.resume()
        assert second.step == 3
        second.run(lambda step: source.batch(step).crops[0], until_s=600, on_report=lambda _: None)
        for name, value in whole.restoration.state_dict().items():
            assert torch.equal(value, second.restoration.state_dict()[name]), name

    def test_an_untrained_restoration_gains_nothing(self, sequences: Path, generator: ConcertGenerator) -> None:
        gains = gain_judge(SequenceStore(sequences, "held_out"), Guesser(generator))(video_restoration().eval())
        assert gains == {name: pytest.approx(0, abs=1e-3) for name in gains}
        assert {REAL, REAL_WORST, "real, scale 1", "real, scale 0.5"} == gains.keys()

    def test_large_frames_are_restored_at_the_working_size(
        self, sequences: Path, generator: ConcertGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Frames count as large here; the result is the frame with the enlarged change of the reduced one."""
        store = SequenceStore(sequences, "held_out")
        row = next(row for row in store.of_kind("real") if row.scale == 1)
        whole_frames = WholeFrames(store, Guesser(generator))
        own = whole_frames.inputs(row, 1)
        monkeypatch.setattr(working_size_module, "STEP_PX", min(row.height, row.width))
        reduced = whole_frames.inputs(row, 1)
        assert own.blurred_NCHW.shape[2:] == (row.height + -row.height % 16, row.width + -row.width % 16)
        assert reduced.blurred_NCHW.shape[2] - -(-row.height // 2) < 16
        assert torch.allclose(reduced.smear_N2hw.mean((2, 3)), own.smear_N2hw.mean((2, 3)) / 2, rtol=0.05, atol=0.05)
        frame = torch.from_numpy(np.array(store.frame(row, 1))).permute(2, 0, 1)[None].float() / 255
        restoration = video_restoration().eval()
        made = whole_frames.at_own_size(restoration, row, 1)
        assert torch.allclose(made, frame, atol=1e-3)  # an untrained network changes nothing, and no detail is lost
        bias = restoration.tail.bias
        assert bias is not None
        bias.data[: 3 * UNSHUFFLE**2] += 0.5  # the correction of all pixels
        brighter = whole_frames.at_own_size(restoration, row, 1) - made
        assert brighter.amin() > -0.02  # bicubic enlarging undershoots where the reduced frame is clamped
        assert brighter.mean() > 0.01


def make_same_results(store: SequenceStore, value_of: Callable[[int], int], *, made_with: str) -> None:
    """Results of one grey level each, by the number of the frame, and their flow."""

    def make(row: StoredSequence, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.full((*cut_size(row), 3), value_of(number), np.uint8)

    frame_results(store).make(make, made_with=made_with)
    make_result_flows(store, made_with=made_with)


@pytest.fixture(scope="module")
def scenes(pictures: PictureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "scenes"
    build_scene_store(
        folder, StoredScenes(number=2, lights_share=0.5, scene=SceneSettings()), train=pictures, held_out=pictures,
        pictures_sha256="of a test", seed=1,
    )  # fmt: skip
    return folder


def make_results(store: SequenceStore, restoration: PathRestoration, generator: ConcertGenerator) -> None:
    whole_frames = WholeFrames(store, Guesser(generator))

    def make(row: StoredSequence, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        made = whole_frames.at_working_size(restoration, row, number)[0]
        return np.asarray(made.clamp(0, 1).mul(255).byte().permute(1, 2, 0).numpy(force=True), dtype=np.uint8)

    frame_results(store).make(make, made_with="a test")
    make_result_flows(store, made_with="a test")


class TestVideoPgan:
    @pytest.fixture(autouse=True)
    def results(self, sequences: Path, generator: ConcertGenerator) -> None:
        for split in ("train", "held_out"):
            make_results(SequenceStore(sequences, split), video_restoration().eval(), generator)

    def test_windows_are_a_function_of_seed_and_number(self, sequences: Path) -> None:
        store = SequenceStore(sequences, "train")
        first, second = (PathWindowStream([store], MotionSettings(), seed=2, batch_size=3) for _ in range(2))
        assert torch.equal(first.batch(4).result_MCHW, second.batch(4).result_MCHW)
        assert torch.equal(first.batch(4).taps_MTHW, second.batch(4).taps_MTHW)
        assert first.batch(4).result_MCHW.shape == (3, 3, 128, 128)

    def test_turned_windows_have_taps_that_fit(self, sequences: Path) -> None:
        """A tap a frame interval along is nearer to the window moved by its velocity than to the window itself."""
        settings = replace(MotionSettings(), sharp=0.0)
        batch = PathWindowStream([SequenceStore(sequences, "train")], settings, seed=2, batch_size=16).batch(0)
        inner = (slice(None), slice(16, -16), slice(16, -16))
        for number in range(16):
            x, y = (round(float(v)) for v in batch.smear_M2hw[number].mean((1, 2)))
            assert (x, y) != (0, 0)
            window = batch.result_MCHW[number]
            at_one = batch.taps_MTHW[number][8 : 3 * NUM_TAPS : NUM_TAPS]
            moved = torch.roll(window, (-y, -x), (1, 2))
            assert (at_one - moved)[inner].abs().mean() < 0.6 * (at_one - window)[inner].abs().mean()

    def test_the_path_of_a_window_is_that_between_results(self, sequences: Path) -> None:
        """The frames pan by 6 px; results are made here that pan by 2 px only."""
        store = SequenceStore(sequences, "train")

        def make(row: StoredSequence, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            moved = np.roll(store.sharp(row, number), 4 * number, axis=1)
            return moved[: row.height - row.height % 16, : row.width - row.width % 16]

        frame_results(store).make(make, made_with="panned")
        make_result_flows(store, made_with="panned")
        row = next(row for row in store.of_kind("real") if row.scale == 1)
        of_frames = store.path(row, 2).velocity()
        assert of_frames is not None
        assert np.median(of_frames[..., 0]) == pytest.approx(-6, abs=0.5)
        settings = replace(MotionSettings(), sharp=0.0)
        batch = PathWindowStream([store], settings, seed=2, batch_size=12, is_turned=False).batch(0)
        assert row.exposures[1:4] == pytest.approx([1] * 3)  # so that the smear is the velocity
        for smear in batch.smear_M2hw:
            assert smear[0].median().item() == pytest.approx(-2, abs=0.5)
            assert smear[1].median().item() == pytest.approx(0, abs=0.3)

    def test_windows_of_large_frames_lie_in_them_at_the_working_size(
        self, tmp_path: Path, generator: ConcertGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Frames of 320x352 count as large here; they pan by 6 px, which is 3 px at the working size."""
        write_gopro_folder(tmp_path / "real", "a", 5, height=320, width=352)
        settings = SequenceSettings(least_side_px=CROP_PX, held_out_share=0.0, most_frames=100, num_copies=0)
        build_sequence_store(tmp_path / "store", settings, real=tmp_path / "real", clips=[], seed=1)
        store = SequenceStore(tmp_path / "store", "train")
        monkeypatch.setattr(working_size_module, "STEP_PX", 320)
        make_results(store, video_restoration().eval(), generator)
        row = store.of_kind("real")[0]
        assert frame_results(store).read(row, 1).shape == (160, 176, 3)
        stream = PathWindowStream([store], replace(MotionSettings(), sharp=0.0), seed=2, batch_size=6, is_turned=False)
        batch = stream.batch(0)
        assert (batch.result_MCHW - batch.blurred_MCHW).abs().mean() < 0.01  # an untrained network changes little
        assert row.exposures[1:4] == pytest.approx([1] * 3)  # so that the smear is the velocity
        assert batch.smear_M2hw[:, 0].median().item() == pytest.approx(-3, abs=0.5)
        reduced = [
            cv2.resize(np.array(store.sharp(row, one)), (176, 160), interpolation=cv2.INTER_AREA) for one in row.inner
        ]
        window = (batch.sharp_MCHW[0] * 255).round().byte().permute(1, 2, 0).numpy()
        places = [(y, x) for y in range(0, 33, 8) for x in range(0, 49, 8)]
        assert any((some[y : y + 128, x : x + 128] == window).all() for some in reduced for y, x in places)

    def test_results_that_lack_a_neighbour_are_told_nothing_of_it(self, sequences: Path) -> None:
        """Frames 1 to 3 of five have results; that of 1 has none before it, and that of 3 has none after it."""
        store = SequenceStore(sequences, "train")
        make_same_results(store, lambda number: 100 + 4 * number, made_with="levels")
        settings = replace(MotionSettings(), sharp=0.0)
        batch = PathWindowStream([store], settings, seed=2, batch_size=24, is_turned=False).batch(0)
        seen = set()
        for result, taps in zip(batch.result_MCHW, batch.taps_MTHW, strict=True):
            number = round((float(result.mean()) * 255 - 100) / 4)
            beside = taps[NUM_TAPS - 2 * len(BESIDE) : NUM_TAPS].mean((1, 2)) * 255
            before, after = beside[: len(BESIDE)], beside[len(BESIDE) :]
            assert before.tolist() == pytest.approx([100 + 4 * max(1, number - 1)] * len(BESIDE), abs=0.01)
            assert after.tolist() == pytest.approx([100 + 4 * min(3, number + 1)] * len(BESIDE), abs=0.01)
            seen.add(number)
        assert seen == {1, 2, 3}

    def test_three_frames_have_no_window(self, tmp_path: Path) -> None:
        """Only one of them has a result, so its motion is not known."""
        write_gopro_folder(tmp_path / "real", "a", 3, height=160, width=176)
        write_gopro_folder(tmp_path / "real", "b", 4, height=160, width=176)
        settings = SequenceSettings(least_side_px=CROP_PX, held_out_share=0.0, most_frames=100, num_copies=0)
        build_sequence_store(tmp_path / "store", settings, real=tmp_path / "real", clips=[], seed=1)
        store = SequenceStore(tmp_path / "store", "train")
        assert [row.name for row in store.of_kind("real")] == ["a", "b"]
        make_same_results(store, lambda _number: 100, made_with="grey")
        stream = PathWindowStream([store], replace(MotionSettings(), sharp=0.0), seed=2, batch_size=8)
        assert len(stream) == 2  # the pairs of b, and their truths alone
        assert stream.batch(0).result_MCHW.shape == (8, 3, 128, 128)

    def test_rendered_scenes_have_their_share_of_the_windows(self, sequences: Path, scenes: Path) -> None:
        real, rendered = SequenceStore(sequences, "train"), SequenceStore(scenes, "train")
        make_same_results(real, lambda _number: 255, made_with="white")
        make_same_results(rendered, lambda _number: 0, made_with="black")

        def share(stores: list[SequenceStore], rendered_windows: float) -> float:
            settings = MotionSettings(rendered_windows=rendered_windows)
            windows = PathWindowStream(stores, settings, seed=2, batch_size=60).batch(0)
            return float((windows.result_MCHW.mean((1, 2, 3)) < 0.5).float().mean())

        assert share([real, rendered], 0.0) == 0
        assert share([real, rendered], 0.3) == pytest.approx(0.3, abs=0.15)
        assert share([rendered, real], 1.0) == 1
        assert share([rendered], 0.3) == 1
        assert share([real], 1.0) == 0

    def test_windows_of_scenes_have_the_inputs_of_g_p(self, scenes: Path, generator: ConcertGenerator) -> None:
        store = SequenceStore(scenes, "train")
        make_guesses(store, Guesser(generator))
        make_results(store, video_restoration().eval(), generator)
        batch = PathWindowStream([store], MotionSettings(), seed=2, batch_size=6).batch(0)
        assert batch.taps_MTHW.shape == (6, NUM_PLANES, 128, 128)
        assert batch.smear_M2hw.shape == (6, 2, 128 // SMEAR_PX, 128 // SMEAR_PX)
        assert torch.isfinite(batch.taps_MTHW).all()
        assert (batch.result_MCHW - batch.blurred_MCHW).abs().mean() < 0.01  # an untrained network changes little

    def test_g_p_learns_and_d_i_with_it(self, tmp_path: Path, sequences: Path) -> None:
        video = random_networks(SMALL_VIDEO, scale=0.0).video
        assert video is not None
        assert video.patch_generator is not None
        assert isinstance(video.discriminator, ConcertDiscriminator)
        video.patch_generator.requires_grad_(True)
        video.discriminator.requires_grad_(True)
        before = {name: value.clone() for name, value in video.discriminator.state_dict().items()}
        settings = VideoPganSettings(steps=4, cooldown_steps=2, batch_size=2, warmup_steps=1)
        held_out = PathWindowStream(
            [SequenceStore(sequences, "held_out")], MotionSettings(), seed=2, batch_size=4, is_turned=False
        )
        stage = VideoPganStage(
            video.patch_generator, video.discriminator, settings, tmp_path, held_out={"windows": held_out}
        )
        source = PathWindowStream([SequenceStore(sequences, "train")], MotionSettings(), seed=2, batch_size=2)
        reports: list[Report] = []
        stage.run(source.batch, until_s=600, on_report=reports.append)
        assert {"windows", "windows, kept"} <= reports[-1].held_out.keys()
        assert any((before[name] != value).any() for name, value in video.discriminator.state_dict().items())
