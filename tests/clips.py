"""Clips that tests make for themselves with PyAV, and what tests read back from a clip."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from concertdeblur.frame import Colour

TIME_BASE = Fraction(1, 12800)
STEP = 512  # 25 frames a second
VFR_PTS = (0, 512, 700, 1900, 1901, 2600, 4000, 4512, 5000, 7000, 7100, 7612)
ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour\n"
    b"Style: Default,Arial,16,&Hffffff\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n"
)


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """A small clip; every field that is not set gives an ordinary one."""

    height: int = 48
    width: int = 64
    num_frames: int = 12
    num_still: int = 0  # so many frames at the beginning show the same
    pts: tuple[int, ...] = ()  # empty: constant rate from 0
    time_base: Fraction = TIME_BASE
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "0", "preset": "ultrafast"})
    colour: Colour = field(default_factory=Colour)
    rotation_deg: int = 0
    display_matrix: tuple[int, ...] = ()  # FFmpeg's nine numbers; empty: that of the rotation
    sample_aspect_ratio: Fraction | None = None
    audio: str = ""  # name of an encoder, e.g. "aac"
    layout: str = "stereo"  # of its channels
    sound_begins_s: float = 0
    cues: tuple[tuple[int, int, str], ...] = ()  # (from ms, to ms, text)
    cue_codec: str = "mov_text"
    num_videos: int = 1  # further ones are 32x32
    cover: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    chapters: tuple[tuple[int, int, str], ...] = ()  # (from ms, to ms, title)
    language: str = ""
    title: str = ""
    is_interlaced: bool = False

    def stamps(self) -> tuple[int, ...]:
        """The pts of every frame."""
        return self.pts or tuple(range(0, self.num_frames * STEP, STEP))


def picture(number: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """(height, width, 3) RGB: a slope, a moving bar, and a level that tells the frames apart."""
    y, x = np.mgrid[0:height, 0:width]
    red = 30 + 150 * x / max(1, width - 1)
    green = 40 + 100 * y / max(1, height - 1)
    blue = np.full((height, width), 20.0 + 15 * (number % 12))
    made = np.stack([red, green, blue], axis=-1)
    start = (number * 3) % max(1, width - 8)
    made[:, start : start + 8] = 220
    return made.astype(np.uint8)


def make_clip(path: Path, spec: ClipSpec) -> Path:
    """Write a clip."""
    options = {} if path.suffix == ".mkv" else {"video_track_timescale": str(spec.time_base.denominator)}
    with av.open(str(path), "w", container_options=options) as output:
        output.metadata.update(spec.tags)
        videos = [_add_video(output, spec, number) for number in range(spec.num_videos)]
        videos[0].metadata.update({k: v for k, v in (("language", spec.language), ("title", spec.title)) if v})
        audio = output.add_stream(spec.audio, rate=48000, layout=spec.layout) if spec.audio else None
        if audio is not None:
            audio.metadata["language"] = "deu"
            if spec.audio == "wmav2":
                audio.codec_context.bit_rate = 64_000  # it has no rate of its own
        text: Any = _add_text(output, spec.cue_codec) if spec.cues else None
        cover: Any = _add_cover(output) if spec.cover else None
        if spec.chapters:
            output.set_chapters(
                [
                    {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": t}}
                    for i, (a, b, t) in enumerate(spec.chapters)
                ]
            )
        packets = [packet for number, video in enumerate(videos) for packet in _video_packets(video, spec, number)]
        if audio is not None:
            packets += _audio_packets(audio, spec)
        if cover is not None:
            packets.append(_cover_packet(cover))
        packets += _cue_packets(text, spec)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            output.mux_one(packet)
    return path


def _add_video(output: Any, spec: ClipSpec, number: int) -> Any:
    video = output.add_stream(spec.codec, rate=25, options=dict(spec.options))
    video.height, video.width = (spec.height, spec.width) if number == 0 else (32, 32)
    video.pix_fmt = spec.pixel_format
    video.time_base = video.codec_context.time_base = spec.time_base
    context, colour = video.codec_context, spec.colour
    context.color_primaries, context.color_trc = colour.primaries, colour.transfer
    context.colorspace, context.color_range = colour.matrix, colour.range
    if spec.is_interlaced:
        context.flags |= 0x40000 | 0x20000000  # interlaced_dct, interlaced_me
    if spec.sample_aspect_ratio:
        context.sample_aspect_ratio = spec.sample_aspect_ratio
    if spec.rotation_deg and number == 0:
        video.set_display_rotation(spec.rotation_deg)
    if spec.display_matrix and number == 0:
        video.set_display_matrix(spec.display_matrix)
    return video


def _video_packets(video: Any, spec: ClipSpec, stream_number: int) -> list[Any]:
    reformatter, packets = VideoReformatter(), []
    for number, pts in enumerate(spec.stamps()):
        shown = (0 if number < spec.num_still else number) + 3 * stream_number
        rgb = av.VideoFrame.from_ndarray(picture(shown, video.height, video.width), "rgb24")
        matrix = spec.colour.matrix if spec.colour.matrix in (1, 5, 6, 9) else 5
        frame = reformatter.reformat(
            rgb,
            format=spec.pixel_format,
            dst_colorspace={6: 5}.get(matrix, matrix),
            src_color_range=2,
            dst_color_range=spec.colour.range or 1,
        )
        frame.pts, frame.time_base = pts, spec.time_base
        packets += video.encode(frame)
    return packets + list(video.encode(None))


def _audio_packets(audio: Any, spec: ClipSpec) -> list[Any]:
    length_s = float((spec.stamps()[-1] + STEP) * spec.time_base) - spec.sound_begins_s
    audio.codec_context.open(strict=False)
    size = audio.codec_context.frame_size or 1024
    planar, num_channels = audio.codec_context.format.name, av.AudioLayout(spec.layout).nb_channels
    packets = []
    for start in range(0, int(48000 * length_s), size):
        tone = np.sin((np.arange(size) + start) * 0.05)[None].repeat(num_channels, axis=0)
        samples: npt.NDArray[Any] = (tone * (0.3 if planar.startswith("fl") else 9000)).astype(
            np.float32 if "fl" in planar else np.int16
        )
        if planar == "u8":
            samples = (128 + 90 * tone).astype(np.uint8)
        if not planar.endswith("p"):
            samples = samples.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=planar, layout=spec.layout)
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = start + round(spec.sound_begins_s * 48000)
        packets += audio.encode(frame)
    return packets + list(audio.encode(None))


def _add_text(output: Any, codec: str) -> Any:
    if codec != "mov_text":
        return output.add_mux_stream(codec)
    stream = output.add_stream(codec)
    stream.codec_context.subtitle_header = ASS_HEADER
    return stream


def _cue_packets(stream: Any, spec: ClipSpec) -> list[Any]:
    packets = []
    for start, stop, text in spec.cues:
        data = text.encode()
        if spec.cue_codec == "mov_text":
            data = len(data).to_bytes(2, "big") + data
        packet: Any = av.Packet(data)
        packet.pts = packet.dts = start
        packet.duration, packet.time_base, packet.stream = stop - start, Fraction(1, 1000), stream
        packet.is_keyframe = True
        packets.append(packet)
    return packets


def _add_cover(output: Any) -> Any:
    stream = output.add_mux_stream("mjpeg", width=16, height=16)
    stream.disposition = av.stream.Disposition.attached_pic
    stream.time_base = Fraction(1, 90000)
    return stream


def cover_bytes() -> bytes:
    """A small JPEG picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mjpeg") as output:
        stream: Any = output.add_stream("mjpeg", rate=1)
        stream.height = stream.width = 16
        stream.pix_fmt = "yuvj420p"
        frame = av.VideoFrame.from_ndarray(picture(0, 16, 16), "rgb24").reformat(format="yuvj420p", dst_color_range=2)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _cover_packet(stream: Any) -> Any:
    packet: Any = av.Packet(cover_bytes())
    packet.pts = packet.dts = 0
    packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 90000), stream, True
    return packet


