"""A watched folder: clips are taken when they are whole, done once, and a bad one stops no other."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from concertdeblur import pretrained
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.errors import SourceError, TargetError, UsageError
from concertdeblur.pipelines import quality
from concertdeblur.pipelines.quality import PATIENCE_S
from concertdeblur.pipelines.video_job import Progress, VideoJob
from concertdeblur.pipelines.watch_folder import LOG, WatchedFolder, watch_folder
from tests.clips import ClipSpec, frames_of, make_clip
from tests.commands import command, environment, events, run_here
from tests.weight_sets import random_weight_set


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder that is watched."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


class Clock:
    """Seconds as a test wants them."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_clip_is_taken_once_it_stands_still(inbox: Path, tmp_path: Path) -> None:
    clock = Clock()
    watched = WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=10, clock=clock)
    assert watched.whole() == []
    clip = make_clip(inbox / "a.mp4", ClipSpec())
    whole = clip.read_bytes()
    clip.write_bytes(whole[:100])
    assert watched.whole() == []
    clock.now_s += 9
    clip.write_bytes(whole)
    assert watched.whole() == []
    clock.now_s += 9.5
    assert watched.whole() == []
    clock.now_s += 0.5
    assert [item.source for item in watched.whole()] == [clip]
    watched.failed(watched.whole()[0])
    clock.now_s += 100
    assert watched.whole() == []
    os.utime(clip, (1, 1))
    assert watched.whole() == []
    clock.now_s += 10
    assert [item.target for item in watched.whole()] == [tmp_path / "out" / "a.mp4"]


def test_an_empty_file_is_not_whole(inbox: Path, tmp_path: Path) -> None:
    (inbox / "a.mp4").touch()
    assert WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=0).whole() == []


def test_outputs_are_not_watched(inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (inbox / "out").mkdir()
    for name in ("a.mp4", "out/b.mp4"):
        make_clip(inbox / name, ClipSpec(num_frames=3))
    watched = WatchedFolder(source=inbox, target=Path("in/out"), settle_s=0, recursive=True)
    assert [item.source for item in watched.whole()] == [inbox / "a.mp4"]


def test_a_clip_that_comes_later_is_not_taken_for_one_that_is_done(inbox: Path, tmp_path: Path) -> None:
    make_clip(inbox / "a.avi", ClipSpec(num_frames=3))
    watched = WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=0)
    (first,) = watched.whole()
    first.target.touch()
    first.source.unlink()
    make_clip(inbox / "a.mp4", ClipSpec(num_frames=3))
    assert [item.source for item in watched.whole()] == [inbox / "a.mp4"]


