"""Time is kept: pauses, cuts inside a held frame, edit lists, recordings joined end to end."""

import itertools
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from concertdeblur.errors import UnsupportedStreamError, UsageError
from concertdeblur.media.timeline import read_timeline
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import STEP, ClipSpec, frames_of, make_clip, picture, same_planes, stream_facts

HELD = (0, 512, 1024, 1536, 60_000, 60_512, 61_024, 120_000, 120_512)  # two pauses
HELD_BEFORE_THE_LAST = (0, 512, 1024, 1536, 2048, 2560, 60_000)
WRITERS = ["pyav", pytest.param("ffmpeg", marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg"))]


def length_s(path: Path) -> float:
    """Length that the container states."""
    with av.open(str(path)) as clip:
        assert clip.duration is not None
        return clip.duration / 1e6


def video_length_s(path: Path) -> float:
    """Length that the steps of the video's packets add up to; of the container where the format has no such table."""
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert stream.time_base is not None
        return float(stream.duration * stream.time_base) if stream.duration else length_s(path)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("bframes", ["0", "3"])
@pytest.mark.parametrize("pts", [HELD, HELD_BEFORE_THE_LAST], ids=["pauses", "pause before the last frame"])
@pytest.mark.parametrize(("suffix_in", "suffix_out"), [*itertools.product([".mp4", ".mkv"], [".mp4", ".mov", ".mkv"])])
def test_a_paused_recording_keeps_its_length(
    tmp_path: Path, pts: tuple[int, ...], bframes: str, suffix_in: str, suffix_out: str, writer: Any
) -> None:
    options = {"crf": "20", "bf": bframes, "b-adapt": "0"}
    source = make_clip(tmp_path / f"in{suffix_in}", ClipSpec(pts=pts, options=options))
    target = tmp_path / f"out{suffix_out}"
    deblur_video(source, target, VideoJob(strength=0, writer=writer))
    wanted_s = (pts[-1] + STEP) / 12800
    assert length_s(target) == pytest.approx(wanted_s, abs=0.002)
    assert video_length_s(target) == pytest.approx(wanted_s, abs=0.002)
    times = [float(frame.time) for frame in frames_of(target)]
    assert times == pytest.approx([each / 12800 for each in pts], abs=0.001)


@pytest.mark.parametrize("codec", ["hevc", "av1", "ffv1"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_other_encoders_keep_the_length_too(tmp_path: Path, codec: str, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pts=HELD, height=64, options={"crf": "20", "bf": "2"}))
    deblur_video(source, tmp_path / f"out{suffix}", VideoJob(strength=0, codec=codec))
    assert length_s(tmp_path / f"out{suffix}") == pytest.approx((HELD[-1] + STEP) / 12800, abs=0.002)


@pytest.mark.parametrize("suffix_in", [".mp4", ".mkv"])
@pytest.mark.parametrize("suffix_out", [".mp4", ".mkv"])
def test_a_last_frame_that_is_held_stays_held(tmp_path: Path, suffix_in: str, suffix_out: str) -> None:
    plain = make_clip(tmp_path / "plain.mp4", ClipSpec(num_frames=10))
    source = tmp_path / f"in{suffix_in}"
    with av.open(str(plain)) as clip, av.open(str(source), "w") as output:
        stream = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        packets: list[Any] = [packet for packet in clip.demux(video=0) if packet.size]
        packets[-1].duration = 100 * STEP
        for packet in packets:
            packet.stream = stream
            output.mux_one(packet)
    assert length_s(source) == pytest.approx((9 + 100) * 0.04)
    summary = deblur_video(source, tmp_path / f"out{suffix_out}", VideoJob(strength=0))
    assert not any("early" in warning for warning in summary.warnings)
    assert length_s(tmp_path / f"out{suffix_out}") == pytest.approx((9 + 100) * 0.04, abs=0.002)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cut_lasts_as_long_as_was_asked_for(tmp_path: Path, suffix: str, writer: Any) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pts=HELD, audio="aac", options={"crf": "0", "bf": "2"}))
    target = tmp_path / f"out{suffix}"
    deblur_video(source, target, VideoJob(strength=0, crf=0, writer=writer, start_s=Fraction(2), end_s=Fraction(6)))
    made = frames_of(target)
    assert [float(frame.time) for frame in made] == pytest.approx(
        [0, *(pts / 12800 - 2 for pts in (60_000, 60_512, 61_024))], abs=0.001
    )
    assert np.array_equal(made[0].to_ndarray(), frames_of(source)[3].to_ndarray())
    assert video_length_s(target) == pytest.approx(4, abs=0.03)
    sound = stream_facts(target)[1]
    assert float(sound.times_s[0]) == pytest.approx(0, abs=1024 / 48000)
    assert float(sound.times_s[-1] - sound.times_s[0]) == pytest.approx(4 - 1024 / 48000, abs=1024 / 48000)


def secret_clip(path: Path, *, encoder: str = "aac", rate: int = 44100) -> Path:
    """2 s of which an edit list hides the first: a tone is heard in the hidden one only."""
    size = 1024 if encoder == "aac" else 960
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("libx264", rate=25, options={"g": "25", "bf": "0"})
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        audio: Any = output.add_stream(encoder, rate=rate, layout="mono")
        packets: list[Any] = []
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, 64), "rgb24")
            frame.pts, frame.time_base = number - 25, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        time_s = np.arange(2 * rate) / rate
        tone = (0.5 * np.sin(2 * np.pi * 880 * time_s) * (time_s < 0.9)).astype(np.float32)
        for start in range(0, 2 * rate - size, size):
            sound = av.AudioFrame.from_ndarray(
                tone[None, start : start + size], "fltp" if size == 1024 else "flt", "mono"
            )
            sound.sample_rate, sound.pts, sound.time_base = rate, start - rate, Fraction(1, rate)
            packets += audio.encode(sound)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            output.mux_one(packet)
    return path


