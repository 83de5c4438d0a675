"""What people ask for: sound that fits, files that play everywhere, codecs by the names they know, a preview."""

import re
import struct
import weakref
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from concertdeblur.deblurring.deblurrer import DeblurredFrame
from concertdeblur.errors import SourceError, UnsupportedStreamError, UsageError
from concertdeblur.frame import Colour
from concertdeblur.media.sound import SoundConverter
from concertdeblur.pipelines import preview as previewing
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from concertdeblur.pipelines.preview import preview, preview_target
from tests.clips import STEP, ClipSpec, frames_of, make_clip, stream_facts
from tests.commands import run, run_here

FFV1: dict[str, Any] = {"codec": "ffv1", "options": {}}


def warned(source: Path, target: Path, **choices: Any) -> tuple[str, ...]:
    """The warnings of a run at strength 0."""
    return deblur_video(source, target, VideoJob(strength=0, **choices)).warnings


def loudness(path: Path) -> tuple[float, float, float]:
    """When sound begins and how long it lasts, in seconds, and its root mean square; full scale is 1."""
    with av.open(str(path)) as clip:
        frames: list[Any] = list(clip.decode(audio=0))
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(float)
    if frames[0].format.name.startswith("u8"):
        samples = (samples - 128) / 128
    elif frames[0].format.name.startswith("s"):
        samples /= 2.0 ** (8 * frames[0].format.bytes - 1)
    length_s = sum(frame.samples for frame in frames) / frames[0].sample_rate
    return float(frames[0].time), length_s, float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize(
    ("given", "suffix", "audio", "made"),
    [
        ("pcm_u8", ".mp4", "aac", "aac"),
        ("pcm_u8", ".webm", "opus", "opus"),
        ("pcm_s16le", ".mkv", "flac", "flac"),
        ("ac3", ".mp4", "aac", "aac"),
        ("ac3", ".mkv", "opus", "opus"),
        ("aac", ".mp4", "aac", "aac"),
    ],
)
@pytest.mark.parametrize("writer", ["pyav", "ffmpeg"])
def test_sound_is_converted_on_request(
    tmp_path: Path, given: str, suffix: str, audio: Any, made: str, writer: Any
) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(height=64, num_frames=50, audio=given))
    target = tmp_path / f"out{suffix}"
    warned(source, target, audio=audio, writer=writer)
    assert [facts.codec for facts in stream_facts(target)][1] == made
    assert stream_facts(target)[1].metadata["language"] == stream_facts(source)[1].metadata["language"]
    (begin_s, length_s, level), (made_s, made_length_s, made_level) = loudness(source), loudness(target)
    assert made_s == pytest.approx(begin_s, abs=0.025)
    assert made_length_s == pytest.approx(length_s, abs=0.05)
    assert made_level == pytest.approx(level, rel=0.05)
    if given == made:
        assert stream_facts(target)[1].payloads == stream_facts(source)[1].payloads


@pytest.mark.parametrize("audio", ["aac", "opus", "flac"])
def test_sound_whose_last_samples_have_no_time_is_converted_whole(tmp_path: Path, audio: Any) -> None:
    """WMA's decoder gives its last frame at the end, without a time."""
    source = make_clip(tmp_path / "in.wmv", ClipSpec(num_frames=25, codec="wmv2", options={}, audio="wmav2"))
    deblur_video(source, tmp_path / "out.mkv", VideoJob(strength=0, audio=audio))
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mkv")) as after:
        num_before, num_after = (sum(f.samples for f in clip.decode(audio=0)) for clip in (before, after))
    assert num_after == pytest.approx(num_before, abs=2048)
    sound_s = [float(time_s) for time_s in stream_facts(tmp_path / "out.mkv")[1].times_s]
    assert sound_s[-1] - sound_s[0] == pytest.approx(num_before / 48_000, abs=0.1)


def test_converted_sound_is_cut_with_the_picture(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(num_frames=75, audio="pcm_s16le"))
    warned(source, tmp_path / "out.mp4", audio="aac", start_s=Fraction(1), end_s=Fraction("2.5"))
    begin_s, length_s, level = loudness(tmp_path / "out.mp4")
    assert begin_s == pytest.approx(0, abs=0.001)
    assert length_s == pytest.approx(1.5, abs=0.025)
    assert level > 0.1


