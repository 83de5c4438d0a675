"""Runs that somebody ends: Ctrl-C, SIGTERM, a reader of standard output that goes away, a terminal."""

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clips import ClipSpec, make_clip
from tests.commands import command, environment, events, run

_NUM_FRAMES = 150
_SLOW = ("--strength", 0, "--preset", "placebo", "--crf", 0, "--json")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that takes several seconds to encode slowly."""
    spec = ClipSpec(num_frames=_NUM_FRAMES, height=288, width=352, audio="aac")
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", spec)


@contextmanager
def in_progress(clip: Path, target: Path) -> Iterator[subprocess.Popen[str]]:
    """A slow run that has done some frames."""
    args = command("video", clip, target, *_SLOW)
    with subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            for _ in range(3):  # start, and two progress events
                assert child.stdout.readline()
            assert [path.suffix for path in target.parent.iterdir()] == [".mp4"]  # the temporary sibling
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_leaves_nothing(clip: Path, tmp_path: Path, number: signal.Signals) -> None:
    with in_progress(clip, tmp_path / "out.mp4") as child:
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=30)
    assert child.returncode == 130
    told = re.fullmatch(rf"Error: stopped after (\d+) of {_NUM_FRAMES} frames; .*out\.mp4 is not written\n", stderr)
    assert told is not None, stderr
    assert 0 < int(told[1]) < _NUM_FRAMES
    assert events(stdout)[-1] == {"event": "error", "message": stderr[7:-1], "exit_code": 130}
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_removed_by_the_next(clip: Path, tmp_path: Path) -> None:
    with in_progress(clip, tmp_path / "out.mp4") as child:
        child.kill()
        child.communicate(timeout=30)
    (left,) = tmp_path.iterdir()
    assert ".part" in left.name
    short = make_clip(tmp_path / "short.mp4", ClipSpec())
    assert run("video", short, tmp_path / "other.mp4", "--strength", 0).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.mp4", "short.mp4"]


def test_a_run_that_ignores_the_closed_terminal_goes_on(clip: Path, tmp_path: Path) -> None:
    args = ["nohup", *command("video", clip, tmp_path / "out.mp4", "--strength", 0, "--json")]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        child.send_signal(signal.SIGHUP)
        child.communicate(timeout=60)
    assert child.returncode == 0
    assert (tmp_path / "out.mp4").exists()


def test_a_signal_keeps_the_file_that_was_there(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("precious")
    args = command("video", clip, target, "--overwrite", *_SLOW)
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout is not None
        for _ in range(3):
            assert child.stdout.readline()
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
    assert child.returncode == 130
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_a_second_interrupt_ends_at_once(clip: Path, tmp_path: Path) -> None:
    with in_progress(clip, tmp_path / "out.mp4") as child:
        child.send_signal(signal.SIGINT)
        time.sleep(0.002)
        child.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        _, stderr = child.communicate(timeout=30)
    assert child.returncode == 130
    assert time.monotonic() - started_s < 5
    assert re.fullmatch(r"Error: stopped [^\n]* not written\n", stderr), stderr
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_ends_the_run_in_silence(clip: Path, tmp_path: Path) -> None:
    with in_progress(clip, tmp_path / "out.mp4") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(timeout=30) == 1
    assert not list(tmp_path.iterdir())


def test_help_into_a_closed_pipe_is_silent() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(command("--help"), stdout=writing, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(writing)
    assert result.stderr == b""


def test_a_terminal_shows_live_progress(clip: Path, tmp_path: Path) -> None:
    leader, terminal = pty.openpty()
    args = command("video", clip, tmp_path / "out.mp4", "--strength", 0, "--preset", "fast")
    changes = {"TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=terminal, env=environment(**changes)) as child:
        os.close(terminal)
        drawn = b""
        try:
            while chunk := os.read(leader, 65536):
                drawn += chunk
        except OSError:  # Linux: the other end is closed
            pass
        os.close(leader)
        assert child.stdout is not None
        assert child.stdout.read() == b""
    assert child.returncode == 0
    text = drawn.decode()
    assert re.search(rf"\d+ of {_NUM_FRAMES} frames, [\d.]+ frames/s, [\d.:]+ (s|min) left", text)
    assert text.endswith("ran on    no network: with strength 0 nothing is deblurred\r\n")
    assert "out.mp4 is written." in text
