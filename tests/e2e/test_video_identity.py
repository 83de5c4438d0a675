"""Strength 0 is identity: nothing of a clip changes but how its video is encoded."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.frame import Colour
from concertdeblur.media.hdr import hdr_metadata
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import (
    TIME_BASE,
    VFR_PTS,
    ClipSpec,
    cover_bytes,
    frames_of,
    make_clip,
    planes_of,
    rgb_of,
    same_planes,
    stream_facts,
)

FFV1: dict[str, Any] = {"codec": "ffv1", "options": {}}
PLAIN_RGB = (32, 192, 64)
BT2020_PQ = Colour(primaries=9, transfer=16, matrix=9, range=1)


def identity(source: Path, target: Path, **choices: Any) -> list[str]:
    """Run at strength 0; returns the warnings."""
    warnings: list[str] = []
    summary = deblur_video(source, target, VideoJob(strength=0, **choices), on_warning=warnings.append)
    assert summary.runtime == "identity"
    assert list(summary.warnings) == warnings
    return warnings


def duration_of(path: Path) -> Fraction:
    """Length in seconds that the video stream claims."""
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return stream.duration * stream.time_base


@pytest.mark.parametrize(
    ("spec", "suffix", "choices"),
    [
        pytest.param(ClipSpec(), ".mp4", {"crf": 0}, id="constant rate"),
        pytest.param(ClipSpec(pts=VFR_PTS), ".mp4", {"crf": 0}, id="variable rate"),
        pytest.param(ClipSpec(pts=VFR_PTS, options={"crf": "23"}), ".mov", {"crf": 0}, id="b-frames"),
        pytest.param(ClipSpec(pts=tuple(p + 6400 for p in VFR_PTS)), ".mp4", {"crf": 0}, id="starts later"),
        pytest.param(ClipSpec(time_base=Fraction(1, 600), pts=(0, 20, 41, 60)), ".mp4", {"crf": 0}, id="600 a second"),
        pytest.param(ClipSpec(num_frames=1), ".mp4", {"crf": 0}, id="one frame"),
        pytest.param(ClipSpec(pixel_format="yuv422p"), ".mp4", {"crf": 0}, id="4:2:2"),
        pytest.param(ClipSpec(pixel_format="yuv444p"), ".mp4", {"crf": 0}, id="4:4:4"),
        pytest.param(ClipSpec(pixel_format="yuvj420p", colour=Colour(range=2)), ".mp4", {"crf": 0}, id="full range"),
        pytest.param(ClipSpec(pixel_format="gray"), ".mp4", {"crf": 0}, id="grey"),
        pytest.param(ClipSpec(pixel_format="yuv420p10le", **FFV1), ".mp4", {"codec": "ffv1"}, id="10 bit"),
        pytest.param(ClipSpec(height=47, width=63, **FFV1), ".mp4", {"codec": "ffv1"}, id="odd size"),
        pytest.param(ClipSpec(height=1, width=1, pixel_format="yuv444p", **FFV1), ".mp4", {"codec": "ffv1"}, id="1x1"),
    ],
)  # fmt: skip
def test_every_pixel_and_every_time_stamp_is_kept(
    tmp_path: Path, spec: ClipSpec, suffix: str, choices: dict[str, Any]
) -> None:
    source = make_clip(tmp_path / "in.mp4", spec)
    target = tmp_path / f"out{suffix}"
    assert identity(source, target, **choices) == []
    before, after = frames_of(source), frames_of(target)
    assert [frame.pts for frame in after] == [frame.pts for frame in before] == list(spec.stamps())
    assert stream_facts(target)[0].time_base == stream_facts(source)[0].time_base
    assert abs(duration_of(target) - duration_of(source)) <= Fraction(1, 2000)  # reordering hides the last one's end
    assert after[0].format.name == before[0].format.name
    assert all(same_planes(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_10_bit_stays_10_bit(tmp_path: Path, codec: str) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(pixel_format="yuv420p10le", **FFV1))
    identity(source, tmp_path / "out.mp4", codec=codec, crf=4)
    (first, *_), (made, *_) = frames_of(source), frames_of(tmp_path / "out.mp4")
    assert made.format.name == "yuv420p10le"
    differences = planes_of(first)[0].view(np.uint16).astype(int) - planes_of(made)[0].view(np.uint16)
    assert np.abs(differences).max() <= 12  # of 1023


def test_av1_in_webm_keeps_an_odd_size_and_times(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(height=47, width=63, **FFV1))
    assert identity(source, tmp_path / "out.webm") == []
    made = frames_of(tmp_path / "out.webm")
    assert {(f.height, f.width, f.format.name) for f in made} == {(47, 63, "yuv420p")}
    assert [f.pts for f in made] == [40 * number for number in range(12)]
    assert stream_facts(tmp_path / "out.webm")[0].codec == "av1"


def test_h264_takes_an_odd_size_as_444_and_says_so(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(height=47, width=63, **FFV1))
    warnings = identity(source, tmp_path / "out.mp4", crf=0)
    assert len(warnings) == 1
    assert "yuv444p" in warnings[0]
    assert "63x47" in warnings[0]
    for first, made in zip(frames_of(source), frames_of(tmp_path / "out.mp4"), strict=True):
        assert np.array_equal(planes_of(first)[0], planes_of(made)[0])


@pytest.mark.parametrize(
    "colour",
    [
        Colour(primaries=1, transfer=1, matrix=1, range=1),
        Colour(primaries=6, transfer=6, matrix=6, range=1),
        Colour(primaries=5, transfer=6, matrix=5, range=2),
        Colour(primaries=12, transfer=13, matrix=1, range=1),
    ],
    ids=["709", "601", "601 full", "Display P3"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_colour_tags_are_kept_exactly(tmp_path: Path, colour: Colour, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=2, colour=colour))
    identity(source, tmp_path / f"out{suffix}")
    made = frames_of(tmp_path / f"out{suffix}")[0]
    assert (made.color_primaries, made.color_trc, made.colorspace, made.color_range) == (
        colour.primaries, colour.transfer, colour.matrix, colour.range,
    )  # fmt: skip


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_hdr_transfer_is_kept(tmp_path: Path, transfer: int, codec: str) -> None:
    colour = Colour(primaries=9, transfer=transfer, matrix=9, range=1)
    spec = ClipSpec(num_frames=2, colour=colour, pixel_format="yuv420p10le", height=64, **FFV1)
    source = make_clip(tmp_path / "in.mkv", spec)
    identity(source, tmp_path / "out.mp4", codec=codec)
    made = frames_of(tmp_path / "out.mp4")[0]
    assert (made.color_primaries, made.color_trc, made.colorspace) == (9, transfer, 9)
    assert made.format.name == "yuv420p10le"


def test_untagged_stays_untagged_and_hd_is_said(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(height=720, width=1280, num_frames=2))
    warnings = identity(source, tmp_path / "out.mp4", preset="ultrafast")
    assert len(warnings) == 1
    assert "BT.709" in warnings[0]
    made = frames_of(tmp_path / "out.mp4")[0]
    assert (made.color_primaries, made.color_trc, made.colorspace, made.color_range) == (2, 2, 2, 0)


def plain_colour_clip(path: Path, codec: str, pixel_format: str) -> Path:
    """Some frames of one colour, `PLAIN_RGB`."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, pixel_format
        is_full_yuv = pixel_format.startswith("yuv")
        if is_full_yuv:
            stream.codec_context.colorspace, stream.codec_context.color_range = 1, 2
        for number in range(3):
            if pixel_format == "pal8":
                palette = np.zeros((256, 4), np.uint8)
                palette[7] = (255, *PLAIN_RGB)  # alpha first
                indexed: Any = (np.full((64, 64), 7, np.uint8), palette)
                frame = av.VideoFrame.from_ndarray(indexed, "pal8")
            else:
                rgb = np.broadcast_to(np.array(PLAIN_RGB, np.uint8), (64, 64, 3))
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
                ranges = {"dst_colorspace": 1, "src_color_range": 2, "dst_color_range": 2} if is_full_yuv else {}
                frame = VideoReformatter().reformat(frame, format=pixel_format, **ranges)
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("writer", ["pyav", "ffmpeg"])
@pytest.mark.parametrize("codec", ["h264", "av1", "ffv1", "prores"])
@pytest.mark.parametrize(
    ("given", "pixel_format", "suffix"),
    [
        ("qtrle", "rgb24", ".mov"),
        ("rawvideo", "bgr24", ".avi"),
        ("png", "pal8", ".mov"),
        ("libx264", "yuv422p", ".mp4"),
    ],
)
def test_colours_come_back_by_the_tags_that_are_written(
    tmp_path: Path, given: str, pixel_format: str, suffix: str, codec: str, writer: Any
) -> None:
    source = plain_colour_clip(tmp_path / f"in{suffix}", given, pixel_format)
    identity(source, tmp_path / "out.mkv", codec=codec, writer=writer)
    made = frames_of(tmp_path / "out.mkv")[1]
    is_rgb = made.format.is_rgb
    if not is_rgb:
        assert (made.colorspace, made.color_range) == (1, 1 if codec == "prores" else 2)
    shown = rgb_of(made, matrix=1, value_range=2 if is_rgb or codec != "prores" else 1)
    assert np.abs(shown.reshape(-1, 3).astype(int) - PLAIN_RGB).max() <= 3