@pytest.mark.parametrize("audio", ["aac", "opus", "flac"])
def test_sound_whose_channels_change_is_converted_whole(tmp_path: Path, audio: Any) -> None:
    """As in broadcasts, where a film in 5.1 follows on the news."""
    source, parts = tmp_path / "in.ts", []
    for number, layout in enumerate(("mono", "stereo")):
        pts = tuple((10 + 25 * number + each) * STEP for each in range(25))
        spec = ClipSpec(pts=pts, audio="mp2", layout=layout, sound_begins_s=pts[0] / 12800)
        parts.append(make_clip(tmp_path / f"{layout}.ts", spec).read_bytes())
    source.write_bytes(b"".join(parts))
    target = tmp_path / "out.mkv"
    deblur_video(source, target, VideoJob(strength=0, audio=audio))
    _, length_s, level = loudness(target)
    assert length_s == pytest.approx(2, abs=0.06)
    assert level > 0.1
    steps_s = np.diff([float(time_s) for time_s in stream_facts(target)[1].times_s])
    assert steps_s.max() < 2 * np.median(steps_s)


@pytest.mark.parametrize(
    ("layout", "made", "words"),
    [
        ("5.1(side)", "5.1", ""),
        ("quad(side)", "quad", ""),
        ("4.0", "quad", r"becomes opus: its channels \(4.0\) are mixed to quad"),
        ("2.1", "stereo", r"becomes opus: its channels \(2.1\) are mixed to stereo"),
    ],
)
def test_channels_are_kept_or_it_is_said(tmp_path: Path, layout: str, made: str, words: str) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(audio="flac", layout=layout))
    told = warned(source, tmp_path / "out.mkv", audio="opus")
    assert len(told) == bool(words)
    assert not words or re.search(words, told[0])
    with av.open(str(tmp_path / "out.mkv")) as clip:
        assert clip.streams.audio[0].layout.name == made


def test_aac_whose_channels_have_no_names_is_copied(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(audio="aac", layout="6.1"))
    with av.open(str(source)) as clip:
        assert clip.streams.audio[0].layout.name == "7 channels"
    assert warned(source, tmp_path / "out.mkv") == ()
    shown = stream_facts(source)[1].payloads[1:]  # the first packet only primes the decoder
    assert stream_facts(tmp_path / "out.mkv")[1].payloads == shown


def test_pcm_of_matroska_is_copied_to_mp4_or_refused_before_work(tmp_path: Path) -> None:
    """Matroska does not name the channels of PCM, and mp4 must."""
    source = make_clip(tmp_path / "two.mkv", ClipSpec(audio="pcm_s16le"))
    assert warned(source, tmp_path / "two.mp4") == ()
    assert loudness(tmp_path / "two.mp4") == pytest.approx(loudness(source), abs=0.001)
    six = make_clip(tmp_path / "six.mkv", ClipSpec(audio="pcm_s16le", layout="5.1"))
    with pytest.raises(UnsupportedStreamError, match=r"\.mov or \.mkv keeps it, --audio aac converts it"):
        warned(six, tmp_path / "six.mp4")


def test_channels_in_an_order_of_their_own_are_copied_and_not_converted(tmp_path: Path) -> None:
    """The conversion is asked for in a process of its own, since PyAV ends the process if it reads the layout."""
    source = make_clip(tmp_path / "in.mov", ClipSpec(audio="pcm_s16le", layout="7.1"))
    data = bytearray(source.read_bytes())
    tag_at = data.index(b"chan") + 8
    data[tag_at : tag_at + 8] = struct.pack(">II", 126 << 16 | 8, 0)  # Apple's MPEG_7_1_A
    source.write_bytes(data)
    ended = run("video", source, tmp_path / "out.mp4", "--strength", 0, "--compatible")
    assert ended.returncode == 1
    assert "stream 1 (audio, pcm_s16le) cannot be converted to aac" in ended.stderr
    assert "--drop-streams leaves it out" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mov"]
    assert warned(source, tmp_path / "out.mov") == ()
    assert stream_facts(tmp_path / "out.mov")[1].payloads == stream_facts(source)[1].payloads


