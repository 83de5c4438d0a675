"""Which container a file is, and what it can hold: FFmpeg's own muxers are asked, there is no table here."""

import contextlib
import io
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from concertdeblur.errors import SourceError, UnsupportedStreamError, UsageError
from concertdeblur.media.descriptions import has_own_channel_order

if TYPE_CHECKING:
    from av.stream import Stream

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
MUX_ERRORS = (av.error.FFmpegError, ValueError, RuntimeError)
_FOR_PICTURES = "'concertdeblur image' takes pictures"
# the first brand of such files; FFmpeg would show the tiles of their still picture as a clip
_STILL_BRANDS = dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2"), "HEIC") | {b"avif": "AVIF"}
_HEAD_BYTES = 12
_SILENT_BYTES = 24 * 16  # of each channel: whole samples, whatever their depth
# microseconds and bytes from the beginning in which FFmpeg looks for every stream; by default 5 s and 5 MB
_LONG_LOOK = {"analyzeduration": "60000000", "probesize": "100000000"}
_PICTURES = ("image2", "_pipe")
# FFmpeg opens playlists and still pictures as if they were clips
_NOT_CLIPS = ("concat", "hls", "dash", "tty", "srt", "ass", "webvtt", "lrc", *_PICTURES)


def output_format(target: Path) -> str:
    """FFmpeg's name of the container that the file name asks for.

    Raises:
        UsageError: If the suffix is none of mp4, m4v, mov, mkv, webm.

    """
    try:
        return FORMATS[target.suffix.lower()]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        hint = "" if target.suffix else "; if it is meant as a folder, create it first"
        raise UsageError(f"{target.name}: the output's name must end in one of {known}{hint}") from None


def open_source(path: Path) -> InputContainer:
    """Open a clip for reading; only local files are followed.

    Raises:
        SourceError: If it is missing, empty, a folder, or not a clip that FFmpeg understands.

    """
    check_source(path)
    container = _opened(path, {})
    if any(part in container.format.name for part in _NOT_CLIPS):
        name = container.format.name
        container.close()
        if any(part in name for part in _PICTURES):
            raise SourceError(f"{path}: is a picture, not a clip; {_FOR_PICTURES}")
        raise SourceError(f"{path}: not a clip (it looks like '{name}')")
    if any(_is_undescribed(stream) for stream in container.streams):
        container.close()
        return _opened(path, _LONG_LOOK)
    return container


def _opened(path: Path, options: dict[str, str]) -> InputContainer:
    options = {"protocol_whitelist": "file"} | options
    try:
        return av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise SourceError(f"{path}: not a clip, or cut off before its index was written") from error
    except (*MUX_ERRORS, OSError) as error:
        raise SourceError(f"{path}: cannot be opened ({error_text(error)})") from error


def _is_undescribed(stream: "Stream") -> bool:
    """Whether FFmpeg saw no packet that describes a stream, as where sound begins late in a transport stream."""
    context = stream.codec_context
    if isinstance(context, AudioCodecContext):
        return not context.sample_rate
    return isinstance(context, VideoCodecContext) and not (context.width and context.height)


def check_source(path: Path) -> None:
    """Refuse what cannot be a clip before FFmpeg sees it.

    Raises:
        SourceError: If it is missing, a folder, not a regular file, unreadable, empty, or a picture in a clip's form.

    """
    try:
        if path.is_dir():
            raise SourceError(f"{path}: is a folder, not a clip")
        if not path.exists():
            raise SourceError(f"{path}: no such file")
        if not path.is_file():
            raise SourceError(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if not head:
            raise SourceError(f"{path}: is empty")
        if head[4:8] == b"ftyp" and (kind := _STILL_BRANDS.get(head[8:12])):
            raise SourceError(f"{path}: is a picture ({kind}), not a clip; {_FOR_PICTURES}")
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error


def open_output(path: Path, format_name: str, options: dict[str, str] | None = None) -> OutputContainer:
    """Open a file for muxing; nothing is written before the first packet or `start_encoding`."""
    return av.open(f"file:{path}", "w", format=format_name, container_options=options or {})


def add_copy(output: OutputContainer, stream: "Stream") -> "Stream":
    """Add a stream to an output for packets that are copied.

    PCM in Matroska does not name its channels, but mp4 must: two are left and right.
    """
    made = output.add_stream_from_template(stream, opaque=True)
    context = made.codec_context
    if isinstance(context, AudioCodecContext) and _is_readable_pcm(stream) and context.layout.name == "2 channels":
        context.layout = "stereo"
    return made


def can_copy(stream: "Stream", format_name: str) -> bool:
    """Whether the container takes this stream's packets as they are: its muxer is tried on an empty file.

    FFmpeg's `avformat_query_codec` alone says yes to streams whose header is then refused. mp4 refuses PCM only at the
    end of the file, so some silence is written, too.
    """
    trial = av.open(io.BytesIO(), "w", format=format_name)
    try:
        made = add_copy(trial, stream)
        trial.start_encoding()
        if _is_readable_pcm(stream):
            trial.mux_one(_silence(stream, made))
            trial.close()
    except MUX_ERRORS:
        return False
    finally:
        with contextlib.suppress(*MUX_ERRORS):  # some muxers complain about an index without packets
            trial.close()
    return True


def _is_readable_pcm(stream: "Stream") -> bool:
    context = stream.codec_context
    is_pcm = isinstance(context, AudioCodecContext) and context.name.startswith("pcm_")
    return is_pcm and not has_own_channel_order(stream)


def _silence(stream: "Stream", target: "Stream") -> "Packet[Any]":
    """A packet of PCM."""
    context = stream.codec_context
    assert isinstance(context, AudioCodecContext)
    made: Packet[Any] = Packet(bytes(_SILENT_BYTES * context.layout.nb_channels))
    made.pts = made.dts = 0
    made.time_base, made.stream = Fraction(1, context.sample_rate or 1), target
    return made


def check_encoder_fits(encoder: str, codec: str, format_name: str) -> None:
    """Refuse a codec that the container cannot hold.

    Raises:
        UnsupportedStreamError: With the containers that can.

    """
    if not can_encode(encoder, format_name):
        fitting = [suffix for suffix, name in FORMATS.items() if can_encode(encoder, name)]
        raise UnsupportedStreamError(
            f"a {format_name} file cannot hold {codec} video; choose another codec, or one of {', '.join(fitting)}"
        )


def can_encode(encoder: str, format_name: str) -> bool:
    """Whether the container takes what an encoder makes.

    FFmpeg's tables say yes too often for mov, so its header is tried, too.
    """
    size = {"width": 64, "height": 64} if encoder not in ("aac", "libopus", "flac") else {}
    trial = av.open(io.BytesIO(), "w", format=format_name)
    try:
        trial.add_mux_stream(encoder, rate=25 if size else 48_000, **size)
        if format_name == "mov":  # other headers need the encoder's description, which is not known yet
            trial.start_encoding()
    except MUX_ERRORS:
        return False
    finally:
        with contextlib.suppress(*MUX_ERRORS):
            trial.close()
    return True


def error_text(error: BaseException) -> str:
    """The short reason in an error of PyAV or the system."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
