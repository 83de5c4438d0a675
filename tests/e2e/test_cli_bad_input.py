"""Bad input through the real command line: one sentence, the exit code, no traceback, no output."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import ClipSpec, make_clip
from tests.commands import command, environment, events, run, run_here
from tests.weight_sets import random_weight_set


def _text(path: Path) -> Path:
    path.write_text("Dear diary, the concert was loud.\n")
    return path


def _cut(folder: Path) -> Path:
    clip = make_clip(folder / "whole.mp4", ClipSpec(num_frames=30))
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:1500])
    return folder / "cut.mp4"


def _sound(folder: Path) -> Path:
    path = folder / "sound.m4a"
    subprocess_clip = make_clip(folder / "both.mp4", ClipSpec(audio="aac"))
    import av

    with av.open(str(subprocess_clip)) as clip, av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream_from_template(clip.streams.audio[0])
        for packet in clip.demux(clip.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                output.mux_one(packet)
    return path


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


_SOURCES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "none.mp4", "none.mp4: no such file"),
    "empty": (_empty, "empty.mp4: is empty"),
    "text": (lambda folder: _text(folder / "text.mp4"), "text.mp4: not a clip"),
    "without moov": (_cut, "cut.mp4: not a clip, or cut off"),
    "sound only": (_sound, "sound.m4a: has no video stream"),
}


def refused(result: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    """Check what a user sees of a refusal."""
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", _SOURCES)
def test_sources(tmp_path: Path, name: str) -> None:
    make, words = _SOURCES[name]
    (tmp_path / "out").mkdir()
    result = run_here("video", make(tmp_path), tmp_path / "out" / "out.mp4", "--strength", 0, "--json")
    refused(result, 1, words)
    assert [event["event"] for event in events(result.stdout)] == ["start", "error"]
    assert not list((tmp_path / "out").iterdir())


def test_folder_without_clips(tmp_path: Path) -> None:
    _text(tmp_path / "notes.txt")
    refused(run("video", tmp_path, tmp_path / "out", "--strength", 0), 1, "holds no clip")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "options", "code", "words"),
    [
        ("out.avi", (), 2, ".mkv"),
        ("out", (), 2, ".mkv"),
        ("nowhere/out.mp4", (), 1, "no such folder"),
        ("in.mp4", ("--overwrite",), 1, "same file"),
        ("there.mp4", (), 1, "--overwrite"),
        ("out.webm", ("--codec", "h264"), 1, "cannot hold h264"),
        ("out.mp4", ("--codec", "theora"), 2, "unknown codec 'theora'"),
        ("out.mp4", ("--crf", "99"), 2, "crf must lie between 0 and 51"),
        ("out.mp4", ("--preset", "warp"), 2, "unknown preset 'warp'"),
        ("out.mp4", ("--start", "2", "--end", "1"), 2, "after the start"),
        ("out.mp4", ("--start", "0:10"), 2, "between start and end"),
        ("out.mp4", ("--video-stream", "5"), 2, "no video stream"),
        ("out.mp4", ("--heatmap", "heat.mp4"), 2, "strength 0"),
    ],
)
def test_targets_and_options(tmp_path: Path, target: str, options: tuple[str, ...], code: int, words: str) -> None:
    make_clip(tmp_path / "in.mp4", ClipSpec())
    _text(tmp_path / "there.mp4")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    refused(run_here("video", "in.mp4", target, "--strength", 0, *options, folder=tmp_path), code, words)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    (tmp_path / "out").mkdir(mode=0o500)
    refused(run("video", clip, tmp_path / "out" / "out.mp4", "--strength", 0), 1, "cannot be written")


def test_full_target(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40, height=240, width=320, options={"crf": "10"}))
    (tmp_path / "out").mkdir()
    limits = (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the child inherits both
    whole = resource.getrlimit(resource.RLIMIT_FSIZE)
    args = command("video", clip, tmp_path / "out" / "out.mkv", "--strength", 0, "--codec", "ffv1")
    child = subprocess.Popen(args, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, limits)
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == whole
        _, told = child.communicate(timeout=60)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    refused(subprocess.CompletedProcess(args, child.returncode, "", told), 1, "out.mkv: cannot be written")
    assert not list((tmp_path / "out").iterdir())


def test_standard_output_that_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        args = command("completion", "zsh")
        result = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    refused(result, 1, "no space left on the device")


def test_weights(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    folder = tmp_path / "weights"
    refused(run_here("video", clip, tmp_path / "out.mp4", "--weights", folder), 1, "no weight set")
    file = next(random_weight_set(folder).glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    refused(run_here("video", clip, tmp_path / "out.mp4", "--weights", folder), 1, "weights altered")
    assert not list(tmp_path.glob("*out*"))


def test_pictures(tmp_path: Path) -> None:
    picture = _text(tmp_path / "in.png")
    refused(run_here("image", picture, tmp_path / "out.png"), 1, "cannot be read as a picture")
    for name, target, code, words in (
        ("none.png", "out.png", 1, "none.png"),
        ("in.png", "out.gif", 2, ".webp"),
        ("in.png", "nowhere/out.png", 1, "no such folder"),
        (".", "out.png", 2, "need a folder as OUT"),
    ):
        refused(run_here("image", tmp_path / name, tmp_path / target), code, words)
    cv2.imwrite(str(tmp_path / "real.png"), np.zeros((20, 20, 3), np.uint8))
    args = ["image", tmp_path / "real.png", tmp_path / "out.png", "--weights", "none"]
    refused(run_here(*args), 1, "no weight set 'none'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "real.png"]


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_harm_nothing(tmp_path: Path, closed: str) -> None:
    make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3))
    words = command("video", "in.mp4", "out.mp4", "--strength", 0)
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *words],
        cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)
    assert (tmp_path / "out.mp4").exists()


def test_events_on_a_full_disk_are_one_sentence(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3))
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command("video", "in.mp4", "out.mp4", "--strength", 0, "--json"),
            cwd=tmp_path, env=environment(), check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr.count("\n"), "no space left" in ended.stderr) == (1, 1, True)
    assert not (tmp_path / "out.mp4").exists()


def test_a_log_on_a_full_disk_ends_no_work(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3))
    with Path("/dev/full").open("w") as full:
        words = command("video", "in.mp4", "out.mp4", "--strength", 0)
        ended = subprocess.run(words, cwd=tmp_path, env=environment(), check=False, stderr=full, timeout=600)
    assert ended.returncode == 0
    assert (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("command_name", ["video", "image"])
def test_a_link_that_leads_to_itself_is_named(tmp_path: Path, command_name: str) -> None:
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "loop.png").symlink_to("loop.png")
    make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3))
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((9, 9, 3), np.uint8))
    suffix = "mp4" if command_name == "video" else "png"
    ended = run(command_name, f"in.{suffix}", f"loop.{suffix}", "--strength", 0, folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.endswith(f"loop.{suffix}: is a link that leads back to itself\n")
