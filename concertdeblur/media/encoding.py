"""How a stream is encoded: codec, pixel format and their price, decided before work starts."""

from dataclasses import dataclass

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.frame import StreamInfo
from concertdeblur.media.containers import check_encoder_fits
from concertdeblur.media.encoders import EncoderSettings, supported_pixel_formats
from concertdeblur.media.hdr import encoder_parameters
from concertdeblur.media.pixel_formats import choose_pixel_format


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a stream is encoded, decided before work starts."""

    format_name: str  # FFmpeg's name of the container
    settings: EncoderSettings
    pixel_format: str
    losses: tuple[str, ...] = ()  # what the pixel format costs, in words


def plan_encoding(
    info: StreamInfo, format_name: str, settings: EncoderSettings, *, supported: tuple[str, ...] | None = None
) -> Encoding:
    """Choose the pixel format, and refuse what cannot go together.

    Args:
        info: The stream as it is read.
        format_name: FFmpeg's name of the container.
        settings: The user's choices.
        supported: Pixel formats of the encoder; None asks PyAV's.

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
    return Encoding(format_name=format_name, settings=settings, pixel_format=choice.name, losses=losses)