def break_packets(source: Path, target: Path, numbers: Iterable[int]) -> Path:
    """Copy a clip with some of its video packets (in coded order) overwritten by noise."""
    broken, count, noise = set(numbers), 0, np.random.default_rng(0)
    with av.open(str(source)) as clip, av.open(str(target), "w") as output:
        targets: dict[int, Any] = {s.index: output.add_stream_from_template(s, opaque=True) for s in clip.streams}
        for packet in clip.demux():
            if not packet.size:
                continue
            made: Any = packet
            if packet.stream.type == "video":
                if count in broken:
                    size = max(packet.size, 24)
                    made = av.Packet((size - 4).to_bytes(4, "big") + b"\x65" + noise.bytes(size - 5))
                    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
                    made.time_base = packet.time_base
                count += 1
            made.stream = targets[packet.stream.index]
            output.mux_one(made)
    return target


@dataclass(frozen=True)
class StreamFacts:
    """What a test compares of one stream."""

    kind: str
    codec: str
    time_base: Fraction
    pts: tuple[int, ...]
    times_s: tuple[Fraction, ...]
    payloads: tuple[str, ...]  # hashes, in the order of the file
    metadata: dict[str, str]
    disposition: int


def stream_facts(path: Path) -> list[StreamFacts]:
    """Every stream of a clip, with its packets."""
    with av.open(str(path)) as clip:
        packets: dict[int, list[tuple[int, str]]] = {stream.index: [] for stream in clip.streams}
        for packet in clip.demux():
            if packet.size:
                digest = hashlib.sha256(bytes(packet)).hexdigest()
                packets[packet.stream.index].append((packet.pts or 0, digest))
        facts = []
        for stream in clip.streams:
            base = stream.time_base or Fraction(1)
            pts = tuple(sorted(p for p, _ in packets[stream.index]))
            context = stream.codec_context
            facts.append(
                StreamFacts(
                    kind=stream.type,
                    codec=context.codec.canonical_name if context else "",
                    time_base=base,
                    pts=pts,
                    times_s=tuple(p * base for p in pts),
                    payloads=tuple(d for _, d in packets[stream.index]),
                    metadata=dict(stream.metadata),
                    disposition=int(stream.disposition),
                )
            )
        return facts


def frames_of(path: Path, stream: int = 0) -> list[Any]:
    """All decoded frames of a video stream."""
    with av.open(str(path)) as clip:
        return list(clip.decode(video=stream))


def planes_of(frame: Any) -> list[npt.NDArray[np.uint8]]:
    """The bytes of a frame's planes, without padding."""
    made = []
    for number, plane in enumerate(frame.planes):
        bits = max(c.bits for c in frame.format.components if c.plane == number)
        rows = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]
        made.append(rows.reshape(plane.height, plane.line_size)[:, : plane.width * ((bits + 7) // 8)].copy())
    return made


def same_planes(first: Any, second: Any) -> bool:
    """Whether two frames hold the same numbers."""
    return all(np.array_equal(a, b) for a, b in zip(planes_of(first), planes_of(second), strict=True))


def rgb_of(frame: Any, *, matrix: int, value_range: int = 1) -> npt.NDArray[np.uint8]:
    """A frame as RGB by a matrix that the test names."""
    made = VideoReformatter().reformat(
        frame, format="rgb24", src_colorspace=matrix, src_color_range=value_range, dst_color_range=2
    )
    return np.asarray(made.to_ndarray(), np.uint8)
