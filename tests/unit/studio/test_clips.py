"""The queue of clips, with a worker that computes nothing: what is asked while something else is ending."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from concertdeblur.studio import clips as clips_module
from concertdeblur.studio.clips import Clips
from concertdeblur.studio.records import Choices, State
from concertdeblur.studio.workspace import Workspace
from tests.commands import environment


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clips]:
    """Two clips whose facts are known."""
    monkeypatch.setattr(clips_module, "_WORKER", "tests.unit.studio.quick_worker")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with Workspace(tmp_path) as workspace:
        made = Clips(workspace, {"weights": "none"})
        for name in ("first.mp4", "second.mp4"):
            clip_id, path = workspace.begin_upload(name)
            path.write_bytes(name.encode())
            record = workspace.finish_upload(clip_id, path)
            record.state, record.facts = State.READY, {"kind": "clip", "is_interlaced": False}
            made.add(record)
        yield made
        made.close()


def _wait(is_so: Callable[[], object]) -> None:
    until_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _states(clips: Clips) -> list[str]:
    return [str(view["state"]) for view in clips.views()]


def test_a_clip_is_made_again_while_the_process_that_made_it_is_ending(clips: Clips) -> None:
    first, second = (view["id"] for view in clips.views())
    clips.start(first, Choices())
    _wait(lambda: _states(clips)[0] == "done")
    clips.start(first, Choices(strength=0.5))
    clips.start(second, Choices())
    assert _states(clips) == ["running", "waiting"]
    _wait(lambda: _states(clips) == ["done", "done"])
    assert clips.views()[0]["strength"] == 0.5


def test_a_copy_of_the_result_before_is_not_taken_for_one_of_the_new_result(clips: Clips, tmp_path: Path) -> None:
    first = clips.views()[0]["id"]
    clips.start(first, Choices())
    _wait(lambda: _states(clips)[0] == "done")
    number = clips.views()[0]["result_number"]
    clips.make_copy(first, "result")
    clips.start(first, Choices(strength=0.5))
    _wait(lambda: _states(clips)[0] == "done")
    assert clips.views()[0]["result_number"] != number, "so that a page loads the new one"
    _wait(lambda: not any(live.others for live in clips._live.values()))
    assert clips.views()[0]["copies"] == {}
    assert list(tmp_path.rglob("result.copy.mp4")) == []
    clips.make_copy(first, "result")
    _wait(lambda: clips.views()[0]["copies"] == {"result": "ready"})
    assert clips.source_of(first, "result-copy") is not None


def test_a_clip_that_is_removed_in_its_work_is_gone_when_the_studio_is_closed_at_once(
    clips: Clips, tmp_path: Path
) -> None:
    first, second = (view["id"] for view in clips.views())
    clips.start(first, Choices())
    clips.drop(first)
    clips.close()
    assert [path.name for path in (tmp_path / "clips").iterdir()] == [second]


def test_two_seconds_of_a_clip_that_cannot_be_read_are_not_tried(clips: Clips) -> None:
    first = clips.views()[0]["id"]
    clips._live[first].record.facts = {}
    clips.try_out(first, start_s=0, choices=Choices())
    assert clips.views()[0]["trial"] is None


def test_work_on_a_clip_that_was_removed_meanwhile_ends_without_a_word(tmp_path: Path) -> None:
    order = {"work": "copy", "source": "gig.mp4", "target": "copy.mp4", "lock": str(tmp_path / "gone" / "copy.lock")}
    ended = subprocess.run(
        [sys.executable, "-m", "concertdeblur.studio.worker", "0"], input=json.dumps(order | {"order": "work"}) + "\n",
        env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not (tmp_path / "gone").exists()
