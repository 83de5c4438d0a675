"""The stages of networks for videos: what they are judged by, and what they begin with."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.errors import TrainingError
from concertdeblur.models import build_networks
from concertdeblur.models.architecture import SmearPredictorSettings
from concertdeblur.pipelines.train_video import VideoStages
from concertdeblur.pretrained import save_weight_set
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.data.sources import split_of
from concertdeblur.training.distributed import World
from concertdeblur.training.narration import Narrator
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.session import Session
from concertdeblur.training.smear import SmearStage
from concertdeblur.training.start import first_networks
from tests.networks import SMALL_VIDEO, random_networks
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


@pytest.mark.parametrize("has_refining", [False, True])
def test_only_what_the_set_to_start_from_lacks_begins_as_other_networks(tmp_path: Path, has_refining: bool) -> None:
    """G_p as G_i along the motion, D_i as that of pictures."""
    assert SMALL_VIDEO.video is not None
    alone = replace(SMALL_VIDEO.video, patch_generator=None, discriminator=None)
    architecture = SMALL_VIDEO if has_refining else replace(SMALL_VIDEO, video=alone)
    networks = random_networks(architecture)
    save_weight_set(tmp_path, networks, recipe="set", architecture=architecture, brmr=BrmrSettings(), provenance={})
    concert = read_recipe("concert")
    chosen = replace(
        concert, architecture=SMALL_VIDEO, start_from=str(tmp_path), motion=replace(concert.motion, stored_scenes=0)
    )
    begun = first_networks(chosen)
    assert begun.video is not None
    stages = VideoStages(chosen, session(tmp_path), begun, cast(Callable[..., SampleStream], None))
    no_pictures = cast(PictureStore, None)
    with pytest.raises(TrainingError, match="in sequences of 4 frames at least"):  # there is nothing to learn from
        stages.pgan(no_pictures, no_pictures, None)
    assert begun.video.patch_generator is not None
    assert begun.video.discriminator is not None
    as_others = [
        _are_alike(begun.video.restoration, begun.video.patch_generator.restoration),
        _are_alike(begun.discriminator, begun.video.discriminator),
    ]
    assert as_others == [not has_refining] * 2
    if has_refining:
        assert networks.video is not None
        assert networks.video.patch_generator is not None
        assert _are_alike(networks.video.patch_generator, begun.video.patch_generator)


def _are_alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether what two networks both have is equal, and there is something."""
    known, given = one.state_dict(), other.state_dict()
    both = [name for name, value in given.items() if name in known and known[name].shape == value.shape]
    return bool(both) and all(torch.equal(known[name], given[name]) for name in both)