@pytest.mark.parametrize("rotation_deg", [90, -90, 180])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_and_pixel_shape_are_kept(tmp_path: Path, rotation_deg: int, suffix: str) -> None:
    spec = ClipSpec(num_frames=2, rotation_deg=rotation_deg, sample_aspect_ratio=Fraction(4, 3))
    source = make_clip(tmp_path / "in.mp4", spec)
    identity(source, tmp_path / f"out{suffix}")
    made = frames_of(tmp_path / f"out{suffix}")[0]
    assert (made.height, made.width) == (48, 64)
    assert abs(made.rotation) == abs(rotation_deg) == abs(frames_of(source)[0].rotation)
    assert made.rotation % 360 == frames_of(source)[0].rotation % 360
    with av.open(str(tmp_path / f"out{suffix}")) as clip:
        assert clip.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_tags_chapters_language_title_and_disposition_are_kept(tmp_path: Path) -> None:
    spec = ClipSpec(
        num_frames=50,
        tags={
            "title": "A song",
            "artist": "A band",
            "comment": "Row 3",
            "creation_time": "2024-05-01T20:00:00.000000Z",
        },
        chapters=((0, 1000, "Intro"), (1000, 2000, "Verse")),
        language="fra",
        title="Stage left",
        audio="aac",
    )
    source = make_clip(tmp_path / "in.mp4", spec)
    assert identity(source, tmp_path / "out.mp4") == []
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert {k: after.metadata.get(k) for k in spec.tags} == spec.tags
        chapters: list[Any] = list(after.chapters())
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in chapters] == [(0, 1), (1, 2)]
        assert [c["metadata"]["title"] for c in chapters] == ["Intro", "Verse"]
        assert len(after.streams) == len(before.streams)
        assert after.streams[0].metadata["language"] == "fra"
        assert after.streams[0].metadata.get("name") == "Stage left"
        assert after.streams[1].metadata["language"] == "deu"
        assert [s.disposition for s in after.streams] == [s.disposition for s in before.streams]


