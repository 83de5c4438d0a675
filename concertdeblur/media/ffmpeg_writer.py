"""Frames -> a video file through the system's ffmpeg, for encoders that the PyAV wheel lacks.

A pipe of raw frames carries no time stamps. So ffmpeg encodes at a constant rate into a temporary file, and
`finish` muxes its packets with the true ones (frame number -> pts) and the other streams of the source.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from concertdeblur.errors import MissingDependencyError, TargetError, UnsupportedStreamError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.clip import open_clip
from concertdeblur.media.colour import PlaneConverter
from concertdeblur.media.containers import MUX_ERRORS, open_source
from concertdeblur.media.copier import Companions, PacketCopier
from concertdeblur.media.encoding import Encoding, written_colour, written_range
from concertdeblur.media.muxing import remuxed_output, seconds_shift
from concertdeblur.media.output_file import target_error
from concertdeblur.media.priorities import lend_priority
from concertdeblur.media.pyav_writer import planes_of, tag_colour
from concertdeblur.media.reordering import Span, decode_stamps

_PLACE = "encoded.nut"
_MAX_ASPECT = 65_535  # of either number; by default setsar rounds 128:117 to 93:85
_END_TIMEOUT_S = 600  # the last frames of an 8K clip take seconds to encode


def require_ffmpeg() -> str:
    """Path of the system's ffmpeg.

    Raises:
        MissingDependencyError: If there is none.

    """
    path = shutil.which("ffmpeg")
    if path is None:
        raise MissingDependencyError("the writer ffmpeg needs the program ffmpeg on PATH; install it (apt: ffmpeg)")
    return path


def ffmpeg_pixel_formats(encoder: str) -> tuple[str, ...]:
    """What an encoder of the system's ffmpeg takes.

    Raises:
        MissingDependencyError: If there is no ffmpeg.
        UnsupportedStreamError: If it has no such encoder.

    """
    command = [require_ffmpeg(), "-hide_banner", "-h", f"encoder={encoder}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout  # noqa: S603
    found = re.search(r"Supported pixel formats: (.+)", told)
    if "Encoder " not in told or found is None:
        raise UnsupportedStreamError(f"the system's ffmpeg has no encoder {encoder}")
    return tuple(found[1].split())


class FfmpegWriter:
    """Implements `VideoWriter` with the system's ffmpeg."""

    def __init__(self, part: Path, info: StreamInfo, encoding: Encoding, companions: Companions | None = None) -> None:
        """Start ffmpeg.

        Raises:
            MissingDependencyError: If there is no ffmpeg.

        """
        self._part, self._info, self._encoding, self._companions = part, info, encoding, companions
        self._converter = PlaneConverter(info, encoding.pixel_format, value_range=written_range(info, encoding))
        self._stamps: list[tuple[int, int]] = []  # (pts, duration), some 150 bytes a frame
        self._encoded = part.with_name(part.name + ".nut")
        self._rate_fps = max(1, round(info.rate or 25))  # only the encoder's rate control sees it
        command = self._command(self._encoded)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True
        )

    def __enter__(self) -> "FfmpegWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Send one frame; its pts must be larger than the last one's.

        The first frame is also encoded and muxed on its own, so that an error of the container is known at once.

        Raises:
            TargetError: If ffmpeg fails, or the container does not take what it makes.

        """
        assert self._process.stdin is not None
        planes = packed_planes(planes_of(frame, self._converter))
        if not self._stamps:
            self._try(planes, (frame.pts, frame.duration))
        try:
            for plane in planes:
                self._process.stdin.write(plane)
        except OSError as error:
            raise self._failure() from error
        self._stamps.append((frame.pts, frame.duration))
        lend_priority(self._process.pid)  # ffmpeg may open its encoder at any time

    def finish(self) -> None:
        """Let ffmpeg end, then mux its packets with the true time stamps and the other streams."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            if self._process.wait(timeout=_END_TIMEOUT_S) != 0:
                raise self._failure()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failure() from error
        try:
            self._remux(self._encoded, self._part, self._stamps, self._companions)
        except MUX_ERRORS as error:
            raise target_error(self._part, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """End ffmpeg, also in the middle, and remove its temporary file."""
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()
        self._log.close()
        self._encoded.unlink(missing_ok=True)

    def _command(self, encoded: Path) -> list[str]:
        import ffmpeg

        info, encoding = self._info, self._encoding
        source = ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt=encoding.pixel_format,
            video_size=(info.width, info.height),
            framerate=str(self._rate_fps),
        )
        colour = written_colour(info, encoding)
        options: dict[str, Any] = {
            "vcodec": encoding.settings.encoder,
            "pix_fmt": encoding.pixel_format,
            "format": "nut",
            "threads": encoding.settings.num_threads,
            "fps_mode": "passthrough",
            "color_primaries": colour.primaries,
            "color_trc": colour.transfer,
            "colorspace": colour.matrix,
            "color_range": colour.range,
            **encoding.settings.options(info.hdr),
        }
        filters = []
        if encoding.settings.codec == "prores":  # its encoder writes the frames' tags, and not those of the options
            tags = f"color_primaries={colour.primaries}:color_trc={colour.transfer}:colorspace={colour.matrix}"
            filters.append(f"setparams={tags}:range={colour.range}")
        if info.sample_aspect_ratio:
            aspect = info.sample_aspect_ratio
            filters.append(f"setsar={aspect.numerator}/{aspect.denominator}:max={_MAX_ASPECT}")
        if filters:
            options["vf"] = ",".join(filters)
        # ffmpeg-python takes UTF-8 only, and a file's name may be something else: it is put in afterwards
        command = ffmpeg.output(source, _PLACE, **options).overwrite_output()
        arguments = ffmpeg.compile(command.global_args("-hide_banner", "-loglevel", "error"), cmd=require_ffmpeg())
        return [f"file:{encoded}" if argument == _PLACE else str(argument) for argument in arguments]

    def _failure(self) -> TargetError:
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return self._failed(lines[-1] if lines else "it ended early")

    def _try(self, planes: list[bytes], stamp: tuple[int, int]) -> None:
        """Make a file of one frame, and throw it away."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            encoded, part = folder / "one.nut", folder / "one"
            made = subprocess.run(  # noqa: S603
                self._command(encoded), input=b"".join(planes), capture_output=True, check=False, timeout=_END_TIMEOUT_S
            )
            if made.returncode != 0:
                lines = made.stderr.decode(errors="replace").strip().splitlines()
                raise self._failed(lines[-1] if lines else "it ended early")
            companions = self._companions
            if companions is not None:
                clip = stack.enter_context(open_clip(companions.clip.path, companions.clip.timeline))
                companions = replace(companions, clip=clip)
            try:
                self._remux(encoded, part, [stamp], companions, is_whole=False)
            except MUX_ERRORS as error:
                raise target_error(self._part, error) from error

    def _failed(self, reason: str) -> TargetError:
        if os.strerror(errno.ENOSPC) in reason:
            return target_error(self._part, OSError(errno.ENOSPC, reason))
        return TargetError(f"ffmpeg's encoder {self._encoding.settings.encoder} failed: {reason}")

    def _remux(
        self,
        nut: Path,
        part: Path,
        shown: list[tuple[int, int]],
        companions: Companions | None,
        *,
        is_whole: bool = True,
    ) -> None:
        info = self._info
        shift = seconds_shift(companions, info.time_base)
        begin_s = (companions.begin_s if companions else None) or Fraction(0)
        stamps = [(pts - shift, duration) for pts, duration in shown]
        with contextlib.ExitStack() as stack:
            encoded = stack.enter_context(open_source(nut))
            output = stack.enter_context(remuxed_output(part, info, self._encoding.format_name, companions))
            origin = encoded.streams.video[0]
            added: list[av.VideoStream] = []

            def add_video() -> av.VideoStream:
                stream = output.add_stream_from_template(origin, opaque=True)
                stream.time_base = info.time_base
                tag_colour(stream.codec_context, written_colour(info, self._encoding))  # nut does not hold all of it
                if info.rate:
                    stream.codec_context.framerate = info.rate
                if info.display_matrix is not None:
                    stream.set_display_matrix(info.display_matrix)
                added.append(stream)
                return stream

            copier = PacketCopier(companions, output, add_video) if companions else None
            if not copier:
                add_video()
            is_mov = self._encoding.format_name in ("mp4", "mov")
            for packet in retimed(nut, stamps, info.time_base, rate_fps=self._rate_fps, is_mov=is_mov):
                packet.stream = added[0]
                if copier:
                    copier.copy_until(packet.dts * info.time_base + begin_s)
                output.mux_one(packet)
            if copier and is_whole:
                copier.finish()


def retimed(
    path: Path, stamps: list[tuple[int, int]], time_base: Fraction, *, rate_fps: int, is_mov: bool
) -> Iterator[Any]:
    """The packets of a file made at a constant rate, with the time stamps of the frames that they hold.

    A packet's pts counts frames, so it picks its stamp.
    """
    with open_source(path) as encoded:
        counts = [round(p.pts * p.time_base * rate_fps) for p in encoded.demux(video=0) if p.pts is not None]
    first = min(counts, default=0)  # nut begins at dts 0, so the pts of reordered frames are all too late
    shown = [stamps[count - first] for count in counts]
    decoded = list(decode_stamps(pts for pts, _ in shown))
    if is_mov and shown:
        span = Span()
        for (pts, duration), dts in zip(shown, decoded, strict=True):
            span.add(pts, dts, duration)
        shown[-1] = (shown[-1][0], span.last_duration() or shown[-1][1])
    with open_source(path) as encoded:
        packets = (packet for packet in encoded.demux(video=0) if packet.pts is not None)
        for packet, (pts, duration), dts in zip(packets, shown, decoded, strict=True):
            packet.time_base = time_base
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            yield packet


def packed_planes(picture: "av.VideoFrame") -> list[bytes]:
    """The planes of a picture without padding, as ffmpeg's rawvideo expects them."""
    packed: list[bytes] = []
    for number, plane in enumerate(picture.planes):
        parts = [component for component in picture.format.components if component.plane == number]
        sample_bytes = (max(part.bits for part in parts) + 7) // 8
        is_packed = len(picture.planes) == 1
        pixel_bytes = picture.format.padded_bits_per_pixel // 8 if is_packed else sample_bytes * len(parts)
        rows = np.frombuffer(memoryview(plane), dtype=np.uint8)[: plane.height * plane.line_size].reshape(
            -1, plane.line_size
        )
        packed.append(rows[:, : plane.width * pixel_bytes].tobytes())
    return packed
