"""Long clips are done in segments: a run that ended early goes on, and its output is that of one which did not."""

import contextlib
import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from concertdeblur import pretrained
from concertdeblur.deblurring.deblurrer import DeblurOptions
from concertdeblur.errors import Interrupted, SourceError, TargetError
from concertdeblur.evaluation.metrics import as_float, warping_error
from concertdeblur.frame import Frame
from concertdeblur.media import joining
from concertdeblur.pipelines import quality
from concertdeblur.pipelines.deblur_video import Progress, VideoJob, VideoSummary, deblur_video
from concertdeblur.pipelines.segments import cutting, segmented_run
from concertdeblur.pipelines.segments.segmented_run import WARM_UP_FRAMES
from concertdeblur.pipelines.segments.work_folder import WorkFolder
from concertdeblur.psnr import psnr_db
from tests import moving_clips
from tests.clips import STEP, VFR_PTS, ClipSpec, frames_of, make_clip, same_planes, stream_facts
from tests.commands import environment, events
from tests.concert_clips import write_clip
from tests.weight_sets import random_weight_set

_OPTIONS = {"crf": "10", "preset": "ultrafast", "g": "5"}
_SOUND: dict[str, Any] = {"audio": "aac", "tags": {"title": "A song"}, "chapters": ((0, 500, "one"), (500, 900, "two"))}


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts every 10 to 16 frames."""
    monkeypatch.setattr(cutting, "LEAST_FRAMES", 10)
    monkeypatch.setattr(cutting, "MOST_FRAMES", 16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random networks."""
    return str(random_weight_set(tmp_path_factory.mktemp("weights") / "set"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A clip of four segments with sound, tags and chapters; every fifth frame is a key frame."""
    return make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=48, options=_OPTIONS, **_SOUND))


def work_folder(target: Path) -> Path:
    """Where segments wait."""
    return target.with_name(f".{target.name}.concertdeblur")


def stopped(source: Path, target: Path, job: VideoJob, *, after: int) -> str:
    """A run that is stopped after some frames; gives what it says."""
    stop = threading.Event()

    def on_progress(progress: Progress) -> None:
        if progress.num_frames >= after:
            stop.set()

    with pytest.raises(Interrupted) as told:
        deblur_video(source, target, job, on_progress=on_progress, stop=stop)
    return str(told.value)


def whole(source: Path, target: Path, job: VideoJob) -> tuple[VideoSummary, list[str], list[int]]:
    """A run to the end: its summary, its notes, and the numbers of frames that it told of."""
    notes: list[str] = []
    seen: list[int] = []
    made = deblur_video(
        source, target, job, on_note=notes.append, on_progress=lambda progress: seen.append(progress.num_frames)
    )
    return made, notes, seen


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path, source: Path, weights: str, suffix: str) -> None:
    job = VideoJob(weights=weights, backend="torch")
    whole(source, tmp_path / f"straight{suffix}", job)
    target = tmp_path / f"out{suffix}"
    told = stopped(source, target, job, after=27)
    assert told == "stopped after 27 of 48 frames; 20 of them are kept, and the same command goes on from there"
    assert not target.exists()
    summary, notes, seen = whole(source, target, job)
    assert notes == ["20 of 48 frames were done by an earlier run; this one goes on from there"]
    assert seen == [10, 20, *range(21, 49)]
    assert (summary.num_frames, summary.num_frames_before) == (48, 20)
    if suffix == ".mp4":  # Matroska draws a number for each file
        assert target.read_bytes() == (tmp_path / f"straight{suffix}").read_bytes()
    assert stream_facts(target) == stream_facts(tmp_path / f"straight{suffix}")
    assert not work_folder(target).exists()


@pytest.mark.usefixtures("short_segments")
def test_the_extra_videos_go_on_too(tmp_path: Path, source: Path, weights: str) -> None:
    def job(name: str) -> VideoJob:
        extras = {extra: tmp_path / f"{name}_{extra}.mp4" for extra in ("heatmap", "compare")}
        return VideoJob(weights=weights, backend="torch", refine=False, **extras)  # type: ignore[arg-type]

    whole(source, tmp_path / "straight.mp4", job("straight"))
    stopped(source, tmp_path / "out.mp4", job("out"), after=33)
    whole(source, tmp_path / "out.mp4", job("out"))
    for extra in ("", "_heatmap", "_compare"):
        made = tmp_path / f"out{extra}.mp4"
        assert made.read_bytes() == (tmp_path / f"straight{extra}.mp4").read_bytes()
        assert [frame.pts for frame in frames_of(made)] == [STEP * number for number in range(48)]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("h264", ".mp4"),
        ("h264", ".mkv"),
        ("hevc", ".mp4"),
        ("av1", ".webm"),
        ("av1", ".mp4"),
        ("ffv1", ".mkv"),
        ("prores", ".mov"),
    ],
)
def test_every_frame_and_time_stamp_survives_the_joining(tmp_path: Path, codec: str, suffix: str) -> None:
    pts = tuple(p + 9000 * k for k in range(4) for p in VFR_PTS)
    sound = "libopus" if suffix == ".webm" else "aac"
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pts=pts, height=64, options=_OPTIONS, audio=sound))
    target = tmp_path / f"out{suffix}"
    preset = {"h264": "fast", "hevc": "ultrafast", "av1": "12"}.get(codec)
    deblur_video(source, target, VideoJob(strength=0, codec=codec, preset=preset), on_progress=lambda _: None)
    before, after = frames_of(source), frames_of(target)
    assert len(after) == 48
    for first, made in zip(before, after, strict=True):
        assert abs(first.pts * first.time_base - made.pts * made.time_base) <= made.time_base / 2
        assert not made.is_corrupt
        if codec == "ffv1":
            assert same_planes(first, made)
    assert stream_facts(target)[1].payloads == stream_facts(source)[1].payloads
    with av.open(str(target)) as clip:
        stamps = [packet.dts for packet in clip.demux(video=0) if packet.dts is not None]
    assert stamps == sorted(stamps)
    assert suffix in (".mkv", ".webm") or len(set(stamps)) == 48  # those keep whole milliseconds


@pytest.mark.usefixtures("short_segments")
def test_a_part_of_a_clip_goes_on_too(tmp_path: Path, source: Path) -> None:
    job = VideoJob(strength=0, start_s=Fraction(1, 5), end_s=Fraction(8, 5))
    whole(source, tmp_path / "straight.mp4", job)
    stopped(source, tmp_path / "out.mp4", job, after=20)
    _, notes, _ = whole(source, tmp_path / "out.mp4", job)
    assert notes == ["10 of 35 frames were done by an earlier run; this one goes on from there"]
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "straight.mp4").read_bytes()
    assert [frame.pts for frame in frames_of(tmp_path / "out.mp4")] == [STEP * number for number in range(35)]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"strict": True}, "--strict was False and is True"),
        ({"crf": 30}, "encoding of the video was libx264 preset=medium crf=18 "),
        ({"restart": True}, "--restart"),
    ],
)
def test_other_settings_begin_anew_and_say_why(
    tmp_path: Path, source: Path, change: dict[str, Any], reason: str
) -> None:
    target = tmp_path / "out.mp4"
    stopped(source, target, VideoJob(strength=0), after=28)
    summary, notes, _ = whole(source, target, VideoJob(strength=0, **change))
    assert len(notes) == 1
    assert notes[0].startswith(f"begins anew, without the 20 frames of an earlier run: {reason}")
    assert summary.num_frames_before == 0


@pytest.mark.usefixtures("short_segments")
def test_another_source_and_other_weights_begin_anew(tmp_path: Path, source: Path, weights: str) -> None:
    target, job = tmp_path / "out.mp4", VideoJob(weights=weights, backend="torch", refine=False)
    stopped(source, target, job, after=15)
    other = tmp_path / "other"
    shutil.copytree(weights, other)
    with (other / "manifest.toml").open("a") as file:
        file.write("# another one\n")
    told = stopped(source, target, VideoJob(weights=str(other), backend="torch", refine=False), after=15)
    assert "10 of them are kept" in told
    _, notes, _ = whole(source, target, job)
    assert notes == ["begins anew, without the 10 frames of an earlier run: the weights changed"]
    target.unlink()
    stopped(source, target, job, after=15)
    make_clip(source, ClipSpec(num_frames=48, options={**_OPTIONS, "crf": "11"}, **_SOUND))
    _, notes, _ = whole(source, target, job)
    assert notes == ["begins anew, without the 10 frames of an earlier run: the source changed"]


@pytest.mark.usefixtures("short_segments")
def test_the_weight_set_that_auto_chose_stays(
    tmp_path: Path, source: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretrained.load(weights, device="cpu", backend="torch")
    made.name = "concert-fast"
    target, job = tmp_path / "out.mp4", VideoJob(refine=False, backend="torch")
    with monkeypatch.context() as patch:
        patch.setattr(quality, "load_for_clip", lambda *_, **__: made)
        stopped(source, target, job, after=15)
    asked: list[str] = []
    monkeypatch.setattr(pretrained, "load", lambda name, **_: asked.append(name) or made)  # type: ignore[func-returns-value]
    summary, _, _ = whole(source, target, job)
    assert asked == ["concert-fast"]
    assert summary.num_frames_before == 10


@pytest.mark.usefixtures("short_segments")
def test_choices_for_the_sound_keep_what_is_done(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.mp4"
    stopped(source, target, VideoJob(strength=0), after=30)
    summary, _, _ = whole(source, target, VideoJob(strength=0, audio="drop"))
    assert summary.num_frames_before == 20
    assert "audio" not in [facts.kind for facts in stream_facts(target)]


@pytest.mark.usefixtures("short_segments")
def test_a_segment_that_was_damaged_is_made_anew(tmp_path: Path, source: Path) -> None:
    whole(source, tmp_path / "straight.mp4", VideoJob(strength=0))
    target = tmp_path / "out.mp4"
    stopped(source, target, VideoJob(strength=0), after=36)
    first, second, *_ = sorted(work_folder(target).glob("*.packets"))
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    summary, _, _ = whole(source, target, VideoJob(strength=0))
    assert summary.num_frames_before == 10
    assert target.read_bytes() == (tmp_path / "straight.mp4").read_bytes()


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "asked": {}, "segments": {"a": {}}}'])
def test_a_manifest_that_makes_no_sense_counts_as_none(tmp_path: Path, source: Path, text: str) -> None:
    target = tmp_path / "out.mp4"
    stopped(source, target, VideoJob(strength=0), after=36)
    (work_folder(target) / "manifest.json").write_text(text)
    summary, notes, _ = whole(source, target, VideoJob(strength=0))
    assert (summary.num_frames, summary.num_frames_before, notes) == (48, 0, [])


@pytest.mark.usefixtures("short_segments")
def test_two_runs_do_not_share_a_folder(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out.mp4"
    with (
        WorkFolder(target),
        pytest.raises(TargetError, match=rf"another run \(process {os.getpid()} on .*\) is writing"),
    ):
        deblur_video(source, target, VideoJob(strength=0))
    assert whole(source, target, VideoJob(strength=0))[0].num_frames == 48


@pytest.mark.usefixtures("short_segments")
def test_a_full_disk_in_the_middle_loses_nothing(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, finish, calls = tmp_path / "out.mp4", joining.SegmentWriter.finish, []

    def full(writer: joining.SegmentWriter) -> str:
        calls.append(writer)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return finish(writer)

    with monkeypatch.context() as patch:
        patch.setattr(joining.SegmentWriter, "finish", full)
        with pytest.raises(TargetError, match=r"no space left on the device; 20 frames are done and kept: make room"):
            deblur_video(source, target, VideoJob(strength=0))
    assert whole(source, target, VideoJob(strength=0))[0].num_frames_before == 20


@pytest.mark.usefixtures("short_segments")
def test_a_full_disk_at_the_end_loses_nothing(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segmented_run, "sync_file", full)
        with pytest.raises(TargetError, match=r"no space left on the device; 48 frames are done and kept"):
            deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0))
    assert not (tmp_path / "out.mp4").exists()
    assert whole(source, tmp_path / "out.mp4", VideoJob(strength=0))[0].num_frames_before == 48


@pytest.mark.usefixtures("short_segments")
def test_a_disk_without_room_is_refused_before_work(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 500))
    seen: list[Progress] = []
    with pytest.raises(TargetError, match=r"needs about .* more on its disk, which has .* free; make room"):
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, codec="ffv1"), on_progress=seen.append)
    assert seen == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.usefixtures("short_segments")
def test_an_error_of_the_source_keeps_whole_segments_only(tmp_path: Path, weights: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=50, options=_OPTIONS))
    broken = bytearray(source.read_bytes())
    broken[-4000:-2000] = bytes(2000)  # of the last ten frames, which the third segment holds
    source.write_bytes(broken)
    job = VideoJob(weights=weights, backend="torch", strict=True)
    with pytest.raises(SourceError):
        deblur_video(source, tmp_path / "out.mp4", job)
    with WorkFolder(tmp_path / "out.mp4") as work:
        assert work.num_frames == 40


def test_a_short_clip_needs_no_folder(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=60))
    seen: list[list[str]] = []

    def on_progress(_: Progress) -> None:
        seen.append([path.name for path in tmp_path.glob("*.concertdeblur")])

    deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0), on_progress=on_progress)
    assert seen == [[]] * 60


@pytest.mark.slow
def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=2500, options={**_OPTIONS, "g": "50"}, **_SOUND))
    killed_at_random(10, [sys.executable, "-m", "concertdeblur"], source, "--strength", 0, "--preset", "veryslow")


@pytest.mark.slow
def test_sigkill_at_random_moments_of_the_shipped_networks(tmp_path: Path) -> None:
    light = moving_clips.scene()
    views = [moving_clips.exposed(light, 1.5 * number, 12.0)[:64, 40:136] for number in range(72)]
    source = write_clip(tmp_path / "in.mp4", views)
    shorter = (
        "from concertdeblur.pipelines.segments import cutting; cutting.LEAST_FRAMES, cutting.MOST_FRAMES = 10, 14;"
        " from concertdeblur.cli import main; main()"
    )
    killed_at_random(6, [sys.executable, "-c", shorter], source, "--quality", "best", "--device", "cpu")


def killed_at_random(times: int, program: list[str], source: Path, *choices: object) -> None:
    """A clip is done without a stop, and with many; both are the same byte for byte, and nothing else is left."""
    folder, moments = source.parent, np.random.default_rng(0)
    straight, target = folder / "straight.mp4", folder / "out.mp4"

    def started(output: Path) -> "subprocess.Popen[str]":
        args = [*program, "video", str(source), str(output), *map(str, choices), "--json"]
        return subprocess.Popen(args, stdout=subprocess.PIPE, env=environment(), text=True)

    def begun_after_s(child: "subprocess.Popen[str]") -> float:
        began_s = time.monotonic()
        assert child.stdout is not None
        next((line for line in child.stdout if '"progress"' in line), None)
        return time.monotonic() - began_s

    with started(straight) as child:
        start_s, began_s = begun_after_s(child), time.monotonic()
        child.communicate()
    assert child.returncode == 0
    work_s, num_killed = time.monotonic() - began_s, 0
    while num_killed < times and not target.exists():
        with started(target) as child:
            if num_killed % 4 == 3:  # while it starts
                time.sleep(moments.uniform(0.0, start_s))
            else:
                begun_after_s(child)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(moments.uniform(0.0, 0.2) * work_s)
            if child.poll() is None:
                child.kill()
                num_killed += 1
    assert num_killed > 2
    if not target.exists():
        with started(target) as child:
            told, _ = child.communicate()
        assert child.returncode == 0
        (note,) = [event["message"] for event in events(told) if event["event"] == "note"]
        assert "frames were done by an earlier run" in note
    assert target.read_bytes() == straight.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["in.mp4", "out.mp4", "straight.mp4"]


@pytest.mark.parametrize("weights", ["concert", "concert-fast"])
def test_seams_are_invisible(weights: str) -> None:
    num_frames, seam, step_px, light = 34, 24, 2, moving_clips.scene()
    sharp, given = (
        [moving_clips.exposed(light, step_px * number, smear_px)[20:148, 40:232] for number in range(num_frames)]
        for smear_px in (0.0, 14.0)
    )
    frames = [Frame(pts=number, pixels=pixels) for number, pixels in enumerate(given)]
    deblurrer, options = pretrained.load(weights, device="cpu"), DeblurOptions()
    straight = [np.asarray(made.frame.pixels) for made in deblurrer.stream(frames, options)]
    anew = [np.asarray(made.frame.pixels) for made in deblurrer.stream(frames[seam - WARM_UP_FRAMES :], options)]
    parted = straight[:seam] + anew[WARM_UP_FRAMES:]
    assert len(parted) == num_frames
    # much is changed, and almost nothing by where it began
    assert max(psnr_db(*pair, full_scale=255) for pair in zip(straight, given, strict=True)) < 42
    assert min(psnr_db(*pair, full_scale=255) for pair in zip(parted, straight, strict=True)) >= 50
    errors = [
        warping_error([as_float(clip[n]) for n in (place - 1, place)], [as_float(sharp[n]) for n in (place - 1, place)])
        for clip, place in ((parted, place) for place in range(seam - 6, seam + 7))
    ]
    at_seam = errors.pop(6)
    assert 0 < at_seam <= max(errors)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, codec: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40, height=64, width=96))
    made = set()
    for number in range(5):  # other memory each time: of what nobody wrote there
        left = [np.full(2**20 + 40_000 * number, number, np.uint8) for _ in range(number)]
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, codec=codec, overwrite=True))
        made.add((tmp_path / "out.mp4").read_bytes())
        del left
    assert len(made) == 1


@pytest.mark.usefixtures("short_segments")
def test_frames_are_freed_at_once_and_not_only_when_python_looks_for_cycles(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=160, options=_OPTIONS))
    gc.collect()
    before, most = _num_frames_in_memory(), 0

    def on_progress(progress: Progress) -> None:
        nonlocal most
        if progress.num_frames % 8 == 0:  # to look takes a quarter of a second
            most = max(most, _num_frames_in_memory() - before)

    gc.disable()
    try:
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0), on_progress=on_progress)
    finally:
        gc.enable()
    assert 0 < most < 50, "those that wait between decoder and encoder, and those by which a cut is found"


def _num_frames_in_memory() -> int:
    return sum(type(one) is av.VideoFrame for one in gc.get_objects())
