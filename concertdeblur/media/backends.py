"""Which reader decodes and which writer encodes: PyAV (the default), decord, or the system's ffmpeg."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from concertdeblur.frame import StreamInfo
from concertdeblur.media.copier import Companions
from concertdeblur.media.encoders import supported_pixel_formats
from concertdeblur.media.encoding import Encoding
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.media.reader import ReaderName, ReaderOptions, VideoReader, ignore_warning
from concertdeblur.media.writer import VideoWriter

WriterName = Literal["pyav", "ffmpeg"]


def open_reader(
    path: Path,
    options: ReaderOptions,
    *,
    backend: ReaderName = "pyav",
    on_warning: Callable[[str], None] = ignore_warning,
) -> VideoReader:
    """Open a clip's video stream.

    Args:
        path: The clip.
        options: Which stream, which part, how to treat broken and interlaced frames.
        backend: "pyav", or "decord" for 8-bit progressive clips (RGB only, no native planes).
        on_warning: Called with one sentence for each thing that the user should know.

    Raises:
        SourceError: If there is no readable video.
        UnsupportedStreamError: If the stream is interlaced, or more than the backend can do.
        MissingDependencyError: If decord is not installed.
        UsageError: If the options do not fit this clip.

    """
    if backend == "pyav":
        return PyavReader(path, options, on_warning=on_warning)
    from concertdeblur.media.decord_reader import DecordReader  # its package may be missing

    return DecordReader(path, options, on_warning=on_warning)


def open_writer(
    part: Path, info: StreamInfo, encoding: Encoding, companions: Companions | None = None, *, backend: WriterName
) -> VideoWriter:
    """Open an output.

    Args:
        part: The file to write.
        info: The video stream as its frames come.
        encoding: How it is encoded.
        companions: The other streams, tags and chapters that go along; None: the video stands alone.
        backend: "pyav", or "ffmpeg" for encoders that PyAV lacks.

    Raises:
        TargetError: If the file cannot be written.
        UnsupportedStreamError: If the encoder does not open.
        MissingDependencyError: If there is no ffmpeg.

    """
    if backend == "pyav":
        return PyavWriter(part, info, encoding, companions)
    from concertdeblur.media.ffmpeg_writer import FfmpegWriter  # its package may be missing

    return FfmpegWriter(part, info, encoding, companions)


def supported_by(backend: WriterName, encoder: str) -> tuple[str, ...] | None:
    """Pixel formats that a writer's encoder takes; None if PyAV has no such encoder.

    Raises:
        MissingDependencyError: If there is no ffmpeg.
        UnsupportedStreamError: If the system's ffmpeg has no such encoder.

    """
    if backend == "pyav":
        return supported_pixel_formats(encoder)
    from concertdeblur.media.ffmpeg_writer import ffmpeg_pixel_formats

    return ffmpeg_pixel_formats(encoder)
