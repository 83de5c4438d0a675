"""`concertdeblur train` as a user runs it: begun, stopped with Ctrl-C, gone on with, and its weights used."""

import hashlib
import re
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from concertdeblur.training.run_folder import locked
from tests.clips import ClipSpec, make_clip
from tests.commands import command, environment, events, run, run_here
from tests.pictures import photograph
from tests.recipes import short_recipe
from tests.unit.blur.test_averaging import panning_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and a recipe."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pictures").mkdir()
    for number in range(4):
        picture = np.roll(photograph(512, 512), 70 * number, axis=1)[:270, :280, ::-1]
        assert cv2.imwrite(str(folder / "pictures" / f"p{number}.png"), np.ascontiguousarray(picture))
    (folder / "short.toml").write_text(short_recipe(igan_steps=8))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> subprocess.CompletedProcess[str]:
    ended = run("train", "--recipe", "short.toml", "--data", "pictures", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    return ended


def digests(weights: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in weights.glob("*.safetensors")}


def test_it_tells_what_it_does_and_what_it_made(folder: Path, uninterrupted: subprocess.CompletedProcess[str]) -> None:
    told = events(uninterrupted.stdout)
    assert told[0]["event"] == "start"
    assert told[0]["options"]["out"] == "runs/short"
    stages = dict.fromkeys(event["stage"] for event in told if event["event"] == "progress")
    assert list(stages) == ["read pictures", "train analysis", "train iGAN", "mine windows", "train pGAN"]
    last = [event for event in told if event["event"] == "progress" and event["stage"] == "train iGAN"][-1]
    assert (last["done"], last["total"]) == (8, 8)
    assert {"loss", "held-out gain", "waiting for data"} <= last["facts"].keys()
    done = told[-1]
    assert done["event"] == "done"
    assert done["weights"] == "runs/short/weights"
    assert {"gaussian", "median", "sharp"} <= done["held_out"].keys()
    assert (folder / "runs/short/curves.jsonl").is_file()


@pytest.mark.usefixtures("uninterrupted")
def test_its_weights_deblur_a_clip(folder: Path) -> None:
    clip = make_clip(folder / "in.mp4", ClipSpec(num_frames=2, height=64, width=96))
    ended = run_here("video", clip, "out.mp4", "--weights", "runs/short/weights", "--backend", "torch", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "out.mp4").stat().st_size > 0


@pytest.mark.usefixtures("uninterrupted")
def test_stopped_with_ctrl_c_and_gone_on_with_it_makes_the_same_weights(folder: Path) -> None:
    args = ("train", "--recipe", "short.toml", "--data", "pictures", "--out", "stopped", "--json")
    with subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment()
    ) as child:
        try:
            assert child.stdout is not None
            while '"train ' not in (line := child.stdout.readline()):  # whichever stage it is in
                assert line, child.communicate()[1]
            child.send_signal(signal.SIGINT)
            _, stderr = child.communicate(timeout=60)
        finally:
            child.kill()
    assert child.returncode == 130
    assert re.search(r"stopped after step \d+ of \d+ of .+, saved in stopped; the same command goes on", stderr), stderr
    assert not (folder / "stopped" / "weights").exists()
    ended = run(*args, "--resume", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert digests(folder / "stopped" / "weights") == digests(folder / "runs" / "short" / "weights")


@pytest.mark.usefixtures("uninterrupted")
def test_another_architecture_or_other_data_are_refused(folder: Path) -> None:
    wider = short_recipe(igan_steps=8).replace("image_generator = { width = 8", "image_generator = { width = 16")
    (folder / "wider.toml").write_text(wider)
    ended = run_here("train", "--recipe", "wider.toml", "--data", "pictures", "--out", "runs/short", folder=folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: runs/short holds a run of another architecture; ")
    (folder / "others").mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / "others" / f"{number}.png"), photograph(260 + number, 260))
    ended = run_here("train", "--recipe", "short.toml", "--data", "others", folder=folder)
    assert ended.returncode == 1
    assert "runs/short holds a run on other data" in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2  # what was read, and the error


def test_clips_give_pairs_as_well(folder: Path) -> None:
    (folder / "clips").mkdir()
    panning_clip(folder / "clips" / "pan.mp4", step_px=4)
    few = short_recipe(igan_steps=8).replace('"short"', '"few"') + "[clips]\nshare = 0.5\naveraged = 1\nlent = 2\n"
    (folder / "few.toml").write_text(few)
    args = ("train", "--recipe", "few.toml", "--data", "pictures", "--stage", "analysis")
    ended = run_here(*args, "--clips", "clips", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    told = events(ended.stdout)
    stages = dict.fromkeys(event["stage"] for event in told if event["event"] == "progress")
    assert list(stages) == ["read pictures", "read clips", "lend motion", "train analysis"]
    assert (told[-1]["num_pictures"], told[-1]["num_pairs"]) == (4, 3)
    ended = run_here(*args, folder=folder)
    assert (ended.returncode, "a run on other data" in ended.stderr) == (1, True)
    ended = run_here(*args, "--clips", "pictures", "--out", "none", folder=folder)
    assert (ended.returncode, "no clips found" in ended.stderr) == (1, True)
    assert not (folder / "none").exists()


def test_a_folder_of_the_user_is_never_taken_for_a_store(folder: Path) -> None:
    args = ("train", "--recipe", "short.toml", "--data", "pictures")
    before = sorted(path.name for path in (folder / "pictures").iterdir())
    ended = run_here(*args, "--out", ".", folder=folder)
    assert ended.returncode == 1
    assert "--data pictures: training would replace this folder by a store of its own" in ended.stderr
    (folder / "project" / "sequences").mkdir(parents=True)
    (folder / "project" / "sequences" / "holiday.txt").write_text("mine")
    ended = run_here(*args, "--out", "project", folder=folder)
    assert (ended.returncode, "project/sequences is not of a training" in ended.stderr) == (1, True)
    assert [path.name for path in (folder / "project").rglob("*")] == ["sequences", "holiday.txt"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == before


@pytest.mark.usefixtures("uninterrupted")
def test_a_second_training_in_the_same_folder_is_refused(folder: Path) -> None:
    args = ("train", "--recipe", "short.toml", "--data", "pictures", "--restart")
    with locked(folder / "runs" / "short"):
        ended = run_here(*args, folder=folder)
    assert ended.returncode == 1
    assert "runs/short: another training is working in this folder; wait for it, or name another --out" in ended.stderr
    assert (folder / "runs" / "short" / "weights").is_dir()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 1, "no data at dataset: make it with 'concertdeblur build-dataset'"),
        (("--recipe", "concrt"), 1, "no recipe 'concrt'; choose one of "),
        (("--minutes", 0), 2, "--minutes must be more than 0"),
        (("--resume", "--restart"), 2, "--resume and --restart do not go together"),
        (("--recipe", "paper", "--stage", "analysis"), 2, "choose one of igan, mining, pgan"),
        (("--resume", "--out", "none"), 1, "none: no run to go on with"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, args: tuple[object, ...], code: int, message: str) -> None:
    ended = run_here("train", *args, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