def heard(path: Path) -> tuple[float, Any]:
    """When sound begins, in seconds, and its samples."""
    with av.open(str(path)) as clip:
        frames: list[Any] = list(clip.decode(audio=0))
    return float(frames[0].time), np.concatenate([frame.to_ndarray() for frame in frames], axis=1)[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("audio", ["copy", "flac"])
def test_what_an_edit_list_hides_does_not_come_back(tmp_path: Path, suffix: str, audio: Any) -> None:
    source = secret_clip(tmp_path / "in.mp4")
    begin_s, samples = heard(source)
    assert np.abs(samples).max() < 0.05  # a player hears no tone
    target = tmp_path / f"out{suffix}"
    if (audio, suffix) == ("flac", ".mov"):
        pytest.skip("mov holds no flac")
    deblur_video(source, target, VideoJob(strength=0, audio=audio))
    made_s, made = heard(target)
    scale = 32768 if made.dtype == np.int16 else 1
    assert np.abs(made / scale).max() < 0.05
    assert made_s == pytest.approx(begin_s, abs=0.025)
    assert len(made) == pytest.approx(len(samples), abs=2048)
    assert [float(f.time) for f in frames_of(target)] == pytest.approx([n / 25 for n in range(25)], abs=0.001)
    with av.open(str(target)) as clip:
        hidden_s = [float(p.pts * p.time_base) for p in clip.demux(audio=0) if p.pts is not None and p.size]
    assert min(hidden_s) >= -0.08  # no more than what primes a decoder


@pytest.mark.parametrize(("encoder", "rate"), [("aac", 44100), ("libopus", 48000)])
def test_what_was_cut_off_is_not_even_in_a_file_that_cannot_hide(tmp_path: Path, encoder: str, rate: int) -> None:
    source, target = secret_clip(tmp_path / "in.mp4", encoder=encoder, rate=rate), tmp_path / "out.mkv"
    summary = deblur_video(source, target, VideoJob(strength=0))
    assert not any("later" in warning for warning in summary.warnings)
    with av.open(str(target)) as clip:
        sound_s = [float(p.pts * p.time_base) for p in clip.demux(audio=0) if p.pts is not None and p.size]
    skipped_s = 312 / 48000 if encoder == "libopus" else 0  # what every player of Opus leaves out
    assert -skipped_s - 0.002 <= sound_s[0] < 0.025
    assert sound_s[-1] == pytest.approx(1, abs=0.06)


def joined(path: Path, parts: list[Path]) -> Path:
    """Files one after the other, as `cat` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def recording(
    path: Path, *, begin_s: Fraction, num_frames: int = 25, codec: str = "libx264", width: int = 64, gop: int = 12
) -> Path:
    """A transport or program stream whose time begins somewhere."""
    base = Fraction(1, 90_000) if codec == "libx264" else Fraction(1, 25)
    pts = tuple(int((begin_s + Fraction(number, 25)) / base) for number in range(num_frames))
    options = {"bf": "2", "g": str(gop)} | ({"crf": "20"} if codec == "libx264" else {})
    with av.open(str(path), "w", format="mpegts" if path.suffix == ".ts" else "vob") as output:
        video: Any = output.add_stream(codec, rate=25, options=options)
        video.height, video.width, video.pix_fmt = 48, width, "yuv420p"
        video.time_base = video.codec_context.time_base = base
        sound: Any = output.add_stream("mp2", rate=48_000, layout="stereo")
        packets: list[Any] = []
        for number, stamp in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, width), "rgb24")
            frame.pts, frame.time_base = stamp, base
            packets += video.encode(frame)
        packets += video.encode(None)
        for start in range(0, num_frames * 1920, 1152):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), "s16", "stereo")
            silence.sample_rate, silence.time_base = 48_000, Fraction(1, 48_000)
            silence.pts = start + int(begin_s * 48_000)
            packets += sound.encode(silence)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            output.mux_one(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    "begins_s",
    [(0, 0), (10, 3), (5, 5, 1), (0, 40_000), (0, 90), (100, 1)],
    ids=["twice", "back", "thrice", "leap", "short leap", "far back"],
)
def test_joined_recordings_follow_one_another(tmp_path: Path, suffix: str, begins_s: tuple[int, ...]) -> None:
    parts = [recording(tmp_path / f"{n}.ts", begin_s=Fraction(begin)) for n, begin in enumerate(begins_s)]
    source, target = joined(tmp_path / "in.ts", parts), tmp_path / f"out{suffix}"
    summary = deblur_video(source, target, VideoJob(strength=0))
    assert sum("time begins anew" in warning and " s, sound too" in warning for warning in summary.warnings) == 1
    times = [float(frame.time) for frame in frames_of(target)]
    assert len(times) == 25 * len(parts)
    steps = np.diff(times)
    assert np.delete(steps, np.arange(24, len(steps), 25)) == pytest.approx(0.04, abs=0.0011)
    assert steps[24::25] == pytest.approx(0.04, abs=0.06)  # sound may last longer than the picture
    sound = [float(time_s) for time_s in stream_facts(target)[1].times_s]
    assert np.diff(sound).min() >= 0.02
    assert sound[-1] - sound[0] == pytest.approx(times[-1] - times[0], abs=0.15)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_joined_program_streams(tmp_path: Path, suffix: str) -> None:
    parts = [recording(tmp_path / f"{n}.vob", begin_s=Fraction(0), codec="mpeg2video") for n in range(3)]
    source, target = joined(tmp_path / "in.vob", parts), tmp_path / f"out{suffix}"
    summary = deblur_video(source, target, VideoJob(strength=0))
    assert not any("not after the one before" in warning for warning in summary.warnings)
    steps = np.diff([float(frame.time) for frame in frames_of(target)])
    assert len(steps) == 25 * 3 - 1
    assert steps == pytest.approx(0.04, abs=0.08)
    assert steps.min() > 0.03


def test_a_part_of_joined_recordings(tmp_path: Path) -> None:
    parts = [recording(tmp_path / f"{n}.ts", begin_s=Fraction(0)) for n in range(2)]
    source = joined(tmp_path / "in.ts", parts)
    deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, start_s=Fraction(3, 2), end_s=Fraction(19, 10)))
    times = [float(frame.time) for frame in frames_of(tmp_path / "out.mp4")]
    assert len(times) in (10, 11)
    assert times[0] == 0
    assert video_length_s(tmp_path / "out.mp4") == pytest.approx(0.4, abs=0.04)


def test_the_seconds_that_are_said_are_those_of_the_recordings(tmp_path: Path) -> None:
    parts = [recording(tmp_path / f"{n}.ts", begin_s=Fraction(begin)) for n, begin in enumerate((100, 1))]
    told = read_timeline(joined(tmp_path / "in.ts", parts)).text()
    assert float(told.split("moved by ")[1].split(" s")[0]) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(("suffix_in", "codec"), [(".ts", "libx264"), (".vob", "mpeg2video")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clock_that_begins_anew_within_a_recording(tmp_path: Path, suffix_in: str, codec: str, suffix: str) -> None:
    begin_s = Fraction(2**33, 90_000) - Fraction(13, 25)  # 33 bits are then used up
    source = recording(tmp_path / f"in{suffix_in}", begin_s=begin_s, codec=codec)
    summary = deblur_video(source, tmp_path / f"out{suffix}", VideoJob(strength=0))
    assert any("clock begins anew" in warning for warning in summary.warnings)
    assert not any("later" in warning for warning in summary.warnings)
    times = [float(frame.time) for frame in frames_of(tmp_path / f"out{suffix}")]
    assert len(times) == 25
    assert np.diff(times) == pytest.approx(0.04, abs=0.0011)
    sound = [float(time_s) for time_s in stream_facts(tmp_path / f"out{suffix}")[1].times_s]
    assert len(sound) == len(stream_facts(source)[1].times_s)
    assert min(times[0], sound[0]) == pytest.approx(0, abs=0.001)
    cut = VideoJob(strength=0, start_s=Fraction(1, 5), end_s=Fraction(4, 5))  # across the place
    deblur_video(source, tmp_path / f"cut{suffix}", cut)
    assert len(frames_of(tmp_path / f"cut{suffix}")) in (15, 16)


def test_a_picture_size_that_changes_is_seen_before_work(tmp_path: Path) -> None:
    parts = [recording(tmp_path / f"{width}.ts", begin_s=Fraction(5), width=width) for width in (64, 80)]
    source, target = joined(tmp_path / "in.ts", parts), tmp_path / "out.mp4"
    told: list[object] = []
    with pytest.raises(UnsupportedStreamError, match=r"from 64x48 to 80x48 at 1\.0\d s.*--end"):
        deblur_video(source, target, VideoJob(strength=0), on_progress=told.append)
    assert told == []
    deblur_video(source, target, VideoJob(strength=0, end_s=Fraction(1)))
    assert len(frames_of(target)) == 25
    deblur_video(source, tmp_path / "second.mp4", VideoJob(strength=0, start_s=Fraction(11, 10)))
    assert {frame.width for frame in frames_of(tmp_path / "second.mp4")} == {80}


def test_a_cut_of_a_stream_with_one_key_frame_shows_what_was_asked_for(tmp_path: Path) -> None:
    source, target = recording(tmp_path / "in.ts", begin_s=Fraction(3), gop=250), tmp_path / "out.mp4"
    summary = deblur_video(source, target, VideoJob(strength=0, crf=0, start_s=Fraction(2, 5), end_s=Fraction(4, 5)))
    assert summary.num_broken == 0
    wanted, made = frames_of(source)[10:20], frames_of(target)
    assert len(made) == len(wanted)
    assert all(same_planes(first, second) for first, second in zip(wanted, made, strict=True))


def test_a_part_behind_the_end_names_the_end(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(UsageError, match=r"no frame between start and end; the last one ends at 0\.48 s"):
        deblur_video(source, tmp_path / "out.mp4", VideoJob(strength=0, start_s=Fraction(5)))


def test_the_beginning_of_one_frame_is_not_misread(tmp_path: Path) -> None:
    source = recording(tmp_path / "in.ts", begin_s=Fraction(3), num_frames=1)
    summary = deblur_video(source, tmp_path / "out.mkv", VideoJob(strength=0))
    assert not any("later" in warning for warning in summary.warnings)


def test_sound_that_is_away_for_minutes_sets_no_clock(tmp_path: Path) -> None:
    path, stamps = tmp_path / "in.ts", [*range(5), *range(100, 105)]
    with av.open(str(path), "w", format="mpegts") as output:
        video: Any = output.add_stream("libx264", rate=1, options={"g": "10", "bf": "0"})
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sound: Any = output.add_stream("mp2", rate=48_000, layout="stereo")
        packets: list[Any] = []
        for number in range(105):
            frame = av.VideoFrame.from_ndarray(picture(number, 48, 64), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1)
            packets += video.encode(frame)
        packets += video.encode(None)
        for second in stamps:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1152), np.int16), "s16", "stereo")
            silence.sample_rate, silence.time_base, silence.pts = 48_000, Fraction(1, 48_000), second * 48_000
            packets += sound.encode(silence)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            output.mux_one(packet)
    assert not read_timeline(path).is_joined


def test_a_fragmented_file_that_is_cut_off_is_named_as_that(tmp_path: Path) -> None:
    plain, whole = make_clip(tmp_path / "plain.mp4", ClipSpec(num_frames=50)), tmp_path / "whole.mp4"
    with (
        av.open(str(plain)) as clip,
        av.open(str(whole), "w", container_options={"movflags": "empty_moov+frag_keyframe"}) as output,
    ):
        stream = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux_one(packet)
    assert deblur_video(whole, tmp_path / "a.mp4", VideoJob(strength=0)).warnings == ()
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    told = deblur_video(tmp_path / "cut.mp4", tmp_path / "b.mp4", VideoJob(strength=0)).warnings
    assert any("cut.mp4: ends early" in warning for warning in told)


def test_one_recording_and_a_pause_are_no_new_time(tmp_path: Path) -> None:
    assert not read_timeline(recording(tmp_path / "one.ts", begin_s=Fraction(7))).is_joined
    parts = [recording(tmp_path / f"{n}.ts", begin_s=Fraction(begin)) for n, begin in enumerate((0, 21))]
    assert not read_timeline(joined(tmp_path / "pause.ts", parts)).is_joined
    assert not read_timeline(make_clip(tmp_path / "held.mkv", ClipSpec(pts=HELD))).is_joined


@pytest.mark.parametrize("rate_fps", [4, 10])
def test_frames_in_another_order_than_shown_are_no_new_time(tmp_path: Path, rate_fps: int) -> None:
    """Matroska does not say when its first packets are decoded, so a frame of later seems to come before others."""
    pts = tuple(number * 12800 // rate_fps for number in range(20))
    options = {"crf": "20", "bf": "3", "b-adapt": "0"}
    source = make_clip(tmp_path / "in.mkv", ClipSpec(pts=pts, audio="aac", options=options))
    for target, codec in ((tmp_path / "once.mkv", "h264"), (tmp_path / "twice.mkv", "hevc")):
        assert deblur_video(source, target, VideoJob(strength=0, codec=codec)).warnings == ()
        assert [facts.times_s for facts in stream_facts(target)] == [facts.times_s for facts in stream_facts(source)]
        source = target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_second_video_keeps_its_time_stamps_where_the_first_packets_have_no_dts(tmp_path: Path, suffix: str) -> None:
    options = {"crf": "20", "bf": "3", "b-adapt": "0"}
    source = make_clip(tmp_path / "in.mkv", ClipSpec(num_videos=2, num_still=12, options=options))
    target = tmp_path / f"out{suffix}"
    assert deblur_video(source, target, VideoJob(strength=0)).warnings == ()
    assert stream_facts(target)[1].times_s == stream_facts(source)[1].times_s
    assert stream_facts(target)[1].payloads == stream_facts(source)[1].payloads
    assert [frame.time for frame in frames_of(target, 1)] == pytest.approx([n / 25 for n in range(12)])


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_sound_whose_packets_share_a_millisecond_keeps_its_time(tmp_path: Path, suffix: str) -> None:
    """As packets of TrueHD do in Matroska: they last 0.83 ms."""
    plain, source = make_clip(tmp_path / "plain.mp4", ClipSpec(num_frames=25)), tmp_path / "in.mkv"
    with av.open(str(plain)) as clip, av.open(str(source), "w") as output:
        video = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        sound: Any = output.add_stream("pcm_s16le", rate=48_000, layout="mono")
        packets: list[Any] = [packet for packet in clip.demux(video=0) if packet.size]
        for packet in packets:
            packet.stream = video
        for start in range(0, 48_000, 40):
            made: Any = av.Packet(bytes(80))
            made.pts = made.dts = start
            made.duration, made.time_base, made.stream = 40, Fraction(1, 48_000), sound
            packets.append(made)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            output.mux_one(packet)
    target = tmp_path / f"out{suffix}"
    deblur_video(source, target, VideoJob(strength=0))
    before, after = stream_facts(source)[1], stream_facts(target)[1]
    assert len(set(before.times_s)) < len(before.times_s)
    if suffix == ".mkv":
        assert after.payloads == before.payloads
        assert after.times_s == before.times_s
    assert float(after.times_s[-1]) == pytest.approx(1, abs=0.025)


@pytest.mark.parametrize("audio", ["copy", "opus"])
def test_sound_that_begins_late_is_found(tmp_path: Path, audio: Any) -> None:
    """FFmpeg looks for streams in the first seconds of a transport stream only."""
    pts = tuple(range(0, 14 * 12800, 1280))
    source = make_clip(tmp_path / "in.ts", ClipSpec(pts=pts, audio="aac", sound_begins_s=12))
    target = tmp_path / "out.mkv"
    assert deblur_video(source, target, VideoJob(strength=0, audio=audio)).warnings == ()
    video, sound = stream_facts(target)
    assert float(sound.times_s[0] - video.times_s[0]) == pytest.approx(12, abs=0.05)
    assert float(sound.times_s[-1] - sound.times_s[0]) == pytest.approx(2, abs=0.1)