def test_tags_that_mov_has_no_atom_for_are_kept(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(num_frames=2, tags={"VENUE": "Paradiso", "title": "A song"}))
    assert identity(source, tmp_path / "out.mp4") == []
    with av.open(str(tmp_path / "out.mp4")) as after:
        assert after.metadata["VENUE"] == "Paradiso"
        assert after.metadata["title"] == "A song"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_and_second_video_are_copied_byte_by_byte(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40, audio="aac", num_videos=2))
    identity(source, tmp_path / f"out{suffix}")
    before, after = stream_facts(source), stream_facts(tmp_path / f"out{suffix}")
    assert [facts.kind for facts in after] == ["video", "video", "audio"]
    for index in (1, 2):
        assert after[index].payloads == before[index].payloads
        assert after[index].codec == before[index].codec
        if suffix != ".mkv":
            assert after[index].pts == before[index].pts
    assert len(after[0].pts) == 40


def test_matroska_hides_what_primes_the_decoder_and_moves_nothing(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40, audio="aac"))
    warnings = identity(source, tmp_path / "out.mkv")
    before, after = stream_facts(source), stream_facts(tmp_path / "out.mkv")
    shifts = {
        round(float(b - a), 2)
        for f, g in zip(before, after, strict=True)
        for a, b in zip(f.times_s, g.times_s, strict=True)
    }
    assert shifts == {0.0}
    assert warnings == []
    (_, plain), (_, made) = decoded_sound(source), decoded_sound(tmp_path / "out.mkv")
    assert np.array_equal(plain, made)


