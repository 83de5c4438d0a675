"""Bad input: one sentence, the right error, and no output file."""

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from concertdeblur.errors import (
    BrokenFramesError,
    ConcertDeblurError,
    SourceError,
    TargetError,
    UnsupportedStreamError,
    UsageError,
)
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import ClipSpec, break_packets, frames_of, make_clip, same_planes, stream_facts


def refused(source: Path, target: Path, kind: type[ConcertDeblurError], **choices: Any) -> str:
    """The message of the error, after checking that it is one sentence and nothing was written."""
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    with pytest.raises(ConcertDeblurError) as caught:
        deblur_video(source, target, VideoJob(strength=0, **choices))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert (sorted(target.parent.iterdir()) if target.parent.is_dir() else None) == before
    return str(caught.value)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output's name in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.mp4"


def test_missing(tmp_path: Path, out: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.mp4", out, SourceError)


def test_empty(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in refused(tmp_path / "empty.mp4", out, SourceError)


@pytest.mark.parametrize("name", ["text.txt", "text.mp4", "list.ffconcat", "list.m3u8", "cues.srt"])
def test_text(tmp_path: Path, out: Path, name: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", ClipSpec())
    texts = {
        "list.ffconcat": f"ffconcat version 1.0\nfile '{clip}'\n",
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n",
        "cues.srt": "1\n00:00:00,000 --> 00:00:01,000\nHello\n",
    }
    (tmp_path / name).write_text(texts.get(name, "Dear diary, the concert was loud.\n"))
    assert name in refused(tmp_path / name, out, SourceError)


def test_a_picture(tmp_path: Path, out: Path) -> None:
    with av.open(str(tmp_path / "picture.png"), "w") as output:
        stream: Any = output.add_stream("png", rate=1)
        stream.height = stream.width = 16
        stream.pix_fmt = "rgb24"
        output.mux(stream.encode(av.VideoFrame(16, 16, "rgb24")))
        output.mux(stream.encode(None))
    assert "not a clip" in refused(tmp_path / "picture.png", out, SourceError)


def test_folder_as_clip(tmp_path: Path, out: Path) -> None:
    assert "is a folder" in refused(tmp_path, out, SourceError)


def test_truncated_before_the_index(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:2000])
    assert "cut off" in refused(cut, out, SourceError)


def test_sound_only(tmp_path: Path, out: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", ClipSpec(audio="aac", cover=True))
    with av.open(str(whole)) as clip, av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as output:
        kept: Any = [clip.streams.audio[0], clip.streams.video[1]]
        made: dict[int, Any] = {s.index: output.add_stream_from_template(s, opaque=True) for s in kept}
        made[kept[1].index].disposition = kept[1].disposition
        for packet in clip.demux(kept):
            if packet.size:
                packet.stream = made[packet.stream.index]
                output.mux_one(packet)
    assert "no video stream" in refused(tmp_path / "sound.m4a", out, SourceError)


def test_unknown_codec(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    data = clip.read_bytes()
    assert data.count(b"avc1") >= 1
    (tmp_path / "odd.mp4").write_bytes(data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    assert "codec" in refused(tmp_path / "odd.mp4", out, SourceError)


def test_zero_size(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", ClipSpec(codec="ffv1", options={}))
    data = clip.read_bytes()
    wide, high = b"\xb0\x81\x40", b"\xba\x81\x30"  # PixelWidth 64, PixelHeight 48
    assert wide in data
    assert high in data
    (tmp_path / "zero.mkv").write_bytes(data.replace(wide, b"\xb0\x81\x00").replace(high, b"\xba\x81\x00"))
    assert "size" in refused(tmp_path / "zero.mkv", out, SourceError)


@pytest.mark.parametrize("name", ["out.avi", "out", "out.txt"])
def test_wrong_suffix(tmp_path: Path, out: Path, name: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    told = refused(clip, out.with_name(name), UsageError)
    assert ".mkv" in told
    assert ("meant as a folder, create it first" in told) == (name == "out")


def test_container_that_cannot_hold_the_codec(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    assert ".mkv" in refused(clip, out.with_suffix(".webm"), UnsupportedStreamError, codec="h264")
    assert ".mkv" in refused(clip, out.with_suffix(".mov"), UnsupportedStreamError, codec="ffv1")


def test_hardware_encoder_without_its_device(tmp_path: Path, out: Path) -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has an NVIDIA GPU")
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(height=256, width=256))
    assert "h264_nvenc" in refused(clip, out, UnsupportedStreamError, codec="h264_nvenc")


def test_unwritable_target(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    assert "no such folder" in refused(clip, tmp_path / "nowhere" / "out.mp4", TargetError)
    assert "is a folder" in refused(clip, _folder(out.parent / "folder.mp4"), TargetError)
    assert "no regular file" in refused(clip, _fifo(out.parent / "pipe.mp4"), TargetError, overwrite=True)
    assert "cannot be written" in refused(clip, out.with_name("x" * 300 + ".mp4"), TargetError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    out.parent.chmod(0o500)
    assert "cannot be written" in refused(clip, out, TargetError)


def test_full_target(tmp_path: Path, out: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=60, height=240, width=320, options={"crf": "10"}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        message = refused(clip, out, TargetError, codec="ffv1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "out.mp4: cannot be written" in message


def test_existing_output_is_kept_unless_asked(tmp_path: Path, out: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    out.write_text("precious")
    assert "exists already" in refused(clip, out, TargetError)
    assert out.read_text() == "precious"
    deblur_video(clip, out, VideoJob(strength=0, overwrite=True))
    assert len(frames_of(out)) == 12


@pytest.mark.parametrize("kind", ["itself", "symbolic link", "hard link", "through a folder"])
def test_same_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "clips").mkdir()
    clip = make_clip(tmp_path / "clips" / "in.mp4", ClipSpec())
    data, target = clip.read_bytes(), tmp_path / "clips" / "other.mp4"
    if kind == "itself":
        target = clip
    elif kind == "symbolic link":
        target.symlink_to(clip)
    elif kind == "hard link":
        target.hardlink_to(clip)
    else:
        (tmp_path / "alias").symlink_to(tmp_path / "clips")
        target = tmp_path / "alias" / "in.mp4"
    assert "same file" in refused(clip, target, TargetError, overwrite=True)
    assert clip.read_bytes() == data


@pytest.mark.parametrize(
    ("choices", "word"),
    [
        ({"start_s": Fraction(9)}, "between start and end"),
        ({"start_s": Fraction(-1)}, "negative"),
        ({"start_s": Fraction(1), "end_s": Fraction(1)}, "after the start"),
        ({"video_stream": 7}, "stream 7 is no video stream"),
        ({"codec": "theora"}, "unknown codec"),
        ({"crf": 99}, "crf"),
        ({"preset": "fastest"}, "preset"),
        ({"codec": "ffv1", "crf": 1}, "lossless"),
        ({"reader": "decord"}, "decord"),
    ],
)
def test_choices_that_make_no_sense(tmp_path: Path, out: Path, choices: dict[str, Any], word: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    assert word in refused(clip, out, UsageError, **choices)


@pytest.mark.parametrize("broken", [[20], [20, 21, 22], [0], [39]])
def test_broken_frames_are_replaced_and_counted(tmp_path: Path, out: Path, broken: list[int]) -> None:
    spec = ClipSpec(num_frames=40, options={"crf": "0", "preset": "ultrafast", "g": "1"}, audio="aac")
    whole = make_clip(tmp_path / "whole.mp4", spec)
    clip = break_packets(whole, tmp_path / "broken.mp4", broken)
    warnings: list[str] = []
    summary = deblur_video(clip, out, VideoJob(strength=0, crf=0), on_warning=warnings.append)
    assert (summary.num_frames, summary.num_broken) == (40, len(broken))
    assert any(f"{len(broken)} broken frames" in warning for warning in warnings)
    before, after = frames_of(whole), frames_of(out)
    assert [f.pts for f in after] == [f.pts for f in before]
    stand_in = broken[0] - 1 if broken[0] else 1
    for number, frame in enumerate(after):
        assert same_planes(frame, before[stand_in if number in broken else number])
    assert stream_facts(out)[1].payloads == stream_facts(clip)[1].payloads
    assert "does not decode" in refused(clip, out.with_name("strict.mp4"), BrokenFramesError, strict=True)


def test_sound_that_does_not_decode_is_still_copied(tmp_path: Path, out: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(num_frames=40, audio="aac"))
    damaged = tmp_path / "damaged.mkv"
    with av.open(str(source)) as clip, av.open(str(damaged), "w") as output:
        made: dict[int, Any] = {s.index: output.add_stream_from_template(s, opaque=True) for s in clip.streams}
        for packet in clip.demux():
            if packet.size:
                copy: Any = packet
                if packet.stream.type == "audio":
                    copy = av.Packet(b"\x5a" * packet.size)
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.duration = packet.duration
                copy.stream = made[packet.stream.index]
                output.mux_one(copy)
    deblur_video(damaged, out, VideoJob(strength=0))
    assert stream_facts(out)[1].payloads == stream_facts(damaged)[1].payloads


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("number", [0, 6])
def test_damaged_sound_of_a_transport_stream_is_left_out_and_the_rest_decodes(
    tmp_path: Path, suffix: str, number: int
) -> None:
    """Muxers look into AAC that describes itself; what the first packet is decides how they read all others."""
    data = make_clip(tmp_path / "in.ts", ClipSpec(num_frames=24, audio="aac")).read_bytes()
    place = [found.start() for found in re.finditer(b"\xff\xf1", data)][number]
    (tmp_path / "in.ts").write_bytes(data[:place] + bytes(2) + data[place + 2 :])
    told: list[str] = []
    deblur_video(tmp_path / "in.ts", tmp_path / f"out{suffix}", VideoJob(strength=0), on_warning=told.append)
    (left_out,) = [int(text.split()[0]) for text in told if "(audio)" in text and "left out: damaged" in text]
    before, after = stream_facts(tmp_path / "in.ts")[1], stream_facts(tmp_path / f"out{suffix}")[1]
    assert len(after.pts) == len(before.pts) - left_out
    assert 0 < left_out < 5
    assert len(frames_of(tmp_path / f"out{suffix}")) == 24
    with av.open(str(tmp_path / f"out{suffix}")) as clip:
        assert sum(frame.samples for frame in clip.decode(audio=0)) > 0


def test_sound_that_does_not_decode_is_left_out_of_a_conversion_and_counted(tmp_path: Path) -> None:
    source, damaged = make_clip(tmp_path / "in.mkv", ClipSpec(audio="flac")), tmp_path / "damaged.mkv"
    with av.open(str(source)) as clip, av.open(str(damaged), "w") as output:
        made: dict[int, Any] = {s.index: output.add_stream_from_template(s, opaque=True) for s in clip.streams}
        sounds = 0
        for packet in (packet for packet in clip.demux() if packet.size):
            copy: Any = packet
            sounds += packet.stream.type == "audio"
            if packet.stream.type == "audio" and sounds == 3:
                copy = av.Packet(b"\x5a" * packet.size)
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.stream = made[packet.stream.index]
            output.mux_one(copy)
    told: list[str] = []
    deblur_video(damaged, tmp_path / "out.mp4", VideoJob(strength=0, audio="aac"), on_warning=told.append)
    assert "1 packet of stream 1 (audio) is left out: damaged" in told


def test_a_file_that_ends_early_is_kept_as_far_as_it_goes(tmp_path: Path, out: Path) -> None:
    whole = make_clip(tmp_path / "in.mkv", ClipSpec(num_frames=40, codec="ffv1", options={}))
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 3 // 4])
    summary = deblur_video(tmp_path / "cut.mkv", out, VideoJob(strength=0, crf=0))
    assert 20 <= summary.num_frames < 40
    assert any("ends early" in warning for warning in summary.warnings)
    assert all(same_planes(a, b) for a, b in zip(frames_of(whole), frames_of(out), strict=False))


def test_an_mp4_cut_off_behind_its_index_is_told_of(tmp_path: Path, out: Path) -> None:
    spec = ClipSpec(num_frames=100, height=96, width=128)
    whole = make_clip(tmp_path / "in.mp4", spec)
    with (
        av.open(str(whole)) as clip,
        av.open(str(tmp_path / "front.mp4"), "w", container_options={"movflags": "faststart"}) as output,
    ):
        video = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = video
                output.mux_one(packet)
    data = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 3 // 5])
    summary = deblur_video(tmp_path / "cut.mp4", out, VideoJob(strength=0, crf=0))
    assert 40 <= summary.num_frames < 80
    assert [warning for warning in summary.warnings if "ends early" in warning and "of 4.00 s" in warning]
    assert deblur_video(tmp_path / "front.mp4", tmp_path / "whole.mp4", VideoJob(strength=0)).warnings == ()
    first_second = VideoJob(strength=0, end_s=Fraction(1), overwrite=True)
    assert deblur_video(tmp_path / "cut.mp4", out, first_second).warnings == ()
    out.unlink()
    with pytest.raises(BrokenFramesError, match=r"ends early|does not decode"):
        deblur_video(tmp_path / "cut.mp4", out, VideoJob(strength=0, strict=True))
    assert not out.exists()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path
