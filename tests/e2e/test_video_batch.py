"""Several clips in one call: names, isolation, going on, dates."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from concertdeblur.errors import SourceError, TargetError, UsageError
from concertdeblur.pipelines import deblur_video as deblurring
from concertdeblur.pipelines.batch import Item
from concertdeblur.pipelines.video_batch import BatchSummary, deblur_batch, find_items
from concertdeblur.pipelines.video_job import VideoJob, VideoSummary
from tests.clips import ClipSpec, frames_of, make_clip, stream_facts
from tests.commands import events, run, run_here


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of two clips, with what else lies in such folders."""
    folder = tmp_path / "clips"
    folder.mkdir()
    make_clip(folder / "a.mp4", ClipSpec())
    make_clip(folder / "b.avi", ClipSpec(num_frames=5, audio="pcm_u8"))
    (folder / "notes.txt").write_text("not a clip")
    (folder / "._a.mp4").write_text("left by a Mac")
    return folder


def names(folder: Path) -> list[str]:
    """The files of a folder, with subfolders."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def batch(source: Path, target: Path, **choices: Any) -> list[VideoSummary | BatchSummary]:
    """Run over a folder at strength 0."""
    return list(deblur_batch(find_items([source], target), VideoJob(strength=0, **choices)))


def test_folder_in_gives_folder_out(clips: Path, tmp_path: Path) -> None:
    *each, whole = batch(clips, tmp_path / "sharp")
    assert [summary.num_frames for summary in each if isinstance(summary, VideoSummary)] == [12, 5]
    assert whole == BatchSummary(num_done=2, num_done_before=0, failed=())
    assert names(tmp_path / "sharp") == ["a.mp4", "b.avi.mp4"]
    assert [facts.codec for facts in stream_facts(tmp_path / "sharp" / "b.avi.mp4")] == ["h264", "aac"]


def test_what_is_done_is_not_done_again(clips: Path, tmp_path: Path) -> None:
    batch(clips, tmp_path / "sharp")
    (tmp_path / "sharp" / "b.avi.mp4").write_text("precious")
    make_clip(clips / "c.mp4", ClipSpec(num_frames=3))
    *each, whole = batch(clips, tmp_path / "sharp")
    assert len(each) == 1
    assert whole == BatchSummary(num_done=1, num_done_before=2, failed=())
    assert (tmp_path / "sharp" / "b.avi.mp4").read_text() == "precious"
    *_, whole = batch(clips, tmp_path / "sharp", overwrite=True)
    assert whole == BatchSummary(num_done=3, num_done_before=0, failed=())
    assert len(frames_of(tmp_path / "sharp" / "b.avi.mp4")) == 5


def test_a_clip_that_comes_later_is_not_taken_for_one_that_is_done(clips: Path, tmp_path: Path) -> None:
    batch(clips, tmp_path / "sharp")
    make_clip(clips / "b.mp4", ClipSpec(num_frames=3))
    *_, whole = batch(clips, tmp_path / "sharp")
    assert whole == BatchSummary(num_done=1, num_done_before=2, failed=())
    assert len(frames_of(tmp_path / "sharp" / "b.avi.mp4")) == 5
    assert len(frames_of(tmp_path / "sharp" / "b.mp4")) == 3


@pytest.mark.parametrize(
    "error", [ValueError("31 is not a valid Type"), RuntimeError(), MemoryError(), OSError(5, "I/O")]
)
def test_no_error_of_one_clip_stops_the_others(
    clips: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = deblurring.VideoRun.run

    def failing(self: Any) -> VideoSummary:
        if self.source.name == "a.mp4":
            raise error
        return whole(self)

    monkeypatch.setattr(deblurring.VideoRun, "run", failing)
    seen: list[tuple[str, Exception]] = []
    made = deblur_batch(
        find_items([clips], tmp_path / "sharp"), VideoJob(strength=0),
        on_failure=lambda source, failure: seen.append((source.name, failure)),
    )  # fmt: skip
    with pytest.raises(SourceError, match=r"1 of 2 clips failed: a\.mp4; the other 1 is done"):
        list(made)
    assert seen == [("a.mp4", error)]
    assert names(tmp_path / "sharp") == ["b.avi.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_ctrl_c_and_a_full_disk_stop_all(
    clips: Path, tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: Any) -> VideoSummary:
        raise error

    monkeypatch.setattr(deblurring.VideoRun, "run", failing)
    with pytest.raises(type(error)):
        batch(clips, tmp_path / "sharp")


def test_the_command_names_what_failed_and_ends_with_1(clips: Path, tmp_path: Path) -> None:
    (clips / "bad.mp4").write_text("not a clip at all")
    ended = run("video", clips, tmp_path / "sharp", "--strength", 0, "--json")
    assert ended.returncode == 1
    told = events(ended.stdout)
    assert [Path(event["target"]).name for event in told if event["event"] == "done"] == ["a.mp4", "b.avi.mp4"]
    assert any("bad.mp4: not a clip" in event["message"] for event in told if event["event"] == "warning")
    assert told[-1]["message"] == "1 of 3 clips failed: bad.mp4; the other 2 are done"
    assert "Traceback" not in ended.stderr
    (clips / "bad.mp4").unlink()
    last = events(run("video", clips, tmp_path / "sharp", "--strength", 0, "--json").stdout)[-1]
    assert last == {"event": "batch", "num_done": 0, "num_done_before": 2, "failed": []}
    (clips / "bad.mp4").write_text("not a clip at all")
    again = run("video", clips, tmp_path / "sharp", "--strength", 0, "--debug")
    assert "in open_source" in again.stderr  # where the clip's own error came from


def test_a_folder_that_cannot_be_made_or_written_is_said_once(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command, source in (("video", clips), ("image", tmp_path / "photos")):
        (tmp_path / "photos").mkdir(exist_ok=True)
        for name in ("a.png", "b.png"):
            (tmp_path / "photos" / name).write_bytes(b"not read")
        ended = run_here(command, source, tmp_path / "file" / "out", "--strength", 0)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith("Error: ")
        assert str(tmp_path / "file" / "out") in line
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)  # as on a file system that is mounted to be read only
        with pytest.raises(TargetError, match="sharp: cannot be written to"):
            batch(clips, tmp_path / "sharp")


@pytest.mark.parametrize("command", ["video", "image"])
def test_weights_that_are_missing_are_said_once(clips: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (32, 32)).save(tmp_path / "photos" / name)
    source = clips if command == "video" else tmp_path / "photos"
    ended = run_here(command, source, tmp_path / "out", "--weights", "nowhere")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "nowhere" in ended.stderr


def test_names_that_are_no_utf8(clips: Path, tmp_path: Path) -> None:
    odd = clips / os.fsdecode(b"caf\xe9.mp4")
    make_clip(tmp_path / "plain.mp4", ClipSpec()).rename(odd)
    for writer in ("pyav", "ffmpeg"):
        *_, whole = batch(clips, tmp_path / writer, writer=writer)
        assert whole == BatchSummary(num_done=3, num_done_before=0, failed=())
        assert odd.name in names(tmp_path / writer)


def test_outputs_have_their_inputs_date(clips: Path, tmp_path: Path) -> None:
    os.utime(clips / "a.mp4", (1_500_000_000, 1_600_000_000))
    batch(clips, tmp_path / "sharp")
    assert (tmp_path / "sharp" / "a.mp4").stat().st_mtime == 1_600_000_000
    batch(clips, tmp_path / "new", keep_date=False)
    assert (tmp_path / "new" / "a.mp4").stat().st_mtime > 1_700_000_000


def test_subfolders_on_request(clips: Path, tmp_path: Path) -> None:
    (clips / "day 2").mkdir()
    make_clip(clips / "day 2" / "a.mp4", ClipSpec(num_frames=3))
    assert [item.target for item in find_items([clips], tmp_path / "out")] == [
        tmp_path / "out" / "a.mp4", tmp_path / "out" / "b.avi.mp4",
    ]  # fmt: skip
    list(deblur_batch(find_items([clips], clips / "out", recursive=True), VideoJob(strength=0)))
    assert names(clips / "out") == ["a.mp4", "b.avi.mp4", "day 2/a.mp4"]


def test_outputs_are_no_inputs_however_the_folders_are_named(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (clips / "out").mkdir()
    make_clip(clips / "out" / "a.mp4", ClipSpec(num_frames=3))
    (tmp_path / "link").symlink_to(clips / "out")
    for folder in (clips, Path("clips")):
        for target in (clips / "out", Path("clips/out"), Path("clips/../clips/out"), Path("link")):
            items = find_items([folder], target, recursive=True)
            assert [item.target for item in items] == [target / "a.mp4", target / "b.avi.mp4"]
    assert len(find_items([clips / "out"], clips, recursive=True)) == 1  # inputs may lie in the outputs' folder


def test_default_names(clips: Path, tmp_path: Path) -> None:
    (item,) = find_items([clips / "a.mp4"], None)
    assert item == Item(source=clips / "a.mp4", target=clips / "a.deblurred.mp4")
    assert find_items([clips / "b.avi"], None)[0].target == clips / "b.avi.deblurred.mp4"
    assert find_items([clips / "b.avi"], tmp_path)[0].target == tmp_path / "b.avi.mp4"
    assert find_items([clips], None)[0].target == tmp_path / "clips.deblurred" / "a.mp4"
    assert find_items([Path("x.mov")], None, as_mp4=True)[0].target == Path("x.mov.deblurred.mp4")


def test_names_that_would_be_the_same_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.avi", "b.mpg", "b.wmv", "b.wmv.mp4", "c.1.mp4"):
        (tmp_path / name).touch()
    items = find_items([tmp_path], tmp_path / "out")
    assert {item.source.name: item.target.name for item in items} == {
        "a.mp4": "a.mp4", "a.avi": "a.avi.mp4", "b.mpg": "b.mpg.mp4", "b.wmv": "b.wmv.mp4",
        "b.wmv.mp4": "b.wmv.mp4.mp4", "c.1.mp4": "c.1.mp4",
    }  # fmt: skip


def test_names_that_make_no_sense(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="name one last"):
        find_items([clips / "a.mp4", clips / "b.avi"], clips / "a.mp4")
    with pytest.raises(UsageError, match="names a clip"):
        find_items([clips], tmp_path / "out.mp4")
    with pytest.raises(TargetError, match="same folder"):
        find_items([clips], clips)
    with pytest.raises(UsageError, match="name one file"):
        list(deblur_batch(find_items([clips], tmp_path / "s"), VideoJob(heatmap=tmp_path / "heat.mp4")))
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    with pytest.raises(SourceError, match="holds no clip"):
        find_items([tmp_path / "empty"], tmp_path / "out")
    make_clip(tmp_path / "empty" / "deep" / "a.mp4", ClipSpec(num_frames=1))
    with pytest.raises(SourceError, match="--recursive"):
        find_items([tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_inputs_and_a_missing_one(clips: Path, tmp_path: Path) -> None:
    sources = (clips / "a.mp4", clips / "none.mp4", clips / "b.avi")
    ended = run("video", *sources, tmp_path / "out", "--strength", 0)
    assert ended.returncode == 1
    assert "none.mp4: no such file" in ended.stderr
    assert names(tmp_path / "out") == ["a.mp4", "b.avi.mp4"]


def test_one_clip_without_an_output_name(clips: Path) -> None:
    assert run_here("video", clips / "b.avi", "--strength", 0).returncode == 0
    assert len(frames_of(clips / "b.avi.deblurred.mp4")) == 5
    again = run("video", clips / "b.avi", "--strength", 0)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    skipped = run("video", clips / "b.avi", "--strength", 0, "--skip-existing")
    assert skipped.returncode == 0
    assert "1 done by an earlier run" in skipped.stderr


def test_the_root_of_all_folders_has_no_folder_beside_it() -> None:
    with pytest.raises(TargetError, match="/: has no folder beside it for the outputs; name one last"):
        find_items([Path("/")], None)


def test_a_folder_in_an_output_s_place_is_no_output(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "sharp" / "a.mp4").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"1 of 2 clips failed: a.mp4; the other 1 is done"):
        batch(clips, tmp_path / "sharp")
