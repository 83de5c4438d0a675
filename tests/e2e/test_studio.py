"""The studio's server as a program: who may ask, uploads, work, pauses, and what is left after a crash."""

import signal
import socket
import time
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from concertdeblur.frame import Colour  # noqa: E402
from concertdeblur.media.backends import open_reader  # noqa: E402
from concertdeblur.media.reader import ReaderOptions  # noqa: E402
from concertdeblur.studio.api import UPLOAD_LIMIT_BYTES  # noqa: E402
from concertdeblur.studio.brightness import in_ordinary_light  # noqa: E402
from tests.clips import ClipSpec, frames_of, make_clip, picture, rgb_of, stream_facts  # noqa: E402
from tests.commands import run  # noqa: E402
from tests.studio import RunningStudio  # noqa: E402
from tests.weight_sets import random_weight_set  # noqa: E402

_QUICK = {"crf": "10", "preset": "ultrafast", "g": "5"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(random_weight_set(tmp_path_factory.mktemp("weights") / "set"))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, weights: str) -> Any:
    """One studio for the tests that end nothing."""
    with RunningStudio(tmp_path_factory.mktemp("studio"), weights=weights) as running:
        yield running


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "gig.mp4", ClipSpec(num_frames=20, audio="aac", options=_QUICK))


def test_foreign_pages_hosts_and_guessed_tokens_are_refused(studio: RunningStudio) -> None:
    get = studio.http.get
    assert get("/").status_code == get("/api/clips").status_code == 200
    assert get("/api/clips", headers={"Host": "evil.example"}).status_code == 421
    for origin in ("http://evil.example", "null", studio.base.replace("127.0.0.1", "localhost")):
        assert get("/api/clips", headers={"Origin": origin}).status_code == 403
        assert studio.http.post("/api/clips?name=a.mp4", content=b"x", headers={"Origin": origin}).status_code == 403
    assert get("/api/clips", headers={"Origin": studio.base}).status_code == 200
    for path in ("/", "/api/clips", "/api/events"):
        for token in ("", "?token=", f"?token={studio.token[:-1]}"):
            assert httpx.get(studio.base + path + token, trust_env=False).status_code == 403
    assert httpx.get(f"{studio.base}/static/studio.js", trust_env=False).status_code == 200, "no secret"
    assert httpx.post(f"{studio.base}/static/studio.js", trust_env=False).status_code == 403
    policy = get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_path_of_a_request_reaches_the_disk(studio: RunningStudio, tmp_path: Path) -> None:
    before = sorted(studio.folder.rglob("*"))
    for name in ("../gig.mp4", "/tmp/gig.mp4", "a\\gig.mp4", ".gig.mp4", "", "gig\n.mp4", "gig.mp4\0", "gig.exe"):  # noqa: S108
        answer = studio.http.post("/api/clips", params={"name": name}, content=b"x")
        assert answer.status_code == 422, name
        assert len(answer.json()["error"].splitlines()) == 1
    for clip_id in ("..", "%2e%2e", "..%2f..%2fetc", "0" * 16):
        for what in ("source", "clip.json", "..%2fclip.json", "%2fetc%2fpasswd", "download"):
            assert studio.http.get(f"/api/clips/{clip_id}/{what}").status_code == 404
    for name in ("..%2fapi.py", "%2e%2e%2fapi.py", "index.html"):
        assert studio.http.get(f"/static/{name}").status_code == 404
    assert sorted(studio.folder.rglob("*")) == before


def test_what_is_no_wish_is_refused(studio: RunningStudio, clip: Path) -> None:
    clip_id = studio.upload(clip)
    studio.wait(lambda one: one["state"] == "ready", clip_id)
    for quality, strength in (("best", 0), ("best", 1.5), ("odd", 1)):
        assert studio.ask(clip_id, "start", quality=quality, strength=strength).status_code == 422
    assert studio.ask(clip_id, "start", quality="best", strength=1, target="/etc/passwd").status_code == 422
    assert studio.ask(clip_id, "moment", time_s=-1, quality="best").status_code == 422
    assert studio.ask(clip_id, "copy", of="clip.json").status_code == 422
    assert studio.ask("0" * 16, "start", quality="best", strength=1).status_code == 404
    assert studio.clip(clip_id)["state"] == "ready"
    studio.http.delete(f"/api/clips/{clip_id}")


