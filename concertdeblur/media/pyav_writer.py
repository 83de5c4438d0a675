"""Frames -> a video file through PyAV's own encoders, with the other streams of the source around them."""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
from av.codec.context import Flags
from av.container import OutputContainer

from concertdeblur.errors import ConcertDeblurError, UnsupportedStreamError
from concertdeblur.frame import Colour, Frame, StreamInfo
from concertdeblur.media.captions import ENCODER_OPTIONS, captioned
from concertdeblur.media.colour import PlaneConverter
from concertdeblur.media.containers import MUX_ERRORS, error_text, open_output
from concertdeblur.media.copier import Companions, PacketCopier
from concertdeblur.media.encoding import Encoding, written_colour, written_range
from concertdeblur.media.muxing import muxer_options, seconds_shift
from concertdeblur.media.output_file import target_error
from concertdeblur.media.priorities import keeping_priorities
from concertdeblur.media.reordering import Span, are_usable, decode_stamps


class PyavWriter:
    """Implements `VideoWriter` with the encoders that PyAV brings; without `companions` the video stands alone."""

    def __init__(self, part: Path, info: StreamInfo, encoding: Encoding, companions: Companions | None = None) -> None:
        """Open `part` and the encoder, and write the header.

        Raises:
            TargetError: If the file cannot be written.
            UnsupportedStreamError: If the encoder does not open.

        """
        self._part, self._info, self._encoding = part, info, encoding
        self._converter = PlaneConverter(info, encoding.pixel_format, value_range=written_range(info, encoding))
        self._durations: dict[int, int] = {}
        self._held: Any = None  # the newest packet: its duration is known only when the next one comes, or at the end
        self._span = Span()
        self._copier: PacketCopier | None = None
        self._shift = seconds_shift(companions, info.time_base)
        self._begin_s = (companions.begin_s if companions else None) or Fraction(0)
        self._output = open_output(part, encoding.format_name, muxer_options(info, encoding.format_name, companions))
        try:
            if companions:
                self._copier = PacketCopier(companions, self._output, self._add_video)
            else:
                self._add_video()
            open_encoder(self._stream, self._info, self._encoding)
            self._output.start_encoding()
        except BaseException as error:
            self.close()
            if isinstance(error, MUX_ERRORS) and not isinstance(error, ConcertDeblurError):
                raise target_error(part, error) from error
            raise

    def __enter__(self) -> "PyavWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Encode one frame; its pts must be larger than the last one's."""
        picture = encoder_input(frame, self._converter, self._info.time_base, shift=self._shift)
        if frame.duration:
            self._durations[frame.pts - self._shift] = frame.duration
        try:
            self._mux(self._stream.encode(picture))
        except MUX_ERRORS as error:
            raise target_error(self._part, error) from error

    def finish(self) -> None:
        """Drain the encoder, copy the rest of the other streams, complete the file."""
        try:
            self._mux(self._with_decode_stamps(self._stream.encode(None)))
            self._complete()
        except MUX_ERRORS as error:
            raise target_error(self._part, error) from error
        finally:
            self.close()

    def join(self, packets: "Iterable[av.Packet[Any]]") -> None:
        """Complete the file with packets that encoders like this one made, in coding order, instead of frames.

        Args:
            packets: With the source's time stamps, in its time base; `dts` grow.

        """
        try:
            for packet in packets:
                packet.stream = self._stream
                packet.pts, packet.dts = (packet.pts or 0) - self._shift, (packet.dts or 0) - self._shift
                self._mux([packet])
            self._complete()
        except MUX_ERRORS as error:
            raise target_error(self._part, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Release everything, also in the middle; safe after `finish`."""
        with contextlib.suppress(*MUX_ERRORS):  # without `finish` the file is given up anyway
            self._output.close()

    @property
    def extradata(self) -> bytes:
        """What decoders need before the first packet."""
        return self._stream.codec_context.extradata or b""

    def _complete(self) -> None:
        """Write the last packet, the rest of the other streams and the end of the file."""
        if self._held is not None:
            if self._encoding.format_name in ("mp4", "mov"):
                self._held.duration = self._span.last_duration() or self._held.duration
            self._mux_one(self._held)
        if self._copier:
            self._copier.finish()
        self._output.close()

    def _add_video(self) -> av.VideoStream:
        self._stream = add_encoder(self._output, self._info, self._encoding)
        return self._stream

    def _with_decode_stamps(self, packets: list[Any]) -> list[Any]:
        """The last packets with new dts, if x265 gave no usable ones, as in clips shorter than its look-ahead."""
        pts = [packet.pts for packet in packets]
        if self._held is None and packets and not are_usable(pts, [packet.dts for packet in packets]):
            for packet, dts in zip(packets, decode_stamps(pts), strict=True):
                packet.dts = dts
        return packets

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
            self._span.add(packet.pts, packet.dts, packet.duration)
            if self._held is not None:
                self._mux_one(self._held)
            self._held = packet

    def _mux_one(self, packet: Any) -> None:
        if self._copier:
            stamp = packet.dts if packet.dts is not None else packet.pts
            self._copier.copy_until(stamp * packet.time_base + self._begin_s)
        self._output.mux_one(packet)


def add_encoder(output: OutputContainer, info: StreamInfo, encoding: Encoding) -> av.VideoStream:
    """Add the stream of an output for which frames are encoded; `open_encoder` opens it."""
    settings = encoding.settings
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints messages, and only this variable stops it
    options = settings.options(info.hdr) | ENCODER_OPTIONS.get(settings.encoder, {})
    stream = cast(av.VideoStream, output.add_stream(settings.encoder, rate=info.rate or 25, options=options))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = info.width, info.height, encoding.pixel_format
    stream.time_base = info.time_base
    context.time_base = info.time_base
    context.thread_count = settings.num_threads
    context.flags |= Flags.frame_duration
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = info.sample_aspect_ratio
    tag_colour(context, written_colour(info, encoding))
    if settings.codec.startswith("hevc") and encoding.format_name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # Apple's players need this tag
    if info.display_matrix is not None:
        stream.set_display_matrix(info.display_matrix)
    return stream


def open_encoder(stream: av.VideoStream, info: StreamInfo, encoding: Encoding) -> None:
    """Open the encoder of a stream.

    Raises:
        UnsupportedStreamError: If it does not open.

    """
    name = encoding.settings.encoder
    try:
        with keeping_priorities():
            stream.codec_context.open()
    except MUX_ERRORS as error:
        hint = "; is its device there?" if encoding.settings.is_hardware else ""
        raise UnsupportedStreamError(
            f"the encoder {name} does not open for {info.width}x{info.height} "
            f"{encoding.pixel_format} ({error_text(error)}){hint}"
        ) from error
    left = set(stream.codec_context.options) - {"threads"}
    if left:  # FFmpeg ignores, without a message, an option that an encoder does not know
        raise UnsupportedStreamError(f"the encoder {name} does not know the option {', '.join(sorted(left))}")


def encoder_input(frame: Frame, converter: PlaneConverter, time_base: Fraction, *, shift: int = 0) -> av.VideoFrame:
    """A frame as an encoder takes it; its pts is moved back by `shift` units of the time base."""
    picture = planes_of(frame, converter)
    picture.pts = frame.pts - shift
    picture.time_base = time_base
    picture.pict_type = 0  # the encoder decides; the source's picture type would force its choice
    return picture


def planes_of(frame: Frame, converter: PlaneConverter) -> av.VideoFrame:
    """A frame in the encoder's pixel format, made from its native planes if it has them, else from RGB."""
    if frame.native is not None:
        return converter.from_native(frame.native)
    assert frame.pixels is not None
    made = converter.from_rgb(frame.pixels)
    return captioned(made, frame.captions) if frame.captions is not None else made


def tag_colour(context: av.VideoCodecContext, colour: Colour) -> None:
    """Write all four colour tags."""
    context.color_primaries = colour.primaries
    context.color_trc = colour.transfer
    context.colorspace = colour.matrix
    context.color_range = colour.range