def decoded_sound(path: Path) -> tuple[float, Any]:
    """(seconds at which sound begins, samples (channels, number)) as a player hears it."""
    with av.open(str(path)) as clip:
        frames: list[Any] = list(clip.decode(audio=0))
    return float(frames[0].pts * frames[0].time_base), np.concatenate([f.to_ndarray() for f in frames], axis=1)


def test_the_largest_video_is_chosen_and_another_on_request(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(height=16, width=16, num_frames=6, num_videos=2))
    before = stream_facts(source)
    identity(source, tmp_path / "largest.mp4")
    assert stream_facts(tmp_path / "largest.mp4")[0].payloads == before[0].payloads
    assert stream_facts(tmp_path / "largest.mp4")[1].payloads != before[1].payloads
    identity(source, tmp_path / "chosen.mp4", video_stream=0)
    assert stream_facts(tmp_path / "chosen.mp4")[0].payloads != before[0].payloads
    assert stream_facts(tmp_path / "chosen.mp4")[1].payloads == before[1].payloads


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cover_art_is_kept(tmp_path: Path, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3, cover=True, tags={"title": "A song"}))
    assert identity(source, tmp_path / f"out{suffix}") == []
    with av.open(str(tmp_path / f"out{suffix}")) as after:
        cover = next(s for s in after.streams.video if s.disposition & av.stream.Disposition.attached_pic)
        packet = next(p for p in after.demux(cover) if p.size)
        assert bytes(packet) == cover_bytes()
        assert after.metadata[next(k for k in after.metadata if k.lower() == "title")] == "A song"


def test_transparency_of_webm_is_named_and_its_tag_goes_too(tmp_path: Path) -> None:
    spec = ClipSpec(codec="libvpx-vp9", pixel_format="yuva420p", options={"cpu-used": "8"}, time_base=Fraction(1, 1000))
    source = make_clip(tmp_path / "in.webm", spec)
    assert any("transparency is dropped" in warning for warning in identity(source, tmp_path / "out.mkv"))
    with av.open(str(tmp_path / "out.mkv")) as clip:
        assert not [key for key in clip.streams.video[0].metadata if key.lower() == "alpha_mode"]


def test_webm_drops_cover_art_with_a_warning(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=3, height=64, cover=True))
    warnings = identity(source, tmp_path / "out.webm")
    assert any("stream 1 (video, mjpeg) is dropped" in warning for warning in warnings)


CUES = ((0, 200, "One & two"), (240, 400, "Zwölf"))


