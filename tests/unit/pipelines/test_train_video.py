"""The stages of networks for videos: what they are judged by, and what they begin with."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.models import build_networks
from concertdeblur.models.architecture import SmearPredictorSettings
from concertdeblur.pipelines.train_video import VideoStages
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.data.sources import split_of
from concertdeblur.training.distributed import World
from concertdeblur.training.narration import Narrator
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.session import Session
from concertdeblur.training.smear import SmearStage
from tests.networks import SMALL_VIDEO
from tests.pictures import photograph

TRAIN, HELD_OUT = 0, 2  # the colour that pictures of a split lack


def recipe() -> Recipe:
    tiny = read_recipe("tiny")
    video = SMALL_VIDEO.video
    assert video is not None
    video = replace(video, smear_predictor=SmearPredictorSettings(width=8, num_blocks=1))
    return replace(
        tiny,
        architecture=replace(SMALL_VIDEO, video=video),
        samples=replace(tiny.samples, capture_share=0, jpeg_share=0, noise_share=0),
        motion=replace(tiny.motion, toned=0),
    )


def session(out: Path) -> Session:
    stop = threading.Event()
    narrator = Narrator(on_progress=lambda _: None, on_warning=lambda _: None, stop=stop)
    return Session(
        out=out, device=torch.device("cpu"), world=World(), until_s=time.monotonic() + 1e6, stop=stop, narrator=narrator
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Pictures of which those to train on lack red, and those held out lack blue."""
    names = [f"p{number}.png" for number in range(40)]
    some = [name for name in names if split_of(name) == "held_out"][:2] + names[:4]
    for name in some:
        picture = photograph(300, 320)
        picture[..., HELD_OUT if split_of(name) == "held_out" else TRAIN] = 0
        (tmp_path / "data").mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / "data" / name), np.ascontiguousarray(picture[..., ::-1]))
    build_store(tmp_path / "data", tmp_path / "pictures", min_side_px=256)
    return tmp_path / "pictures"


def test_the_smear_is_judged_on_held_out_pictures(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, held_out = PictureStore(store, "train"), PictureStore(store, "held_out")
    chosen, judged = recipe(), []

    def trained(_session: Session, stage: SmearStage, _batches: Callable[[int], object], *_: object, **__: int) -> bool:
        judged.append(stage._held_out)
        return True

    def samples(batch_size: int, *, seed: int) -> SampleStream:
        return SampleStream(pictures, chosen.samples, seed=seed, batch_size=batch_size)

    monkeypatch.setattr(Session, "train", trained)
    stages = VideoStages(chosen, session(store.parent), build_networks(chosen.architecture), samples)
    assert stages.smear(pictures, held_out, None)
    (crops,) = judged
    assert isinstance(crops, MotionCrops)
    assert len(crops) == 24
    means = crops.sharp_NCHW.float().mean((2, 3))
    assert (means[:, HELD_OUT] < 0.5 * means[:, TRAIN]).all()  # lamps that are rendered have colours of their own