def test_an_error_of_the_conversion_names_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(SoundConverter, "_fitted", fail)
    source = make_clip(tmp_path / "in.mkv", ClipSpec(audio="pcm_s16le"))
    with pytest.raises(SourceError, match=r"stream 1 \(audio\) cannot be converted \(Invalid argument\); copy it"):
        warned(source, tmp_path / "out.mp4", audio="aac")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_sound_is_left_out_on_request(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(audio="aac"))
    assert warned(source, tmp_path / "out.mp4", audio="drop") == ()
    assert [facts.kind for facts in stream_facts(tmp_path / "out.mp4")] == ["video"]


def unknown_sound(tmp_path: Path) -> Path:
    """A clip whose sound is of a codec that nobody here knows."""
    plain = make_clip(tmp_path / "plain.mov", ClipSpec(audio="aac"))
    data = plain.read_bytes()
    assert data.count(b"mp4a") >= 1
    source = tmp_path / "in.mov"
    source.write_bytes(data.replace(b"mp4a", b"apac").replace(b"esds", b"xsds"))
    return source


def test_advice_names_what_works(tmp_path: Path) -> None:
    source = unknown_sound(tmp_path)
    for suffix in (".mov", ".mp4", ".mkv"):
        with pytest.raises(UnsupportedStreamError) as caught:
            warned(source, tmp_path / f"out{suffix}")
        assert "no container here can hold stream 1 (audio, apac)" in str(caught.value)
        assert "--drop-streams leaves it out" in str(caught.value)
        assert "--audio" not in str(caught.value)
    assert "apac" in warned(source, tmp_path / "out.mov", drop_streams=True)[0]
    camera = make_clip(tmp_path / "camera.avi", ClipSpec(audio="pcm_u8"))
    with pytest.raises(UnsupportedStreamError, match=r"\.mov or \.mkv keeps it, --audio aac converts it, --drop-str"):
        warned(camera, tmp_path / "camera.mp4")
    warned(camera, tmp_path / "camera.mov")
    assert stream_facts(tmp_path / "camera.mov")[1].payloads == stream_facts(camera)[1].payloads


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec(pixel_format="yuv420p10le", colour=Colour(primaries=9, transfer=18, matrix=9, range=1), **FFV1),
        ClipSpec(pixel_format="yuv444p"),
        ClipSpec(height=47, width=63, **FFV1),
        ClipSpec(pixel_format="yuvj422p", codec="mjpeg", options={}, colour=Colour(range=2)),
    ],
    ids=["10 bits", "4:4:4", "odd size", "camera"],
)
def test_compatible_is_8_bit_420_h264_with_aac(tmp_path: Path, spec: ClipSpec) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(**{**vars(spec), "audio": "pcm_s16le"}))
    warned(source, tmp_path / "out.mp4", compatible=True)
    frames = frames_of(tmp_path / "out.mp4")
    assert {frame.format.name for frame in frames} <= {"yuv420p", "yuvj420p"}
    assert [facts.codec for facts in stream_facts(tmp_path / "out.mp4")] == ["h264", "aac"]
    assert (frames[0].height, frames[0].width) == (spec.height // 2 * 2, spec.width // 2 * 2)
    assert len(frames) == spec.num_frames
    with pytest.raises(UsageError, match=r"\.mp4"):
        warned(source, tmp_path / "out.mkv", compatible=True)
    with pytest.raises(UsageError, match="--compatible"):
        VideoJob(compatible=True, codec="hevc")


def test_what_plays_in_fewer_places_is_said(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none", "preset": "ultrafast"}
    deep = ClipSpec(height=64, pixel_format="yuv420p10le", codec="libx265", options=options)
    (told,) = warned(make_clip(tmp_path / "deep.mov", deep), tmp_path / "deep-out.mov")
    assert "10 bits" in told
    assert "--codec hevc" in told
    assert "--compatible" in told
    camera = ClipSpec(pixel_format="yuvj422p", codec="mjpeg", options={}, colour=Colour(range=2))
    (told,) = warned(make_clip(tmp_path / "camera.avi", camera), tmp_path / "camera.mp4")
    assert "yuvj422p" in told
    assert warned(tmp_path / "deep.mov", tmp_path / "hevc.mov", codec="hevc") == ()
    assert warned(make_clip(tmp_path / "plain.mp4", ClipSpec()), tmp_path / "plain-out.mp4") == ()
    same = make_clip(tmp_path / "high422.mp4", ClipSpec(pixel_format="yuv422p"))
    assert warned(same, tmp_path / "high422-out.mp4") == ()


@pytest.mark.parametrize(
    ("name", "suffix", "codec"),
    [
        ("libx264", ".mp4", "h264"), ("X264", ".mov", "h264"), ("x265", ".mp4", "hevc"), ("libx265", ".mkv", "hevc"),
        ("h265", ".mp4", "hevc"), ("libsvtav1", ".mkv", "av1"), ("prores", ".mov", "prores"),
        ("prores_ks", ".mkv", "prores"),
    ],
)  # fmt: skip
def test_codecs_by_the_names_that_people_know(tmp_path: Path, name: str, suffix: str, codec: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(height=64))
    warned(source, tmp_path / f"out{suffix}", codec=name)
    assert stream_facts(tmp_path / f"out{suffix}")[0].codec == codec
    assert [frame.time for frame in frames_of(tmp_path / f"out{suffix}")] == pytest.approx([n / 25 for n in range(12)])


@pytest.mark.parametrize("codec", ["av1", "ffv1"])
def test_what_mov_cannot_hold_is_refused_before_work(tmp_path: Path, codec: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(UnsupportedStreamError, match=rf"a mov file cannot hold {codec} video; .*\.mp4.*\.mkv"):
        deblur_video(source, tmp_path / "out.mov", VideoJob(strength=0, codec=codec))


def test_crf_need_not_be_whole(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(height=128, width=128, num_frames=25))
    for codec in ("h264", "hevc", "av1"):
        sizes = []
        for crf in (18, 30.5, 40):
            warned(source, tmp_path / "out.mkv", codec=codec, crf=crf, overwrite=True)
            sizes.append((tmp_path / "out.mkv").stat().st_size)
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 3
    with pytest.raises(UsageError, match="whole"):
        warned(source, tmp_path / "new.mkv", codec="h264_qsv", crf=18.5)
    with pytest.raises(UsageError, match="fixed quality"):
        warned(source, tmp_path / "new.mov", codec="prores", crf=18)


@pytest.mark.parametrize(("name", "meant"), [("a.jpg", "image"), ("a.mp4", "video")])
def test_a_folder_in_a_commands_place_is_for_what_it_holds(tmp_path: Path, name: str, meant: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"")
    ended = run_here("in", "out", folder=tmp_path)
    assert (ended.returncode, f"Did you mean 'concertdeblur {meant} in out'?" in ended.stderr) == (2, True)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_picture_is_named_with_the_command_for_it(tmp_path: Path, brand: bytes) -> None:
    (tmp_path / "in.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + b"\0" * 100)
    with pytest.raises(SourceError, match=r"is a picture .* 'concertdeblur image' takes pictures"):
        warned(tmp_path / "in.heic", tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("in.mp4", "out.mp4"), "Did you mean 'concertdeblur video in.mp4 out.mp4'?"),
        (("in dir/a.MOV",), "Did you mean 'concertdeblur video 'in dir/a.MOV''?"),
        (("in.jpg", "out.png"), "Did you mean 'concertdeblur image in.jpg out.png'?"),
        (("video", "https://example.org/a.mp4", "out.mp4"), "is an address, and only files of this machine are read"),
        (("video", "-", "out.mp4"), "'-' is not supported"),
        (("video", "in.mp4", "-"), "'-' is not supported"),
        (("image", "https://example.org/a.png", "out.png"), "is an address"),
    ],
)
def test_what_was_meant_is_said(args: tuple[str, ...], words: str) -> None:
    ended = run_here(*args)
    assert ended.returncode == 2
    assert words in ended.stderr


class Doubled:
    """Stands in for a deblurrer: every pixel twice as bright."""

    runtime = "a stand-in"

    @staticmethod
    def stream(frames: Any, _options: Any) -> Any:
        for frame in frames:
            made = frame.with_pixels(np.clip(frame.pixels.astype(int) * 2, 0, 255).astype(np.uint8))
            yield DeblurredFrame(source=frame, frame=made, heatmap=None, windows_tried=0, windows_accepted=0)


@pytest.mark.parametrize("rotation_deg", [0, 90])
@pytest.mark.parametrize(("time_s", "shown"), [(None, 1.5), (Fraction("0.41"), 0.41)])
def test_a_preview_shows_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_s: Fraction | None, shown: float, rotation_deg: int
) -> None:
    monkeypatch.setattr(previewing, "load_deblurrer", lambda *_args, **_choices: Doubled())
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=75, rotation_deg=rotation_deg))
    target = preview_target(source, None)
    assert target == tmp_path / "in.preview.png"
    summary = preview(source, target, VideoJob(), time_s=time_s)
    assert summary.time_s == pytest.approx(shown, abs=0.041)
    assert (summary.total_frames, summary.num_frames) == (75, 25 if time_s is None else 1)
    assert summary.estimate_s == pytest.approx(75 * summary.frame_s, abs=0.1)
    picture = frames_of(target)[0].to_ndarray(format="rgb24").astype(int)
    height, width = (48, 64) if rotation_deg == 0 else (64, 48)
    assert picture.shape == (height, 2 * width, 3)
    before, after = picture[:, :width], picture[:, width:]
    assert np.abs(np.clip(before * 2, 0, 255) - after).max() == 0
    assert f"{target} is written." in summary.text()