def test_an_upload_over_the_limit_is_refused_before_its_bytes(studio: RunningStudio) -> None:
    host = studio.base.removeprefix("http://")
    before = len(studio.clips())
    with socket.create_connection(host.split(":")) as line:
        head = f"POST /api/clips?name=gig.mp4&token={studio.token} HTTP/1.1\r\nHost: {host}\r\n"
        line.sendall(f"{head}Content-Length: {UPLOAD_LIMIT_BYTES + 1}\r\n\r\n".encode())
        answer = ""
        while not answer.endswith("}"):
            answer += line.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "concertdeblur studio CLIP" in answer
    assert len(studio.clips()) == before
    for name, num_bytes, status in (
        ("gig.mp4", UPLOAD_LIMIT_BYTES + 1, 413), ("gig.mp4", 1000, 200), ("gig.exe", 1000, 422), ("a/gig.mp4", 1, 422)
    ):  # fmt: skip
        assert studio.http.post("/api/check", json={"name": name, "num_bytes": num_bytes}).status_code == status


def test_an_upload_that_is_cut_off_leaves_nothing(studio: RunningStudio, clip: Path) -> None:
    host = studio.base.removeprefix("http://")
    folders = sorted((studio.folder / "clips").iterdir())
    with socket.create_connection(host.split(":")) as line:
        head = f"POST /api/clips?name=gig.mp4&token={studio.token} HTTP/1.1\r\nHost: {host}\r\n"
        line.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode() + clip.read_bytes())
    clip_id = studio.upload(clip)
    left = {path.name for path in (studio.folder / "clips").iterdir()} - {path.name for path in folders}
    assert left == {clip_id}
    studio.http.delete(f"/api/clips/{clip_id}")


def test_bad_input_is_told_in_the_words_of_the_command(studio: RunningStudio, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:300])
    (tmp_path / "empty.mov").write_bytes(b"")
    (tmp_path / "notes.mkv").write_text("no clip at all\n" * 99)
    (tmp_path / "half.jpg").write_bytes(cv2.imencode(".jpg", picture(0, 96, 96))[1].tobytes()[:500])
    for name, kind in (("broken.mp4", "video"), ("empty.mov", "video"), ("notes.mkv", "video"), ("half.jpg", "image")):
        clip_id = studio.upload(tmp_path / name)
        told = studio.wait(lambda one: one["state"] == "failed", clip_id)["error"]
        suffix = "png" if kind == "image" else "mp4"
        said = run(kind, tmp_path / name, tmp_path / f"out.{suffix}").stderr.removeprefix("Error: ").strip()
        assert told == said.replace(f"{tmp_path}/", "")
        studio.http.delete(f"/api/clips/{clip_id}")


def test_the_result_is_what_the_command_makes(studio: RunningStudio, tmp_path: Path, weights: str) -> None:
    spec = ClipSpec(num_frames=20, audio="aac", options=_QUICK, rotation_deg=90)
    clip = make_clip(tmp_path / "gig.mp4", spec)
    clip_id = studio.upload(clip, "My gig (live).mp4")
    studio.start(clip_id, strength=0.5)
    done = studio.wait(lambda one: one["state"] in ("done", "failed"), clip_id)
    assert (done["error"], done["result"]) == ("", "My gig (live).deblurred.mp4")
    assert done["progress"]["num_frames"] == 20
    told = studio.http.get(f"/api/clips/{clip_id}/download")
    assert "My%20gig" in told.headers["content-disposition"]
    made = run("video", clip, tmp_path / "out.mp4", "--weights", weights, "--backend", "torch", "--strength", 0.5)
    assert made.returncode == 0, made.stderr
    assert told.content == (tmp_path / "out.mp4").read_bytes()
    part = studio.http.get(f"/api/clips/{clip_id}/result", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, told.content[100:200])
    for what in ("newest-before", "newest-after"):
        data = studio.http.get(f"/api/clips/{clip_id}/{what}").content
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == (64, 48, 3), "upright"
    studio.http.delete(f"/api/clips/{clip_id}")
    assert not (studio.folder / "clips" / clip_id).exists()


