"""The sources of a training run: what is told where training would see what the networks are judged by."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from concertdeblur.pipelines.train_data import DataSources
from concertdeblur.training.narration import Narrator
from concertdeblur.training.recipe import read_recipe
from tests.pictures import write_photographs
from tests.sequences import write_gopro_folder, write_pair_of_clips


def warnings_of(root: Path, *, data: str, real: str, clips: str | None = None) -> list[str]:
    """What is told of the sources."""
    tiny = read_recipe("tiny")
    recipe = replace(
        tiny, motion=replace(tiny.motion, copies=0), clips=replace(tiny.clips, averaged=1, lent=1),
    )  # fmt: skip
    told: list[str] = []
    narrator = Narrator(on_progress=lambda _: None, on_warning=told.append, stop=threading.Event())
    sources = DataSources(
        recipe=recipe, out=root / "out", data=root / data, real=root / real,
        clips=None if clips is None else root / clips,
    )  # fmt: skip
    sources.store(narrator)
    return told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    write_photographs(tmp_path / "pictures")
    return tmp_path


def test_pictures_that_the_networks_are_judged_by_are_told(root: Path) -> None:
    for name in ("a", "b", "c"):
        write_gopro_folder(root / "real", name, 8, height=288, width=320)
    assert warnings_of(root, data="pictures", real="real") == []
    (root / "linked").symlink_to(root / "real")
    (told,) = warnings_of(root, data="linked", real="real")
    assert told.startswith(f"--data {root / 'linked'} holds frames of sequences of --real by which the networks are")
    assert told.endswith("give --data another folder")


def test_folders_that_both_hold_out_are_no_matter(root: Path) -> None:
    """Those of GOPRO and REDS say themselves what is held out."""
    for name in ("train/a", "train/b", "test/c"):
        write_gopro_folder(root / "real", name, 8, height=288, width=320)
    assert warnings_of(root, data="real", real="real") == []


def test_clips_that_the_networks_are_judged_by_are_told(root: Path) -> None:
    write_pair_of_clips(root / "real", 12, height=288, width=320)
    (told,) = (one for one in warnings_of(root, data="pictures", real="real", clips="real") if "--real" in one)
    assert told.startswith(f"--clips {root / 'real'} holds frames")
