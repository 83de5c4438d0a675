"""Baselines: sizes of their papers, any picture size, weight folders, training that resumes exactly."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from concertdeblur.errors import TrainingError, WeightsError
from concertdeblur.evaluation.baselines import BaselineRestorer, is_baseline, load_baseline, save_baseline
from concertdeblur.evaluation.metrics import as_float
from concertdeblur.models.baselines import PAPER_SIZES, BaselineSettings, Kind, MultiScaleCnn, build_baseline
from concertdeblur.pipelines.train_baseline import BaselineJob, BaselineRun, main, train_baseline
from concertdeblur.pipelines.train_data import DataSources
from concertdeblur.pipelines.train_video import motion_stream
from concertdeblur.pretrained import WEIGHTS_FOLDER
from concertdeblur.runtime import choose_runtime
from concertdeblur.training.baselines import BaselineStage, TrainingPairs
from concertdeblur.training.data.loader import Order
from concertdeblur.training.data.motion import MotionBatch, MotionStream
from concertdeblur.training.data.samples import Batch, SampleStream
from concertdeblur.training.data.sequences import SequenceStore
from concertdeblur.training.recipe import read_recipe
from concertdeblur.training.report import Report
from concertdeblur.training.run_folder import locked
from concertdeblur.training.stage import StepResult
from tests.pictures import photograph
from tests.sequences import write_gopro_folder

_KINDS: tuple[Kind, ...] = ("multi_scale", "deblurgan")
_SMALL = BaselineSettings(width=4, num_blocks=1)


@pytest.mark.parametrize(("kind", "millions"), [("multi_scale", 11.7), ("deblurgan", 11.4)])
def test_sizes_are_those_of_the_papers(kind: Kind, millions: float) -> None:
    with torch.device("meta"):
        network = build_baseline(kind)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    if isinstance(network, MultiScaleCnn):
        assert sum(m.kernel_size == (5, 5) for m in network.scales[0].modules() if isinstance(m, torch.nn.Conv2d)) == 40
    assert PAPER_SIZES[kind].width == 64


@pytest.mark.parametrize("kind", _KINDS)
def test_any_picture_size(kind: Kind) -> None:
    torch.manual_seed(0)
    restorer = BaselineRestorer(build_baseline(kind, _SMALL), choose_runtime("cpu", "torch"))
    picture = as_float(photograph(45, 67))
    made = restorer.restore(picture).pixels
    assert made.shape == picture.shape
    assert made.dtype == np.float32
    assert 0 <= made.min() <= made.max() <= 1
    assert np.array_equal(made, restorer.restore(picture).pixels)  # no dropout


@pytest.mark.parametrize("kind", _KINDS)
def test_weights_come_back_as_half_precision(kind: Kind, tmp_path: Path) -> None:
    network = build_baseline(kind, _SMALL)
    save_baseline(tmp_path, kind, _SMALL, network, provenance={"seed": 1})
    assert is_baseline(tmp_path)
    assert not is_baseline(tmp_path / "nowhere")
    found, loaded = load_baseline(tmp_path)
    assert found == kind
    for value, other in zip(network.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(value.half().float(), other)
    (tmp_path / "generator.safetensors").write_bytes(b"x")
    with pytest.raises(WeightsError, match="altered"):
        load_baseline(tmp_path)


@pytest.mark.parametrize("kind", _KINDS)
def test_those_of_the_comparison_are_of_the_papers_sizes_and_had_their_hour(kind: Kind) -> None:
    found, network = load_baseline(WEIGHTS_FOLDER / "baselines" / kind)
    assert found == kind
    assert network.settings == PAPER_SIZES[kind]
    provenance = json.loads((WEIGHTS_FOLDER / "baselines" / kind / "provenance.json").read_text())
    assert provenance["cpu_seconds"] >= 60 * 60


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), photograph(260, 300)[:, :: 1 - 2 * (number % 2), ::-1])
    return folder


_MOTION = """
base = "tiny"
name = "moving"
[samples]
capture_share = 0 # the slowest to make
[motion]
rendered = 0
still = 0.1
copies = 2
"""


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "weights" / "generator.safetensors")


@pytest.mark.parametrize("kind", _KINDS)
def test_a_run_that_is_stopped_ends_the_same(kind: Kind, pictures: Path, tmp_path: Path) -> None:
    def job(minutes: float) -> BaselineJob:
        return BaselineJob(kind=kind, settings=_SMALL, crop_px=32, steps=4, minutes=minutes, device="cpu")

    reports: list[Report] = []
    whole = train_baseline(pictures, tmp_path / "whole", job(5), on_report=reports.append)
    assert whole.weights == tmp_path / "whole" / "weights"
    assert reports[-1].step == 4
    assert {"l1", "adversarial", "critic"} <= reports[-1].figures.keys()
    assert len(reports[-1].held_out) == 7
    assert train_baseline(pictures, tmp_path / "parts", job(0)).weights is None

    made = SampleStream.batch

    def failing(self: SampleStream, step: int) -> Batch:
        if step == 2:
            raise KeyboardInterrupt
        return made(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleStream, "batch", failing)
        with pytest.raises(KeyboardInterrupt):
            train_baseline(pictures, tmp_path / "parts", job(5))
    assert (tmp_path / "parts" / f"{kind}.safetensors").exists()
    reports.clear()
    with safe_open(tmp_path / "parts" / f"{kind}.safetensors", framework="pt") as checkpoint:
        before_s = json.loads(checkpoint.metadata()["state"])["cpu_s"]
    parts = train_baseline(pictures, tmp_path / "parts", job(5), on_report=reports.append)
    assert parts.weights is not None
    assert parts.cpu_s > before_s > 0  # of all pieces, the one that was killed too
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert all(torch.equal(one[key], other[key]) for key in one)

    with pytest.raises(TrainingError, match="other settings"):
        train_baseline(pictures, tmp_path / "parts", BaselineJob(kind=kind, settings=_SMALL, crop_px=64))


def test_real_pairs_are_learned_from_and_a_stopped_run_goes_on(pictures: Path, tmp_path: Path) -> None:
    """What it sees are the frames in the middle of the samples of stage video iGAN, each use in another step."""
    (tmp_path / "moving.toml").write_text(_MOTION)
    real = tmp_path / "real"
    write_gopro_folder(real, "a", 9)

    def run(folder: str) -> BaselineRun:
        job = BaselineJob(
            kind="deblurgan", settings=_SMALL, recipe=str(tmp_path / "moving.toml"), crop_px=64, steps=5,
            device="cpu",
        )  # fmt: skip
        return train_baseline(pictures, tmp_path / folder, job, real=real)

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    learn = BaselineStage.train_step

    def watched(self: BaselineStage, batch: TrainingPairs) -> StepResult:
        seen.append((batch.blurred_NCHW, batch.sharp_NCHW))
        return learn(self, batch)

    made = MotionStream.batch

    def failing(self: MotionStream, number: int) -> MotionBatch:
        if number == 2:
            raise KeyboardInterrupt
        return made(self, number)

    run("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaselineStage, "train_step", watched)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(MotionStream, "batch", failing)
            with pytest.raises(KeyboardInterrupt):
                run("parts")
        assert len(seen) == 2
        assert run("parts").weights is not None
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert all(torch.equal(one[key], other[key]) for key in one)

    recipe = read_recipe(str(tmp_path / "moving.toml"))
    contents, data, recipe = DataSources(recipe=recipe, out=tmp_path / "whole", data=pictures, real=real).stored()
    assert data.sequences is not None

    def cells(batch_size: int, *, seed: int) -> SampleStream:
        return SampleStream(data.pictures, recipe.samples, seed=seed, batch_size=batch_size, pairs=data.pairs)

    stream = motion_stream(recipe, data.pictures, cells, SequenceStore(data.sequences, "train"), None, batch_size=1)
    order = Order(recipe.video_igan.crops_per_clip)
    assert len(seen) == 5  # none twice
    for step, (blurred, sharp) in enumerate(seen):
        crops = stream.batch(order.number(step)).crops[order.use(step)]
        assert torch.equal((blurred * 255).round().byte(), crops.blurred_NCHW)
        assert torch.equal((sharp * 255).round().byte(), crops.sharp_NCHW)
    assert not torch.equal(seen[0][0], seen[4][0])
    provenance = json.loads((tmp_path / "whole" / "weights" / "provenance.json").read_text())
    assert provenance["data"]["sha256"] == contents.sha256

    write_gopro_folder(real, "b", 5)
    with pytest.raises(TrainingError, match="other data"):
        run("whole")


def test_the_command(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--name", "multi_scale", "--data", str(pictures), "--out", str(tmp_path / "run"), "--cpu-minutes", "0.01"]
    assert main([*given, "--width", "2", "--blocks", "1", "--crop", "32"]) == 0
    told = capsys.readouterr().err
    assert "weights is written" in told
    facts = json.loads((tmp_path / "run" / "baseline.json").read_text())
    assert facts["steps"] >= 1
    stopped = [*given, "--width", "2", "--blocks", "1", "--crop", "32", "--minutes", "0", "--steps", "2"]
    stopped[stopped.index(str(tmp_path / "run"))] = str(tmp_path / "stopped")
    assert main(stopped) == 0
    assert "Steps are left: the same command goes on; 0." in capsys.readouterr().err
    paper = ["--recipe", "paper", "--real", str(pictures)]
    assert main(["--name", "deblurgan", "--data", str(pictures), "--out", str(tmp_path / "x"), *paper]) == 1
    assert capsys.readouterr().err.startswith("Error: --real takes a recipe whose networks look along the motion")
    assert main(["--name", "deblurgan", "--data", str(pictures), "--out", str(tmp_path / "x"), *paper[2:]]) == 1
    assert "no real pairs found" in capsys.readouterr().err
    assert main(["--name", "deblurgan", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith("Error: no data at ")
    with locked(tmp_path / "run"):
        assert main([*given, "--width", "2", "--blocks", "1", "--crop", "32"]) == 1
    assert "another training is working in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--steps", "-3", "--steps must be 1 at least, but it is -3"),
        ("--crop", "0", "--crop must be a multiple of 4 from 24 on, but it is 0"),
        ("--crop", "30", "--crop must be a multiple of 4 from 24 on, but it is 30"),
        ("--blocks", "-1", "num_blocks must be 1 at least, but it is -1"),
        ("--width", "0", "width must be 1 at least, but it is 0"),
        ("--cpu-minutes", "0", "--cpu-minutes must be more than 0, but it is 0"),
    ],
)
def test_numbers_out_of_range_are_one_sentence(
    option: str, value: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--name", "multi_scale", "--data", str(tmp_path), "--out", str(tmp_path / "out"), option, value]
    assert main(given) == 2
    assert capsys.readouterr().err == f"Error: {told}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", _KINDS)
def test_the_smallest_crop_is_large_enough(kind: Kind, pictures: Path, tmp_path: Path) -> None:
    job = BaselineJob(kind=kind, settings=_SMALL, crop_px=24, steps=1, device="cpu")
    assert train_baseline(pictures, tmp_path / "run", job).weights is not None