def test_a_moment_shows_the_frame_that_is_on_the_screen_then(studio: RunningStudio, clip: Path) -> None:
    clip_id = studio.upload(clip)
    studio.wait(lambda one: one["moment"] and "boxes" in one["moment"], clip_id)
    studio.ask(clip_id, "moment", time_s=0.25, quality="best")
    asked = studio.wait(lambda one: one["moment"]["wanted"] is None and one["moment"]["time_s"] < 0.3, clip_id)
    moment = asked["moment"]
    assert moment["time_s"] == pytest.approx(0.24)
    for what in ("before", "after", "heat"):
        data = studio.http.get(f"/api/clips/{clip_id}/moment-{what}").content
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        shown = decoded[:, :, ::-1]
        assert shown.shape == (48, 64, 3)
        if what == "before":
            assert np.abs(shown.astype(int) - picture(6, 48, 64)).mean() < 6
    assert studio.wait(lambda one: "best" in one["estimate_s"], clip_id)["estimate_s"]["best"] > 0
    studio.http.delete(f"/api/clips/{clip_id}")


def test_two_seconds_are_tried_before_and_after(studio: RunningStudio, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "gig.mkv", ClipSpec(num_frames=75, audio="aac", options=_QUICK))
    clip_id = studio.upload(source)
    studio.wait(lambda one: one["state"] == "ready", clip_id)
    studio.ask(clip_id, "trial", quality="best", strength=1, start_s=0.48)
    trial = studio.wait(lambda one: one["trial"]["state"] != "making", clip_id)["trial"]
    assert (trial["state"], trial["error"]) == ("ready", "")
    stamps = []
    for which in ("before", "after"):
        path = tmp_path / f"{which}.mp4"
        path.write_bytes(studio.http.get(f"/api/clips/{clip_id}/trial-{which}").content)
        stamps.append([frame.pts * frame.time_base for frame in frames_of(path)])
    assert stamps[0] == stamps[1]
    assert len(stamps[0]) == 50
    studio.http.delete(f"/api/clips/{clip_id}")


def test_a_copy_for_looking_plays_everywhere_and_keeps_time_and_turn(studio: RunningStudio, tmp_path: Path) -> None:
    spec = ClipSpec(
        height=64, width=96, num_frames=30, codec="libx265", pixel_format="yuv420p10le", audio="flac", rotation_deg=90,
        options={"crf": "20", "preset": "ultrafast", "x265-params": "log-level=error"},
    )  # fmt: skip
    source = make_clip(tmp_path / "phone.mp4", spec)
    clip_id = studio.upload(source)
    facts = studio.wait(lambda one: one["state"] == "ready", clip_id)["facts"]
    assert (facts["height"], facts["width"], facts["has_sound"], facts["num_frames"]) == (96, 64, True, 30)
    studio.ask(clip_id, "copy", of="source")
    assert studio.wait(lambda one: one["copies"].get("source") != "making", clip_id)["copies"] == {"source": "ready"}
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(studio.http.get(f"/api/clips/{clip_id}/source-copy").content)
    video, audio = stream_facts(copy)
    assert (video.codec, audio.codec) == ("h264", "aac")
    assert video.times_s == stream_facts(source)[0].times_s
    with av.open(str(copy)) as opened:
        frame = next(opened.decode(video=0))
        assert (frame.format.name, frame.rotation) == ("yuv420p", 90)
    studio.http.delete(f"/api/clips/{clip_id}")


