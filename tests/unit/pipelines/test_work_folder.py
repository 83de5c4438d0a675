"""The folder in which segments wait: a damaged manifest counts as none, and what a killed run left behind goes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from concertdeblur.errors import TargetError
from concertdeblur.pipelines.batch import Item
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder, remove_remains
from concertdeblur.pipelines.video_batch import deblur_batch
from concertdeblur.pipelines.video_job import VideoJob


def left(target: Path, *, is_joined: bool = False) -> Path:
    """A work folder with one segment, as a killed run leaves it."""
    with WorkFolder(target) as work:
        work.begin({"codec": "h264"}, anew=False)
        work.add(0, DoneSegment(start=0, num_frames=10, windows_tried=0, windows_accepted=0, files={}))
        if is_joined:
            work.joined()
            work._is_joined = False  # killed before the folder could go
    return work.path


@pytest.mark.parametrize("value", [{}, "10", -1, 1.5, None, True])
def test_a_segment_without_whole_numbers_counts_as_none(tmp_path: Path, value: Any) -> None:
    manifest = left(tmp_path / "out.mp4") / "manifest.json"
    told = json.loads(manifest.read_text())
    told["segments"]["0"]["num_frames"] = value
    manifest.write_text(json.dumps(told))
    with WorkFolder(tmp_path / "out.mp4") as work:
        assert work.num_frames == 0


def test_a_manifest_of_brackets_counts_as_none(tmp_path: Path) -> None:
    (left(tmp_path / "out.mp4") / "manifest.json").write_text("[" * 100_000)
    with WorkFolder(tmp_path / "out.mp4") as work:
        assert work.num_frames == 0


def test_what_a_run_left_that_was_killed_at_its_end_goes(tmp_path: Path) -> None:
    path = left(tmp_path / "out.mp4", is_joined=True)
    remove_remains(tmp_path / "out.mp4")
    assert not path.exists()


def test_segments_that_are_still_needed_stay(tmp_path: Path) -> None:
    path = left(tmp_path / "out.mp4")
    remove_remains(tmp_path / "out.mp4")
    with WorkFolder(tmp_path / "out.mp4") as work:
        assert work.num_frames == 10
    assert path.exists()


def test_a_folder_of_clips_that_are_done_is_cleared_of_remains(tmp_path: Path) -> None:
    path = left(tmp_path / "out.mp4", is_joined=True)
    (tmp_path / "out.mp4").write_bytes(b"done")
    item = Item(source=tmp_path / "in.mp4", target=tmp_path / "out.mp4")
    (summary,) = deblur_batch([item], VideoJob(strength=0))
    assert "1 done by an earlier run" in summary.text()
    assert not path.exists()


@pytest.mark.parametrize(
    ("needed", "free", "words"),
    [(5_000, 1_200, "5 kB more on its disk, which has 1 kB"), (3e6, 5e5, "3 MB more on its disk, which has 500 kB"),
     (2.5e9, 0, "2.5 GB more on its disk, which has 0 kB")],
)  # fmt: skip
def test_room_that_is_missing_is_told_in_fitting_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: float, free: int, words: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with WorkFolder(tmp_path / "out.mp4") as work, pytest.raises(TargetError, match=words):
        work.check_room(needed)


def test_a_segment_that_is_made_again_replaces_what_the_manifest_said_of_it(tmp_path: Path) -> None:
    left(tmp_path / "out.mp4")
    again = DoneSegment(start=0, num_frames=12, windows_tried=5, windows_accepted=2, files={})
    with WorkFolder(tmp_path / "out.mp4") as work:
        work.begin({"codec": "h264"}, anew=False)
        work.add(0, again)
        work.add(1, DoneSegment(start=12, num_frames=3, windows_tried=0, windows_accepted=0, files={}))
    with WorkFolder(tmp_path / "out.mp4") as work:
        assert work.done(0) == again
        assert work.num_frames == 15