@pytest.mark.parametrize(("rotation_deg", "size"), [(0, (48, 2 * 128)), (90, (128, 2 * 48))])
def test_a_preview_has_the_shape_that_a_player_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotation_deg: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(previewing, "load_deblurrer", lambda *_args, **_choices: Doubled())
    spec = ClipSpec(num_frames=5, sample_aspect_ratio=Fraction(2), rotation_deg=rotation_deg)
    preview(make_clip(tmp_path / "in.mp4", spec), tmp_path / "in.png", VideoJob())
    assert frames_of(tmp_path / "in.png")[0].to_ndarray(format="rgb24").shape[:2] == size


def test_a_preview_keeps_few_frames_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    alive: list[int] = []

    class Counted(Doubled):
        @staticmethod
        def stream(frames: Any, options: Any) -> Any:
            for made in Doubled.stream(frames, options):
                seen.append(weakref.ref(made.frame.pixels))
                alive.append(sum(each() is not None for each in seen))
                yield made

    monkeypatch.setattr(previewing, "load_deblurrer", lambda *_args, **_choices: Counted())
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=75))
    assert preview(source, tmp_path / "in.png", VideoJob()).num_frames == 25
    assert max(alive) <= 6


def test_a_preview_of_a_clip_that_is_cut_off_shows_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previewing, "load_deblurrer", lambda *_args, **_choices: Doubled())
    spec = ClipSpec(num_frames=200, options={"crf": "0", "preset": "ultrafast", "g": "10"})
    whole = make_clip(tmp_path / "in.mkv", spec).read_bytes()
    source = tmp_path / "cut.mkv"
    source.write_bytes(whole[: len(whole) // 4])
    summary = preview(source, tmp_path / "cut.png", VideoJob())
    assert 0 < summary.time_s < 2
    with pytest.raises(UsageError, match="no frame"):
        preview(source, tmp_path / "late.png", VideoJob(), time_s=Fraction(7))


def test_preview_takes_a_time_or_nothing(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    for args in (("--preview", source), (source, "--preview"), (source, "--preview", "0:00.2")):
        ended = run("video", *args, "--strength", 0)
        assert ended.returncode == 2
        assert "nothing to preview" in ended.stderr
    assert "written like" not in run("video", "--preview", "0.2", source, "--strength", 0).stderr