@pytest.mark.parametrize(
    ("cue_codec", "suffix_in", "suffix_out", "expected"),
    [
        ("mov_text", ".mp4", ".mp4", "mov_text"),
        ("subrip", ".mkv", ".mkv", "subrip"),
        ("subrip", ".mkv", ".mp4", "mov_text"),
        ("mov_text", ".mp4", ".mkv", "subrip"),
        ("subrip", ".mkv", ".webm", "webvtt"),
    ],
)
def test_subtitles_are_copied_or_converted(
    tmp_path: Path, cue_codec: str, suffix_in: str, suffix_out: str, expected: str
) -> None:
    spec = ClipSpec(height=64, cues=CUES, cue_codec=cue_codec)
    source = make_clip(tmp_path / f"in{suffix_in}", spec)
    assert identity(source, tmp_path / f"out{suffix_out}") == []
    with av.open(str(tmp_path / f"out{suffix_out}")) as after:
        stream = after.streams.subtitles[0]
        assert stream.codec_context.codec.canonical_name == expected
        packets: list[Any] = [packet for packet in after.demux(stream) if packet.size]
        found = [(bytes(p), *(round(float(t * p.time_base), 3) for t in (p.pts, p.duration))) for p in packets]
    texts = [text.encode() for _, _, text in CUES]
    if expected == "mov_text":
        found = [cue for cue in found if cue[0] != b"\0\0"]  # the muxer's empty end samples
        texts = [len(text).to_bytes(2, "big") + text for text in texts]
    elif expected == "webvtt":
        texts[0] = b"One &amp; two"
    assert found == [(texts[0], 0.0, 0.2), (texts[1], 0.24, 0.16)]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({}, [(0.1, 0.2, b"one\ntwo"), (0.3, 0.1, b"one\ntwo\nthree"), (0.4, 0.3, b"two"), (15, 0.2, b"four")]),
        ({"start_s": Fraction(1, 5), "end_s": Fraction(10)}, [(0, 0.1, b"one\ntwo"), (0.1, 0.1, b"one\ntwo\nthree"),
                                                             (0.2, 0.3, b"two")]),
    ],
)  # fmt: skip
def test_subtitles_that_overlap_are_shown_together(
    tmp_path: Path, cut: dict[str, Any], expected: list[tuple[float, float, bytes]]
) -> None:
    cues = ((100, 400, "one"), (100, 700, "two"), (300, 400, "three"), (15_000, 15_200, "four"))
    source = make_clip(
        tmp_path / "in.mkv", ClipSpec(pts=tuple(range(0, 16 * 12800, 1280)), cues=cues, cue_codec="subrip")
    )
    assert identity(source, tmp_path / "out.mp4", **cut) == []
    with av.open(str(tmp_path / "out.mp4")) as after:
        found: list[Any] = [packet for packet in after.demux(subtitles=0) if packet.size > 2]
    assert [bytes(packet)[2:] for packet in found] == [text for _, _, text in expected]
    for packet, (begin_s, length_s, _) in zip(found, expected, strict=True):
        assert float(packet.pts * packet.time_base) == pytest.approx(begin_s, abs=0.002)
        assert float(packet.duration * packet.time_base) == pytest.approx(length_s, abs=0.002)


def test_a_damaged_subtitle_is_dropped_with_a_warning(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(cues=((0, 200, "Fire" + "x" * 40),)))
    data = source.read_bytes()
    at = data.index(b"Fire")
    box = (14).to_bytes(2, "big") + b"Fire" + b"x" * 10 + (30).to_bytes(4, "big") + b"styl" + (99).to_bytes(2, "big")
    source.write_bytes(data[: at - 2] + box + data[at - 2 + len(box) :])
    warnings = identity(source, tmp_path / "out.mkv")
    assert [facts.kind for facts in stream_facts(tmp_path / "out.mkv")] == ["video"]
    assert any("stream 1 (subtitle, mov_text) is dropped" in w and "a damaged 'styl' box" in w for w in warnings)


def test_a_subtitle_that_would_lose_colours_is_dropped_with_a_warning(tmp_path: Path) -> None:
    cues = ((0, 200, '<font color="red">Fire</font>'),)
    source = make_clip(tmp_path / "in.mkv", ClipSpec(cues=cues, cue_codec="subrip"))
    warnings = identity(source, tmp_path / "out.mp4")
    assert [facts.kind for facts in stream_facts(tmp_path / "out.mp4")] == ["video"]
    assert any("stream 1 (subtitle, subrip) is dropped" in w and "attributes" in w for w in warnings)


