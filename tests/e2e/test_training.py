"""`tiny` from pictures to a weight set that deblurs: every stage, in a few seconds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from concertdeblur import pretrained
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.errors import WeightsError
from concertdeblur.pipelines.train import TrainJob, train
from concertdeblur.progress import StageProgress
from concertdeblur.training.recipe import read_recipe
from tests.pictures import photograph


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(16):
        cv2.imwrite(str(folder / f"p{number:02d}.png"), np.roll(photograph(512, 512), 50 * number, axis=1)[:288, :300])
    return folder


@pytest.fixture(scope="module")
def weight_set(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    job = TrainJob(recipe=read_recipe("tiny"), data=pictures, out=out)
    seen: list[StageProgress] = []
    assert train(TrainJob(recipe=job.recipe, data=pictures, out=out, minutes=1e-9)).weights is None
    folder = train(job, on_progress=seen.append).weights
    assert folder is not None
    assert list(dict.fromkeys(progress.stage for progress in seen)) == [
        "train analysis",
        "train iGAN",
        "mine windows",
        "train pGAN",
        "train video iGAN",
        "train smear",
    ]
    return folder


def test_the_weight_set_deblurs(weight_set: Path) -> None:
    deblurrer = pretrained.load(weight_set, device="cpu", backend="torch")
    assert isinstance(deblurrer, Deblurrer)
    assert deblurrer.name == "tiny"
    picture = photograph(96, 120)
    assert deblurrer.deblur(picture).shape == picture.shape


def test_altered_weights_are_refused(weight_set: Path, tmp_path: Path) -> None:
    for file in weight_set.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "discriminator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="altered"):
        pretrained.load(tmp_path, device="cpu", backend="torch")
    path.unlink()
    with pytest.raises(WeightsError, match="missing"):
        pretrained.load(tmp_path, device="cpu", backend="torch")


def test_weights_of_another_architecture_are_refused(weight_set: Path, tmp_path: Path) -> None:
    for file in weight_set.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('"width": 8', '"width": 16').replace("width = 8", "width = 16"))
    with pytest.raises(WeightsError, match="architecture"):
        pretrained.load(tmp_path, device="cpu", backend="torch")


@pytest.mark.parametrize("name", ["nothing", "/nowhere/at/all"])
def test_missing_weight_sets_are_named(name: str) -> None:
    with pytest.raises(WeightsError, match="no weight set"):
        pretrained.load(name, device="cpu")
