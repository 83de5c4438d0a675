"""`concertdeblur train --real`: real pairs in, networks for videos out, and what is said of bad pairs."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import ClipSpec, make_clip
from tests.commands import events, run_here
from tests.pictures import photograph
from tests.sequences import write_gopro_folder

_SHORT = """
base = "tiny"
name = "short"
[samples]
capture_share = 0 # the slowest to make
[architecture.video]
image_generator = { width = 8, num_blocks = 1, num_taps = 18 }
patch_generator = { width = 8, num_blocks = 1, num_taps = 18 }
discriminator = { width = 8 }
[analysis]
steps = 2
[igan]
steps = 2
[pgan]
steps = 0
[motion]
rendered = 0
copies = 2
stored_scenes = 2
[video_igan]
steps = 6
cooldown_steps = 3
evaluate_every = 3
[smear]
steps = 2
[video_pgan]
steps = 2
cooldown_steps = 1
batch_size = 2
"""
_ARGS = ("train", "--recipe", "short.toml", "--data", "pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "pictures").mkdir()
    for number in range(3):
        picture = np.roll(photograph(512, 512), 70 * number, axis=1)[:270, :280, ::-1]
        assert cv2.imwrite(str(folder / "pictures" / f"p{number}.png"), np.ascontiguousarray(picture))
    write_gopro_folder(folder / "real", "a", 9)
    (folder / "short.toml").write_text(_SHORT)
    return folder


def test_real_pairs_train_networks_for_videos_that_deblur_one(folder: Path) -> None:
    ended = run_here(*_ARGS, "--real", "real", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    told = events(ended.stdout)
    stages = list(dict.fromkeys(event["stage"] for event in told if event["event"] == "progress"))
    assert stages == [
        "read pictures", "read real pairs", "train analysis", "train iGAN", "guess blur", "train video iGAN",
        "train smear", "render scenes", "deblur frames", "search flow", "train video pGAN",
    ]  # fmt: skip
    done = told[-1]
    assert done["num_sequences"] == 8  # 3 for training, as many sharp ones, 2 held-out ones
    assert {"gaussian", "real", "real, scale 0.5", "real, worst"} <= done["held_out"].keys()
    weights = folder / "runs" / "short" / "weights"
    assert {path.stem for path in weights.glob("*.safetensors")} >= {
        "video_image_generator", "video_patch_generator", "video_discriminator", "smear_predictor",
    }  # fmt: skip
    clip = make_clip(folder / "in.mp4", ClipSpec(num_frames=3, height=64, width=96))
    ended = run_here("video", clip, "out.mp4", "--weights", weights, "--backend", "torch", folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "out.mp4").stat().st_size > 0
    _starts_from_it(folder, weights)


def _starts_from_it(folder: Path, weights: Path) -> None:
    """A run that goes on from the weight set begins with its networks for videos; without steps G_p stays as it is."""
    (folder / "again.toml").write_text(_SHORT.replace('"short"', '"again"').replace("steps = 2\n", "steps = 0\n"))
    args = ("train", "--recipe", "again.toml", "--data", "pictures", "--real", "real", "--start-from", weights)
    ended = run_here(*args, folder=folder)
    assert ended.returncode == 0, ended.stderr
    for name in ("video_patch_generator", "video_discriminator", "smear_predictor"):
        again = folder / "runs" / "again" / "weights" / f"{name}.safetensors"
        assert again.read_bytes() == (weights / f"{name}.safetensors").read_bytes()
    assert not list((folder / "runs" / "again" / "sequences").glob("*results*"))  # nothing is made for it
    assert not (folder / "runs" / "again" / "scenes").exists()
    manifest = weights / "manifest.toml"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    provenance = json.loads((folder / "runs" / "again" / "weights" / "provenance.json").read_text())
    assert provenance["start_sha256"] == digest
    manifest.write_text(f"{manifest.read_text()}# trained on\n")
    ended = run_here(*args, folder=folder)
    assert ended.returncode == 1
    began = f"runs/again holds a run that began with --start-from {weights} as it was then (its manifest has sha256"
    assert f"{began} {digest[:12]}...); take that, name another folder with --out" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_without_sequences_refining_along_the_motion_is_learned_on_scenes(folder: Path) -> None:
    ended = run_here(*_ARGS, "--out", "scenes", "--json", folder=folder)
    assert ended.returncode == 0, ended.stderr
    stages = list(dict.fromkeys(event["stage"] for event in events(ended.stdout) if event["event"] == "progress"))
    assert stages == [
        "read pictures", "train analysis", "train iGAN", "train video iGAN", "train smear", "render scenes",
        "guess blur", "deblur frames", "search flow", "train video pGAN",
    ]  # fmt: skip
    assert (folder / "scenes" / "weights" / "video_patch_generator.safetensors").is_file()


def test_without_sequences_and_scenes_nothing_is_refined_along_the_motion(folder: Path) -> None:
    (folder / "none.toml").write_text(_SHORT.replace("stored_scenes = 2", "stored_scenes = 0"))
    args = ("train", "--recipe", "none.toml", "--data", "pictures", "--out", "alone", "--stage", "analysis")
    ended = run_here(*args, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert "refining of videos is not learned" in ended.stderr
    assert '"patch_generator": null' in (folder / "alone" / "run.json").read_text()


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_refused_costs_a_run_nothing(folder: Path) -> None:
    args = (*_ARGS, "--out", "kept", "--stage", "analysis")
    ended = run_here(*args, "--real", "real", folder=folder)
    assert ended.returncode == 0, ended.stderr
    (folder / "kept" / "sequences" / "train-results.u8").write_bytes(b"hours of work")
    before = _files(folder / "kept")
    assert folder / "kept" / "analysis.safetensors" in before
    write_gopro_folder(folder / "mistyped", "a", 8)
    (folder / "seed.toml").write_text(f"seed = 9\n{_SHORT}")
    for wrong, message in (
        ((*args, "--real", "mistyped"), "a run on other data (--data pictures --real real); name another folder"),
        ((*args, "--real", "mistyped", "--restart"), "a run on other data"),
        ((*args, "--recipe", "seed.toml", "--real", "real", "--restart"), "a run of another seed '1'"),
    ):
        ended = run_here(*wrong, folder=folder)
        assert ended.returncode == 1
        assert message in ended.stderr
        assert _files(folder / "kept") == before
    unreadable = folder / "unreadable"
    _unreadable(unreadable)
    ended = run_here(*_ARGS, "--out", "kept", "--real", unreadable, "--restart", folder=folder)
    assert (ended.returncode, "not a picture that can be read" in ended.stderr) == (1, True)
    assert _files(folder / "kept") == before
    ended = run_here(*args, "--real", "mistyped", "--resume", folder=folder)
    assert ended.returncode == 1
    ended = run_here(*args, "--real", "real", "--resume", folder=folder)
    assert ended.returncode == 0, ended.stderr


def _empty(root: Path) -> None:
    root.mkdir()


def _missing_frame(root: Path) -> None:
    write_gopro_folder(root, "a", 5)
    (root / "a" / "sharp" / "000003.png").unlink()


def _other_size(root: Path) -> None:
    write_gopro_folder(root, "a", 5)
    path = root / "a" / "sharp" / "000003.png"
    assert cv2.imwrite(str(path), np.zeros((142, 160, 3), np.uint8))


def _unreadable(root: Path) -> None:
    write_gopro_folder(root, "a", 5)
    (root / "a" / "blur" / "000002.png").write_bytes(b"no picture")


def _other_number(root: Path) -> None:
    root.mkdir()
    make_clip(root / "x_blurred.mp4", ClipSpec(num_frames=5, height=144, width=160))
    make_clip(root / "x_sharp.mp4", ClipSpec(num_frames=4, height=144, width=160))


def _too_short(root: Path) -> None:
    write_gopro_folder(root, "a", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_empty, "no real pairs found"),
        (_missing_frame, "has no sharp frame"),
        (_other_size, "is 160x144, but its sharp one"),
        (_unreadable, "not a picture that can be read"),
        (_other_number, "ends after 4 frames"),
        (_too_short, "no sequence to train on"),
    ],
)
def test_bad_pairs_are_one_sentence(folder: Path, tmp_path: Path, make: object, message: str) -> None:
    root = tmp_path / "real"
    assert callable(make)
    make(root)
    ended = run_here(*_ARGS, "--real", root, "--out", tmp_path / "out", "--quiet", folder=folder)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out" / "run.json").exists()


def test_networks_that_do_not_look_along_the_motion_take_no_real_pairs(folder: Path) -> None:
    ended = run_here("train", "--recipe", "paper", "--data", "pictures", "--real", "real", folder=folder)
    assert ended.returncode == 2
    assert "--real takes a recipe whose networks look along the motion" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