def test_sound_that_the_target_cannot_hold_is_refused_before_work(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(height=64, audio="aac"))
    seen: list[object] = []
    with pytest.raises(UnsupportedStreamError, match=r"webm file cannot hold stream 1 \(audio, aac\)"):
        deblur_video(source, tmp_path / "out.webm", VideoJob(strength=0), on_progress=seen.append)
    assert seen == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    warnings = identity(source, tmp_path / "out.webm", drop_streams=True)
    assert any("stream 1 (audio, aac) is dropped" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("audio", "suffix"), [("libopus", ".webm"), ("flac", ".mkv"), ("pcm_s16le", ".mov"), ("ac3", ".mp4")]
)
def test_other_sound_is_copied_too(tmp_path: Path, audio: str, suffix: str) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(height=64, num_frames=30, audio=audio))
    identity(source, tmp_path / f"out{suffix}")
    assert stream_facts(tmp_path / f"out{suffix}")[1].payloads == stream_facts(source)[1].payloads


def test_an_interlaced_clip_is_refused_or_deinterlaced(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", ClipSpec(is_interlaced=True))
    assert frames_of(source)[0].interlaced_frame
    with pytest.raises(UnsupportedStreamError, match="interlaced"):
        identity(source, tmp_path / "out.mp4")
    identity(source, tmp_path / "out.mp4", deinterlace=True)
    made = frames_of(tmp_path / "out.mp4")
    assert [f.time for f in made] == pytest.approx([f.time for f in frames_of(source)])
    assert not any(frame.interlaced_frame for frame in made)
    means = [planes_of(frame)[0].mean() for frame in made]
    assert means == pytest.approx([planes_of(frame)[0].mean() for frame in frames_of(source)], abs=2)


@pytest.mark.parametrize(
    ("start", "end", "kept"), [("0.2", "0.8", slice(5, 20)), ("0.21", None, slice(5, 50)), (None, "0.4", slice(0, 10))]
)
def test_start_and_end_are_exact_to_the_frame_and_the_packet(
    tmp_path: Path, start: str | None, end: str | None, kept: slice
) -> None:
    spec = ClipSpec(num_frames=50, audio="aac", options={"crf": "0", "preset": "veryfast", "g": "8"})
    source = make_clip(tmp_path / "in.mp4", spec)
    begin_s = None if start is None else Fraction(start)
    end_s = None if end is None else Fraction(end)
    identity(source, tmp_path / "out.mp4", crf=0, start_s=begin_s, end_s=end_s)
    before, after = frames_of(source)[kept], frames_of(tmp_path / "out.mp4")
    zero_s = begin_s or Fraction(0)
    zero = zero_s / TIME_BASE
    assert [f.pts for f in after] == [max(0, f.pts - zero) for f in before]  # the first is shown from the start on
    assert all(same_planes(a, b) for a, b in zip(before, after, strict=True))
    sound, cut = stream_facts(source)[1], stream_facts(tmp_path / "out.mp4")[1]
    wanted = [
        digest
        for time_s, digest in zip(sound.times_s, sound.payloads, strict=True)
        if time_s >= zero_s and (end_s is None or time_s < end_s)
    ]
    assert list(cut.payloads) == wanted
    first_s = next(time_s for time_s in sound.times_s if time_s >= zero_s)
    assert abs(cut.times_s[0] - (first_s - zero_s)) <= Fraction(1, 48000)


def test_identity_imports_neither_torch_nor_weights(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    code = (
        "import sys; from pathlib import Path; from concertdeblur.pipelines.deblur_video import *; "
        f"deblur_video(Path({str(source)!r}), Path({str(tmp_path / 'out.mp4')!r}), VideoJob(strength=0)); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert done.stderr == ""


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_mastering_display_and_light_levels_are_kept(tmp_path: Path, codec: str) -> None:
    params = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    options = {"x265-params": f"log-level=none:hdr10=1:{params}", "crf": "10", "preset": "ultrafast"}
    spec = ClipSpec(height=64, pixel_format="yuv420p10le", colour=BT2020_PQ, codec="libx265", options=options)
    source = make_clip(tmp_path / "in.mkv", spec)
    assert identity(source, tmp_path / "out.mp4", codec=codec) == []
    before, after = (hdr_metadata(frames_of(path)[0]) for path in (source, tmp_path / "out.mp4"))
    assert before is not None
    assert after is not None
    assert after.light_level_cdm2 == before.light_level_cdm2 == (1000, 400)
    assert before.primaries is not None
    assert after.primaries is not None
    assert [float(value) for value in after.primaries] == pytest.approx([float(v) for v in before.primaries], abs=1e-4)
    warnings = identity(source, tmp_path / "plain.mkv", codec="ffv1")
    assert any("mastering display" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("element", "rows", "columns"),
    [
        (b"\x54\xaa", slice(0, 40), slice(0, 64)),
        (b"\x54\xbb", slice(8, 48), slice(0, 64)),
        (b"\x54\xcc", slice(0, 48), slice(8, 64)),
        (b"\x54\xdd", slice(0, 48), slice(0, 56)),
    ],
    ids=["bottom", "top", "left", "right"],
)
def test_what_the_container_hides_is_cut_off(tmp_path: Path, element: bytes, rows: slice, columns: slice) -> None:
    whole = make_clip(tmp_path / "whole.mkv", ClipSpec())
    display_unit = b"\x54\xb2\x81\x04"  # an element of no effect here; its place is taken by PixelCrop... = 8
    assert whole.read_bytes().count(display_unit) == 1
    source = tmp_path / "in.mkv"
    source.write_bytes(whole.read_bytes().replace(display_unit, element + b"\x81\x08"))
    identity(source, tmp_path / "out.mp4", crf=0)
    made = frames_of(tmp_path / "out.mp4")
    assert [frame.pts for frame in made] == [40 * number for number in range(12)]
    for first, frame in zip(frames_of(whole), made, strict=True):
        assert np.array_equal(planes_of(first)[0][rows, columns], planes_of(frame)[0])
        chroma = tuple(slice(edge.start // 2, edge.stop // 2) for edge in (rows, columns))
        assert np.array_equal(planes_of(first)[1][chroma], planes_of(frame)[1])


def test_attached_fonts_are_kept_where_there_is_a_place(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mkv", ClipSpec())
    with av.open(str(plain)) as clip, av.open(str(tmp_path / "in.mkv"), "w") as output:
        video = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        output.add_attachment("stage.ttf", "font/ttf", b"not really a font")
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = video
                output.mux_one(packet)
    assert identity(tmp_path / "in.mkv", tmp_path / "out.mkv") == []
    with av.open(str(tmp_path / "out.mkv")) as after:
        attached: Any = after.streams[1]
        assert (attached.type, attached.name, attached.data) == ("attachment", "stage.ttf", b"not really a font")
    warnings = identity(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert any("stream 1 (attachment" in warning for warning in warnings)


def test_data_packets_are_copied(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "plain.mp4", ClipSpec())
    with av.open(str(plain)) as clip, av.open(str(tmp_path / "in.mp4"), "w") as output:
        video = output.add_stream_from_template(clip.streams.video[0], opaque=True)
        data: Any = output.add_data_stream("bin_data")
        data.time_base = Fraction(1, 1000)
        for number, packet in enumerate(p for p in clip.demux(video=0) if p.size):
            packet.stream = video
            output.mux_one(packet)
            note: Any = av.Packet(b"GPS %d" % number)
            note.pts = note.dts = 40 * number
            note.duration, note.time_base, note.stream, note.is_keyframe = 40, Fraction(1, 1000), data, True
            output.mux_one(note)
    assert identity(tmp_path / "in.mp4", tmp_path / "out.mp4") == []
    before, after = stream_facts(tmp_path / "in.mp4")[1], stream_facts(tmp_path / "out.mp4")[1]
    assert (after.kind, len(after.payloads)) == ("data", 12)
    assert (after.payloads, after.pts) == (before.payloads, before.pts)