def test_a_clip_in_hdr_is_shown_in_ordinary_brightness(studio: RunningStudio, tmp_path: Path) -> None:
    colour = Colour(primaries=9, transfer=18, matrix=9, range=1)
    options = {"crf": "5", "preset": "ultrafast", "x265-params": "log-level=error"}
    spec = ClipSpec(num_frames=12, codec="libx265", pixel_format="yuv420p10le", colour=colour, options=options)
    source = make_clip(tmp_path / "phone.mp4", spec)
    with open_reader(source, ReaderOptions()) as reader:
        expected = [in_ordinary_light(np.asarray(frame.pixels), colour).astype(int) for frame in reader.frames()]
    pale = np.abs(expected[6] - picture(6, 48, 64)).mean()
    clip_id = studio.upload(source)
    assert studio.wait(lambda one: one["state"] == "ready", clip_id)["facts"]["is_hdr"]
    studio.ask(clip_id, "moment", time_s=0.25, quality="best")
    studio.wait(lambda one: one["moment"]["wanted"] is None and one["moment"]["time_s"] == pytest.approx(0.24), clip_id)
    data = studio.http.get(f"/api/clips/{clip_id}/moment-before").content
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert np.abs(expected[6] - decoded[:, :, ::-1]).mean() < 6 < pale
    studio.ask(clip_id, "trial", quality="best", strength=1, start_s=0)
    studio.ask(clip_id, "copy", of="source")
    assert studio.wait(lambda one: one["trial"]["state"] != "making", clip_id)["trial"]["error"] == ""
    assert studio.wait(lambda one: one["copies"].get("source") != "making", clip_id)["copies"] == {"source": "ready"}
    for what in ("source-copy", "trial-before", "trial-after"):
        path = tmp_path / f"{what}.mp4"
        path.write_bytes(studio.http.get(f"/api/clips/{clip_id}/{what}").content)
        frames = frames_of(path)
        assert [frame.time for frame in frames] == pytest.approx([number / 25 for number in range(12)])
        assert (frames[0].format.name, frames[0].color_trc, frames[0].colorspace) == ("yuv420p", 1, 1)
        if what != "trial-after":
            assert np.abs(expected[6] - rgb_of(frames[6], matrix=1)).mean() < 8
    studio.start(clip_id)
    done = studio.wait(lambda one: one["state"] in ("done", "failed"), clip_id)
    assert done["error"] == ""
    (tmp_path / "result.mp4").write_bytes(studio.http.get(f"/api/clips/{clip_id}/download").content)
    result = frames_of(tmp_path / "result.mp4")[0]
    assert (result.format.name, result.color_trc) == ("yuv420p10le", 18), "the download stays in HDR"
    data = studio.http.get(f"/api/clips/{clip_id}/newest-before").content
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert min(np.abs(frame - decoded[:, :, ::-1]).mean() for frame in expected) < 6
    studio.http.delete(f"/api/clips/{clip_id}")


def test_a_picture_becomes_sharper_too(studio: RunningStudio, tmp_path: Path, weights: str) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), picture(3, 120, 160))
    clip_id = studio.upload(tmp_path / "photo.png")
    studio.start(clip_id)
    done = studio.wait(lambda one: one["state"] in ("done", "failed"), clip_id)
    assert (done["error"], done["result"]) == ("", "photo.deblurred.png")
    made = run("image", tmp_path / "photo.png", tmp_path / "out.png", "--weights", weights, "--backend", "torch")
    assert made.returncode == 0, made.stderr
    assert studio.http.get(f"/api/clips/{clip_id}/download").content == (tmp_path / "out.png").read_bytes()
    studio.http.delete(f"/api/clips/{clip_id}")


