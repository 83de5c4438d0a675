"""How a stream is encoded: codec, pixel format and what they cost; this is decided before work starts."""

from dataclasses import dataclass, replace
from enum import IntEnum

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.frame import Colour, StreamInfo
from concertdeblur.media.colour import BT709, FULL_RANGE, LIMITED_RANGE, effective_range
from concertdeblur.media.containers import check_encoder_fits
from concertdeblur.media.encoders import EncoderSettings, supported_pixel_formats
from concertdeblur.media.hdr import encoder_parameters
from concertdeblur.media.pixel_formats import choose_pixel_format, sampling_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a stream is encoded, decided before work starts."""

    format_name: str  # FFmpeg's name of the container
    settings: EncoderSettings
    pixel_format: str
    losses: tuple[str, ...] = ()  # what the pixel format costs, in words


COMPATIBLE_FORMAT = "yuv420p"  # 8 bits, 4:2:0: every player takes it
_MOST_DEVICES = frozenset({"hevc", "av1", "vp9", "vp8"})
_OLD_FORMATS = frozenset({"mjpeg", "mpeg4", "mpeg2video", "mpeg1video", "h263", "wmv1", "wmv2", "wmv3", "vc1"})


def plan_encoding(
    info: StreamInfo,
    format_name: str,
    settings: EncoderSettings,
    *,
    supported: tuple[str, ...] | None = None,
    is_default: bool = False,
) -> Encoding:
    """Choose the pixel format, and refuse what cannot go together.

    Args:
        info: The stream as it is read.
        format_name: FFmpeg's name of the container.
        settings: The user's choices.
        supported: Pixel formats of the encoder; None asks PyAV's.
        is_default: Whether nobody chose the codec. Then a loss names an output that plays in fewer places than the
            source.

    Raises:
        UnsupportedStreamError: If there is no such encoder, or the container cannot hold its codec.

    """
    if supported is None:
        supported = supported_pixel_formats(settings.encoder)
    if supported is None:
        raise UnsupportedStreamError(
            f"PyAV's build has no encoder {settings.encoder}; the writer ffmpeg may, if the system's ffmpeg has it"
        )
    check_encoder_fits(settings.codec.split("_")[0], settings.codec, format_name)
    choice = choose_pixel_format(
        info.pixel_format, supported, height=info.height, width=info.width, encoder=settings.encoder
    )
    losses = choice.losses
    if losses and (info.height % 2 or info.width % 2):
        hint = f"{settings.codec} needs it for the odd size {info.width}x{info.height}; av1 and ffv1 do not"
        losses = (*losses[:-1], f"{losses[-1]} ({hint})")
    if info.hdr is not None and not encoder_parameters(info.hdr, settings.encoder):
        losses = (*losses, f"the mastering display and light levels of HDR are dropped: {settings.codec} has no place")
    if is_default and (told := _narrowed(info, settings.codec, choice.name)):
        losses = (*losses[:-1], f"{losses[-1]}; {told}") if losses else (told,)
    if choice.name == COMPATIBLE_FORMAT and info.colour.is_hdr and info.bit_depth > 8:
        losses = (*losses, "HDR in 8 bits shows steps in even colours, and looks pale where a player knows no HDR")
    return Encoding(format_name=format_name, settings=settings, pixel_format=choice.name, losses=losses)


def written_colour(info: StreamInfo, encoding: Encoding) -> Colour:
    """The colour tags of the output: the source's, and what it leaves unspecified stays so.

    But a full range is always named, and RGB that is encoded as YUV has BT.709's matrix.
    """
    colour, own_range, made_range = info.colour, effective_range(info), written_range(info, encoding)
    if sampling_of(info.pixel_format).is_rgb and not sampling_of(encoding.pixel_format).is_rgb:
        colour = replace(colour, matrix=BT709)
    if made_range != own_range or made_range == FULL_RANGE:
        colour = replace(colour, range=made_range)
    return colour


def written_range(info: StreamInfo, encoding: Encoding) -> int:
    """FFmpeg's number of the range of the output's planes; decoders take ProRes for limited, whatever is tagged."""
    return LIMITED_RANGE if encoding.settings.codec == "prores" else effective_range(info)


class _Reach(IntEnum):
    """Where a stream plays."""

    SOME_PROGRAMS = 0
    MOST_DEVICES = 1
    EVERYWHERE = 2


def _narrowed(info: StreamInfo, codec: str, pixel_format: str) -> str:
    """The loss of an output that plays in fewer places than its source; empty if there is none."""
    if _reach(codec, pixel_format) >= _reach(info.codec, info.pixel_format):
        return ""
    made = sampling_of(pixel_format)
    kind = f"{made.bits} bits" if made.bits > 8 else pixel_format
    keeps = " (--codec hevc keeps the source's kind)" if info.codec == "hevc" else ""
    return f"{codec} with {kind} does not play on many devices{keeps}; --compatible writes a file that plays everywhere"


def _reach(codec: str, pixel_format: str) -> _Reach:
    if codec in _OLD_FORMATS:
        return _Reach.MOST_DEVICES
    sampling = sampling_of(pixel_format)
    is_420 = (sampling.chroma_width, sampling.chroma_height) == (2, 2) and not sampling.is_rgb
    if codec == "h264" and is_420 and sampling.bits == 8:
        return _Reach.EVERYWHERE
    is_common = codec in _MOST_DEVICES and is_420 and sampling.bits <= 10
    return _Reach.MOST_DEVICES if is_common else _Reach.SOME_PROGRAMS
