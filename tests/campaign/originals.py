"""Whole clips to begin with: every container and codec that the program writes, and common ones that it reads."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tests.clips import ClipSpec, make_clip

_CUES = ((0, 200, "first words"), (200, 440, "more words"))
_CHAPTERS = ((0, 200, "verse"), (200, 480, "chorus"))
_TAGS = {"title": "A song", "comment": "loud"}


@dataclass(frozen=True, kw_only=True)
class Original:
    """One kind of clip."""

    name: str
    suffix: str
    target_suffix: str  # of an output that holds all of it
    make: Callable[[Path], Any]
    flags: tuple[str, ...] = ()  # without which it would be refused


def _kind(name: str, target: str = "", flags: tuple[str, ...] = (), **spec: Any) -> Original:
    suffix = "." + name.split("-", maxsplit=1)[0]
    made = ClipSpec(num_frames=spec.pop("num_frames", 12), **spec)
    return Original(
        name=name, suffix=suffix, target_suffix=target or suffix, flags=flags,
        make=functools.partial(make_clip, spec=made),
    )  # fmt: skip


_X264 = {"preset": "ultrafast", "crf": "20", "g": "5"}
_X264_REORDERED = {"preset": "fast", "crf": "20", "g": "12", "bf": "3"}
_X265 = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=6"}
_VP9 = {"deadline": "realtime", "cpu-used": "8"}
_SVT = {"preset": "12"}
_MPEG: dict[str, Any] = {"codec": "mpeg2video", "options": {"g": "6"}, "time_base": Fraction(1, 25)}
_FULL: dict[str, Any] = {"audio": "aac", "tags": _TAGS, "chapters": _CHAPTERS}


def originals() -> list[Original]:
    """All kinds."""
    return [
        _kind("mp4-h264", **{**_FULL, "options": _X264}),
        _kind("mp4-h264-b-cues-cover", **_FULL | {"options": _X264_REORDERED, "cues": _CUES, "cover": True}),
        _kind("mp4-hevc", **_FULL | {"codec": "libx265", "height": 64, "options": _X265, "rotation_deg": 90}),
        _kind("mp4-av1", **_FULL | {"codec": "libsvtav1", "height": 64, "options": _SVT}),
        _kind("mp4-vp9", **_FULL | {"codec": "libvpx-vp9", "options": _VP9}),
        _kind("mov-h264-pcm", audio="pcm_s16le", options=_X264, tags={"title": "A song", "timecode": "01:00:00:00"}),
        _kind("mov-prores", codec="prores_ks", pixel_format="yuv422p10le", options={}, audio="pcm_s16le"),
        _kind("mov-mjpeg", codec="mjpeg", pixel_format="yuvj420p", options={}, audio="aac"),
        _kind("mkv-h264-srt", **_FULL | {"options": _X264_REORDERED, "cues": _CUES, "cue_codec": "subrip"}),
        _kind("mkv-hevc-flac", codec="libx265", height=64, options=_X265, audio="flac", chapters=_CHAPTERS),
        _kind("mkv-ffv1-opus", codec="ffv1", options={}, audio="libopus"),
        _kind("mkv-vp9", codec="libvpx-vp9", options=_VP9, audio="libopus", num_videos=2),
        _kind("webm-vp9", codec="libvpx-vp9", options=_VP9, audio="libopus", cues=_CUES, cue_codec="webvtt"),
        _kind("webm-av1", codec="libsvtav1", height=64, options=_SVT, audio="libopus"),
        _kind("avi-mpeg4-ac3", ".mkv", codec="mpeg4", options={}, audio="ac3"),
        _kind("avi-mjpeg-pcm", ".mkv", codec="mjpeg", pixel_format="yuvj420p", options={}, audio="pcm_s16le"),
        _kind("avi-dv", ".mkv", ("--deinterlace",), codec="dvvideo", height=576, width=720, options={}, num_frames=3),
        _kind("ts-h264", ".mp4", audio="aac", options=_X264),
        _kind("ts-h264-mp2", ".mkv", audio="mp2", options=_X264_REORDERED),
        _kind("ts-mpeg2", ".mkv", pts=tuple(range(12)), **_MPEG),
        _kind("ts-hevc-ac3", ".mkv", codec="libx265", height=64, options=_X265, audio="ac3"),
        Original(name="ts-data", suffix=".ts", target_suffix=".mkv", make=_with_data),
    ]  # fmt: skip


def _with_data(path: Path) -> None:
    """A transport stream with a stream of data beside picture and sound."""
    plain = make_clip(path.with_name("plain.ts"), ClipSpec(options=_X264, audio="aac"))
    with av.open(str(plain)) as clip, av.open(str(path), "w") as output:
        targets: dict[int, Any] = {s.index: output.add_stream_from_template(s, opaque=True) for s in clip.streams}
        data: Any = output.add_data_stream("klv")
        for number, packet in enumerate(clip.demux()):
            if not packet.size:
                continue
            stamp, base = packet.dts, packet.time_base
            packet.stream = targets[packet.stream.index]
            output.mux_one(packet)
            if number % 5 == 0:
                told: Any = av.Packet(bytes([6, 14, 43, 52]) + bytes(20))
                told.pts = told.dts = stamp
                told.time_base, told.stream = base, data
                output.mux_one(told)
    plain.unlink()
