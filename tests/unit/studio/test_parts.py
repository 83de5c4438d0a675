"""The studio's parts: names, records, uploads over a limit, boxes of turned frames, moments, small copies."""

import asyncio
import errno
import json
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertdeblur import pretrained
from concertdeblur.deblurring.deblurrer import DeblurOptions
from concertdeblur.errors import Interrupted, SourceError, TargetError, UsageError
from concertdeblur.frame import Colour, Orientation
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.studio import previewing
from concertdeblur.studio.facts import facts_of, shown_size
from concertdeblur.studio.live import LiveClip
from concertdeblur.studio.records import Choices, State, read_record
from concertdeblur.studio.viewing import small_size
from concertdeblur.studio.views import in_8_bits, turned
from concertdeblur.studio.workspace import StudioIsOpenError, Workspace, clean_name
from tests.clips import ClipSpec, make_clip
from tests.weight_sets import random_weight_set


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("gig.mp4", "gig.mp4"),
        ("IMG_0001.MOV", "IMG_0001.MOV"),
        ("Größe '26 (live) $(rm -rf).mkv", "Größe '26 (live) $(rm -rf).mkv"),
        ("x" * 300 + ".mp4", "x" * 116 + ".mp4"),
        ("photo.HEIC", "photo.HEIC"),
        ("Screen Recording at 10.00.00\u202fPM.mov", "Screen Recording at 10.00.00\u202fPM.mov"),  # as macOS writes it
        ("夜の\u3000コンサート.mp4", "夜の\u3000コンサート.mp4"),
        ("\U0001f468\u200d\U0001f3a4.mp4", "\U0001f468\u200d\U0001f3a4.mp4"),  # a singer: two emoji, joined
        ("\U0001fadf.mp4", "\U0001fadf.mp4"),  # an emoji that this Python does not know yet
    ],
)  # fmt: skip
def test_names_of_clips_are_kept(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize(
    ("given", "word"), [("a/b.mp4", "no path"), ("a\\b.mp4", "no path"), (".mp4", "dot"), ("a.exe", "neither"),
                        ("a\x1b[2J.mp4", "no control"), ("a\u2028.mp4", "no control"),
                        ("a\udcff.mp4", "no control"), ("raw.cr2", "camera's raw"), ("", "no name")],
)  # fmt: skip
def test_names_that_are_none_are_refused(given: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        clean_name(given)


def test_a_clip_is_found_again_and_what_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "gig.mp4", ClipSpec(num_frames=2))
    with Workspace(tmp_path / "studio") as workspace:
        record = workspace.add_in_place(source)
        record.state, record.choices = State.PAUSED, Choices(quality="fast", strength=0.4)
        record.frame_s = {"fast": 0.5}
        record.save(workspace.clip_folder(record.clip_id).path)
        assert list(workspace.records()) == [record]
        assert workspace.add_in_place(source) == record, "the same file is no second clip"
        half, other = (workspace.clip_folder(name * 16).path for name in "01")
        (half / "in").mkdir(parents=True)
        other.mkdir()
        (other / "clip.json").write_text(json.dumps({"format": 1, "clip_id": other.name, "state": "odd"}))
        assert read_record(other) is None
        workspace.drop_remains()
        assert not half.exists(), "an upload that never ended"
        assert workspace.unreadable() == [other], "another version may have written it; the clip is somebody's"
        workspace.tell_address("http://127.0.0.1:1/?token=x")
        with pytest.raises(StudioIsOpenError) as told, Workspace(tmp_path / "studio"):
            pass
        assert told.value.address == "http://127.0.0.1:1/?token=x"
    assert not (tmp_path / "studio" / "address").exists()


@pytest.mark.parametrize("way", ["moved", "named from elsewhere"])
def test_a_folder_that_is_moved_or_named_otherwise_keeps_its_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("studio")
    with Workspace(folder) as workspace:
        clip_id, path = workspace.begin_upload("gig.mp4")
        path.write_bytes(b"clip")
        record = workspace.finish_upload(clip_id, path)
        result = workspace.clip_folder(clip_id).out / "gig.deblurred.mp4"
        result.write_bytes(b"result")
        record.state, record.result = State.DONE, str(result)
        record.save(workspace.clip_folder(clip_id).path)
    if way == "moved":
        folder = folder.rename("other")
    else:
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        folder = Path("..") / folder
    with Workspace(folder) as workspace:
        (found,) = workspace.records()
        assert Path(found.source).read_bytes() == b"clip"
        assert Path(found.result).read_bytes() == b"result"


def test_a_full_disk_or_a_folder_that_is_gone_ends_no_studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **_more: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Workspace(tmp_path / "studio") as workspace:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdopen", full)
            workspace.tell_address("http://127.0.0.1:1/?token=x")
        with pytest.raises(TargetError, match="no address yet"), Workspace(tmp_path / "studio"):
            pass
        shutil.rmtree(tmp_path / "studio")
        assert list(workspace.records()) == []
        with pytest.raises(TargetError, match="studio"):
            workspace.has_room(1)


def test_an_upload_without_a_length_ends_at_the_limit(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    from concertdeblur.studio.api import make_studio_app
    from concertdeblur.studio.clips import Clips

    async def pieces() -> Any:
        for _ in range(30):
            yield b"x" * 100

    async def post(app: Any) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
            return await http.post("/api/clips", params={"name": "gig.mp4"}, content=pieces())

    with Workspace(tmp_path) as workspace:
        app = make_studio_app(Clips(workspace, {}), workspace, has_choice=True, upload_limit_bytes=1000)
        answer = asyncio.run(post(app))
        assert answer.status_code == 413
        assert "larger than 1000 bytes" in answer.json()["error"]
        assert list((tmp_path / "clips").iterdir()) == []


def test_a_clip_whose_name_is_no_utf_8_is_shown_and_downloaded(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    from concertdeblur.studio.api import make_studio_app
    from concertdeblur.studio.clips import Clips

    async def get(app: Any, path: str) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as http:
            return await http.get(path)

    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xeate.mp4"))
    source.write_bytes(b"clip")
    with Workspace(tmp_path / "studio") as workspace:
        record = workspace.add_in_place(source)
        result = workspace.clip_folder(record.clip_id).out / source.name
        result.write_bytes(b"result")
        record.state, record.result, record.facts = State.DONE, str(result), {"kind": "clip"}
        record.save(workspace.clip_folder(record.clip_id).path)
        clips = Clips(workspace, {})
        clips.look_for_new()
        app = make_studio_app(clips, workspace, has_choice=True)
        (shown,) = asyncio.run(get(app, "/api/clips")).json()["clips"]
        assert shown["name"] == shown["result"] == "f\ufffdte.mp4"
        answer = asyncio.run(get(app, f"/api/clips/{record.clip_id}/download"))
        assert answer.content == b"result"
        assert "f%EF%BF%BDte.mp4" in answer.headers["content-disposition"]
        assert asyncio.run(get(app, f"/api/clips/{record.clip_id}/source")).content == b"clip"


@pytest.mark.parametrize(("suffix", "kind"), [(".mp4", "clip"), (".png", "picture")])
def test_the_output_of_a_clip_with_the_longest_name_has_a_shorter_one(tmp_path: Path, suffix: str, kind: str) -> None:
    source = tmp_path / ("é" * 125 + suffix)  # a file system takes 255 bytes
    source.touch()
    with Workspace(tmp_path / "studio") as workspace:
        record = workspace.add_in_place(source)
        record.facts = {"kind": kind}
        output = LiveClip(record=record, folder=workspace.clip_folder(record.clip_id)).output()
    output.touch()
    assert output.name.startswith("é" * 50)
    assert output.name.endswith(f".deblurred{suffix}")


@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 29), st.integers(0, 29), st.integers(1, 40),
    st.integers(1, 40), st.integers(0, 3), st.booleans(),
)  # fmt: skip
def test_boxes_turn_with_their_frame(
    height: int, width: int, y: int, x: int, box_height: int, box_width: int, num_quarters: int, is_mirrored: bool
) -> None:
    y, x = min(y, height - 1), min(x, width - 1)
    frame = np.zeros((height, width), np.uint8)
    frame[y : y + box_height, x : x + box_width] = 1
    orientation = Orientation(num_quarters=num_quarters, is_mirrored=is_mirrored)
    box = turned((y, x, box_height, box_width), height=height, width=width, orientation=orientation)
    shown = orientation.of(frame)
    expected = np.zeros_like(shown)
    expected[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = 1
    np.testing.assert_array_equal(shown, expected)


def test_deep_pixels_are_shown_in_8_bits() -> None:
    np.testing.assert_array_equal(in_8_bits(np.array([0, 257 * 100, 65535], np.uint16), Colour()), [0, 100, 255])
    np.testing.assert_array_equal(in_8_bits(np.array([0, 0.5, 1], np.float32), Colour()), [0, 128, 255])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(random_weight_set(tmp_path_factory.mktemp("weights") / "set"))


@pytest.mark.parametrize(("time_s", "shown"), [(0.0, 0), (0.2, 5), (0.21, 5), (0.44, 11), (0.4799, 11), (9.0, 11)])
def test_a_moment_is_the_frame_on_the_screen(tmp_path: Path, weights: str, time_s: float, shown: int) -> None:
    source = make_clip(tmp_path / "gig.mp4", ClipSpec(num_frames=12))
    deblurrer = previewing.Networks(weights=weights, backend="torch").of("best")
    moment = previewing.clip_moment(source, time_s, deblurrer, deinterlace=False)
    assert moment.time_s == pytest.approx(shown / 25)
    with open_reader(source, ReaderOptions()) as reader:
        frames = list(reader.frames())
    np.testing.assert_array_equal(moment.before, frames[shown].pixels)
    around = frames[max(0, shown - 1) : shown + 2]
    made = list(deblurrer.stream(around, DeblurOptions()))[min(shown, 1)]
    np.testing.assert_array_equal(moment.after, made.frame.pixels)
    assert moment.heat.shape == moment.after.shape


def test_the_pace_is_put_off_when_something_else_is_wanted(tmp_path: Path, weights: str) -> None:
    source = make_clip(tmp_path / "gig.mp4", ClipSpec(num_frames=12))
    deblurrer = pretrained.load(weights, backend="torch")
    assert previewing.seconds_a_frame(source, deblurrer, deinterlace=False) > 0
    with pytest.raises(Interrupted):
        previewing.seconds_a_frame(source, deblurrer, deinterlace=False, is_wanted=lambda: False)


def test_facts_are_those_that_a_player_shows(tmp_path: Path) -> None:
    spec = ClipSpec(height=48, width=64, num_frames=12, rotation_deg=90, sample_aspect_ratio=Fraction(2), audio="aac")
    facts = facts_of(make_clip(tmp_path / "phone.mp4", spec))
    assert (facts.height, facts.width) == (128, 48)
    assert (facts.num_frames, facts.rate_fps) == (12, 25)
    assert facts.duration_s == pytest.approx(0.48)
    assert (facts.kind, facts.has_sound, facts.codec) == ("clip", True, "h264")


def test_an_interlaced_clip_is_taken_and_that_is_said(tmp_path: Path) -> None:
    options = {"crf": "10", "preset": "ultrafast", "x264-params": "tff=1"}
    facts = facts_of(make_clip(tmp_path / "old.mp4", ClipSpec(num_frames=6, is_interlaced=True, options=options)))
    assert facts.is_interlaced
    assert any("interlaced" in told for told in facts.warnings)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        facts_of(tmp_path / "gone.mp4")


@pytest.mark.parametrize(
    ("size", "small"),
    [((2160, 3840), (720, 1280)), ((720, 1280), (720, 1280)), ((49, 63), (48, 64)), ((3840, 2160), (1280, 720))],
)
def test_copies_for_looking_are_small_and_even(tmp_path: Path, size: tuple[int, int], small: tuple[int, int]) -> None:
    with open_reader(make_clip(tmp_path / "a.mp4", ClipSpec(num_frames=1)), ReaderOptions()) as reader:
        info = reader.info
    made = small_size(replace(info, height=size[0], width=size[1]))
    assert made == small
    assert shown_size(replace(info, height=size[0], width=size[1], rotation_deg=90)) == (size[1], size[0])