def test_bad_and_late_clips(inbox: Path, tmp_path: Path) -> None:
    make_clip(inbox / "b.mp4", ClipSpec())
    (inbox / "a.mp4").write_text("not a clip at all")
    watched, stop = WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=0), threading.Event()
    seen: list[str] = []

    def on_failure(path: Path, error: Exception) -> str:
        seen.append(f"{path.name} failed")
        return str(error)

    for made in watch_folder(watched, VideoJob(strength=0), stop=stop, on_failure=on_failure, poll_s=0.01):
        seen.append(f"{made.target.name} done")
        if made.target.name == "b.mp4":
            make_clip(inbox / "c.mov", ClipSpec(num_frames=5))
        else:
            stop.set()
    assert seen == ["a.mp4 failed", "b.mp4 done", "c.mov done"]
    assert len(frames_of(tmp_path / "out" / "c.mov")) == 5
    first, second, third = (tmp_path / "out" / LOG).read_text().splitlines()
    assert "failed a.mp4: " in first
    assert "not a clip" in first
    assert "done b.mp4: " in second
    assert "done c.mov: " in third


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"source": "none"}, SourceError, "no such folder"),
        ({"target": "in"}, TargetError, "same folder"),
        ({"settle_s": -1}, UsageError, "must not be negative"),
    ],
)
def test_folders_that_make_no_sense(
    inbox: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    given: dict[str, Any] = {"source": "in", "target": "out", "settle_s": 1.0, **change}
    given |= {name: tmp_path / given[name] for name in ("source", "target")}
    with pytest.raises(error, match=words):
        WatchedFolder(**given)
    assert run_here("watch", tmp_path / "none", tmp_path / "out").returncode == 1


def test_a_signal_ends_the_watch_and_the_next_one_goes_on(inbox: Path, tmp_path: Path) -> None:
    options = {"crf": "10", "preset": "ultrafast"}
    make_clip(inbox / "a.mp4", ClipSpec(num_frames=900, height=144, width=176, options=options))
    args = command("watch", inbox, tmp_path / "out", "--strength", 0, "--settle", 0, "--preset", "veryslow", "--json")

    def watch_until(event: str, *, num_frames: int = 0) -> tuple[int, list[dict[str, Any]]]:
        lines = []
        with subprocess.Popen(args, stdout=subprocess.PIPE, text=True, env=environment()) as child:
            assert child.stdout is not None
            for line in child.stdout:
                lines.append(line)
                (told,) = events(line)
                if told["event"] == event and told.get("num_frames", 0) >= num_frames:
                    time.sleep(0.1)
                    child.send_signal(signal.SIGTERM)
                    break
            lines += child.stdout
        return child.returncode, events("".join(lines))

    assert watch_until("progress", num_frames=500)[0] == 0
    assert not (tmp_path / "out" / "a.mp4").exists()
    code, told = watch_until("done")
    assert code == 0
    assert any(" of 900 frames were done by an earlier run" in one["message"] for one in told if one["event"] == "note")
    assert len(frames_of(tmp_path / "out" / "a.mp4")) == 900
    log = (tmp_path / "out" / LOG).read_text()
    assert "stopped a.mp4: " in log
    assert "done a.mp4: " in log


def test_networks_are_loaded_and_tried_once(inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = str(random_weight_set(tmp_path / "set"))
    load, loaded, tried = pretrained.load, list[str](), list[str]()

    def listened(name: str, **choices: Any) -> Deblurrer:
        loaded.append(name)
        return load(weights, **choices)

    def tried_once(deblurrer: Deblurrer, *_size: int) -> float:
        tried.append(deblurrer.name)
        return PATIENCE_S / 20  # twenty frames of the clips take as long as anybody waits

    monkeypatch.setattr(pretrained, "load", listened)
    monkeypatch.setattr(quality, "seconds_a_frame", tried_once)
    monkeypatch.setattr(quality, "_SLOWEST_S_A_PIXEL", 1.0)
    for number, num_frames in enumerate((12, 30, 10, 40)):
        make_clip(inbox / f"{number}.mp4", ClipSpec(num_frames=num_frames, height=64, width=96))
    watched, stop = WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=0), threading.Event()
    told: list[str] = []
    job = VideoJob(backend="torch", refine=False, device="cpu")
    for number, _ in enumerate(watch_folder(watched, job, stop=stop, on_warning=told.append, poll_s=0.01)):
        if number == 3:
            stop.set()
    assert loaded == ["concert", "concert-fast"]
    assert len(tried) == 1
    assert [message.partition(":")[0] for message in told if "concert-fast" in message] == ["1.mp4", "3.mp4"]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_clip_that_grows_after_it_was_taken_is_named_once(inbox: Path, tmp_path: Path, is_late: bool) -> None:
    clip, out = make_clip(inbox / "a.mp4", ClipSpec(num_frames=3)), tmp_path / "out" / "a.mp4"
    watched, stop = WatchedFolder(source=inbox, target=tmp_path / "out", settle_s=0), threading.Event()
    warned: list[str] = []
    late = threading.Timer(10, stop.set)  # or a watch that says nothing would go on for ever
    late.start()

    def on_warning(message: str) -> None:
        warned.append(message)
        out.unlink()

    def on_progress(progress: Progress) -> None:
        if not is_late and not warned and progress.num_frames == 3:
            make_clip(inbox / "a.mp4", ClipSpec(num_frames=5))

    for made in watch_folder(
        watched, VideoJob(strength=0), stop=stop, on_warning=on_warning, on_progress=on_progress, poll_s=0.01
    ):
        if made.num_frames == 5:
            stop.set()
        elif is_late:
            make_clip(clip, ClipSpec(num_frames=5))
    late.cancel()
    assert warned == [f"a.mp4: has changed since it was deblurred; remove {out}, and the clip is done again"]
    kinds = [line.split()[1] for line in (tmp_path / "out" / LOG).read_text().splitlines()]
    assert kinds == ["done", "changed", "done"]
    assert watched.outdated() == []