def test_several_clips_are_a_queue_and_a_paused_one_lets_others_pass(studio: RunningStudio, tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", ClipSpec(num_frames=400, options=_QUICK))
    short = make_clip(tmp_path / "short.mp4", ClipSpec(num_frames=10, options=_QUICK))
    first, second = studio.upload(long), studio.upload(short)
    studio.start(first)
    studio.start(second)
    studio.wait(lambda one: one["state"] == "running" and one["progress"], first)
    assert studio.clip(second)["state"] == "waiting"
    studio.ask(first, "pause")
    paused = studio.wait(lambda one: one["state"] == "paused", first)["progress"]["num_frames"]
    studio.ask(second, "pause")
    studio.ask(second, "resume")
    studio.wait(lambda one: one["state"] == "done", second)
    assert studio.clip(first)["state"] == "paused"
    assert studio.clip(first)["progress"]["num_frames"] <= paused + 3, "at rest"
    studio.ask(first, "resume")
    studio.wait(lambda one: one["state"] == "running" and one["progress"]["num_frames"] > paused + 3, first)
    studio.ask(first, "cancel")
    assert studio.wait(lambda one: one["state"] == "ready" and not one["is_ending"], first)["progress"] is None
    assert list((studio.folder / "clips" / first / "out").iterdir()) == []
    for clip_id in (first, second):
        studio.http.delete(f"/api/clips/{clip_id}")


@pytest.mark.alone
def test_the_page_is_answered_at_once_while_a_clip_is_made(studio: RunningStudio, tmp_path: Path) -> None:
    clip_id = studio.upload(make_clip(tmp_path / "long.mp4", ClipSpec(num_frames=400, options=_QUICK)))
    studio.start(clip_id)
    studio.wait(lambda one: one["progress"], clip_id)
    taken_s = []
    for _ in range(30):
        began_s = time.monotonic()
        assert studio.clip(clip_id)["state"] == "running"
        taken_s.append(time.monotonic() - began_s)
    assert median(taken_s) < 0.1
    studio.http.delete(f"/api/clips/{clip_id}")


def test_a_killed_studio_goes_on_where_it_was(tmp_path: Path, weights: str) -> None:
    options = {**_QUICK, "crf": "0"}  # frames that show the same are the same, and are computed once
    source = make_clip(tmp_path / "long.mp4", ClipSpec(num_frames=460, num_still=350, options=options))
    with RunningStudio(tmp_path / "studio", source, weights=weights) as first:
        clip_id = first.clip()["id"]
        first.start(clip_id)
        first.wait(lambda one: one["progress"] and one["progress"]["num_frames"] > 375, clip_id)
        first.end(signal.SIGKILL)
    with RunningStudio(tmp_path / "studio", weights=weights) as second:
        seen = second.wait(lambda one: one["state"] == "running" and one["progress"], clip_id)["progress"]["num_frames"]
        assert seen >= 360, "the finished segment is not made again"
        done = second.wait(lambda one: one["state"] in ("done", "failed"), clip_id)
        assert done["error"] == ""
        assert "360 of them by an earlier run" in done["summary"]
        made = second.http.get(f"/api/clips/{clip_id}/download").content
    straight = run("video", source, tmp_path / "out.mp4", "--weights", weights, "--backend", "torch")
    assert straight.returncode == 0, straight.stderr
    assert made == (tmp_path / "out.mp4").read_bytes()


def test_a_named_clip_is_read_where_it_lies_and_a_second_call_finds_the_page(
    tmp_path: Path, clip: Path, weights: str
) -> None:
    other = make_clip(tmp_path / "other.mp4", ClipSpec(num_frames=12, options=_QUICK))
    with RunningStudio(tmp_path / "studio", clip, weights=weights) as studio:
        clip_id = studio.wait(lambda one: one["state"] == "ready")["id"]
        told = run("studio", other, "--folder", tmp_path / "studio", "--no-open")
        assert told.returncode == 0, told.stderr
        assert studio.address in told.stderr
        studio.wait(lambda one: one["name"] == "other.mp4" and one["state"] == "ready")
        copies = [path for path in (tmp_path / "studio").rglob("*.mp4") if path.stat().st_size == clip.stat().st_size]
        assert copies == []
        assert studio.http.get(f"/api/clips/{clip_id}/source").content == clip.read_bytes()
        studio.http.delete(f"/api/clips/{clip_id}")
        assert [one["name"] for one in studio.clips()] == ["other.mp4"]
        code, out, errors = studio.end(signal.SIGTERM)
        assert (code, errors) == (0, "")
        assert '"num_clips": 1' in out
    assert clip.exists()


def test_a_studio_is_closed_in_the_middle_of_an_upload_without_a_word(tmp_path: Path, weights: str) -> None:
    with RunningStudio(tmp_path, weights=weights) as studio:
        host = studio.base.removeprefix("http://")
        with socket.create_connection(host.split(":")) as line:
            head = f"POST /api/clips?name=gig.mp4&token={studio.token} HTTP/1.1\r\nHost: {host}\r\n"
            line.sendall(f"{head}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 1000)
            until_s = time.monotonic() + 30
            while not list((tmp_path / "clips").iterdir()):
                assert time.monotonic() < until_s
            code, _, errors = studio.end(signal.SIGINT)
        assert (code, errors) == (0, "")


def test_a_name_that_is_no_file_is_refused(tmp_path: Path) -> None:
    told = run("studio", tmp_path / "none.mp4", "--folder", tmp_path / "studio", "--no-open")
    assert told.returncode == 1
    assert told.stderr == f"Error: {tmp_path / 'none.mp4'}: no such file\n"
