"""Sound is converted to a codec that the output's container can hold; it keeps its time."""

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.container import OutputContainer
from av.filter import Graph

from concertdeblur.media.containers import MUX_ERRORS

if TYPE_CHECKING:
    from av.packet import Packet

SoundChoice = Literal["copy", "aac", "opus", "flac", "drop"]
ENCODERS = {"aac": "aac", "opus": "libopus", "flac": "flac"}  # FFmpeg's name of a codec -> of its encoder
_RATE_A_CHANNEL_BPS = {"aac": 96_000, "opus": 64_000}  # near transparent
_SHORT_BYTES = 2  # of one sample in flac's default format
_OPUS_RATE = 48_000  # Opus converts every other rate to this one


class SoundConverter:
    """Decodes one stream's packets and encodes them anew; not thread-safe."""

    def __init__(
        self,
        origin: av.AudioStream,
        output: OutputContainer,
        codec: str,
        *,
        begin_s: Fraction | None,
        end_s: Fraction | None,
    ) -> None:
        """Add the stream to the output.

        Args:
            origin: The stream whose packets come.
            output: Not yet started.
            codec: A key of `ENCODERS`.
            begin_s: The source's time that becomes 0; sound before it is cut off. None: nothing is moved.
            end_s: Sound from here on is cut off.

        """
        self._origin = origin.codec_context
        self.stream, self._rate, self._layout = _added(output, origin.codec_context, codec)
        self._begin_s, self._end_s = begin_s, end_s
        self._graph: Graph | None = None
        self._time_base: Fraction | None = None  # of the decoded frames
        self._decoded_s = Fraction(0)  # the end of what was decoded so far
        self.num_broken = 0  # packets that did not decode

    def convert(self, packet: "Packet[Any] | None") -> "list[Packet[Any]]":
        """Convert one packet of the source; gives packets of the output. None asks for the last ones."""
        frames: list[av.AudioFrame] = []
        try:
            frames = self._origin.decode(packet)
        except av.error.EOFError:
            pass
        except av.error.FFmpegError:
            self.num_broken += 1
        made: list[Packet[Any]] = []
        for frame in frames:
            made += self._encoded(frame)
        if packet is None:
            made += self._encoded(None)
            made += self.stream.encode(None)
        return made

    def _encoded(self, frame: av.AudioFrame | None) -> "list[Packet[Any]]":
        if frame is not None:
            self._stamp(frame)
        if self._graph is None:
            if frame is None:
                return []
            self._graph = self._made(frame)
        with contextlib.suppress(av.error.EOFError):  # nothing is decoded behind the cut's end
            self._graph.push(frame)
        made: list[Packet[Any]] = []
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                ready: Any = self._graph.pull()
                assert ready.pts is not None
                begin = (self._begin_s or 0) * self._rate
                ready.pts = round(ready.pts * ready.time_base * self._rate - begin)
                ready.time_base = Fraction(1, self._rate)
                made += self.stream.encode(ready)
        return made

    def _stamp(self, frame: av.AudioFrame) -> None:
        """Let a frame without a time stamp follow the one before; WMA's decoder gives one at the end."""
        if self._time_base is None:
            self._time_base = frame.time_base or Fraction(1, frame.sample_rate)
        if frame.pts is None:
            frame.pts, frame.time_base = round(self._decoded_s / self._time_base), self._time_base
        self._decoded_s = frame.pts * self._time_base + Fraction(frame.samples, frame.sample_rate)

    def _made(self, first: av.AudioFrame) -> Graph:
        """Cut a frame, fill gaps with silence, and bring it into the encoder's form."""
        graph, context = Graph(), self.stream.codec_context
        source = graph.add_abuffer(
            sample_rate=first.sample_rate, format=first.format.name, layout=first.layout.name, time_base=first.time_base
        )
        begin = "" if self._begin_s is None else f"start={float(self._begin_s):.6f}"
        end = "" if self._end_s is None else f"end={float(self._end_s):.6f}"
        steps = [graph.add("atrim", ":".join(filter(None, (begin, end))))] if begin or end else []
        steps.append(graph.add("aresample", f"{self._rate}:async=1"))
        form = f"sample_fmts={context.format.name}:sample_rates={self._rate}:channel_layouts={self._layout}"
        steps.append(graph.add("aformat", form))
        if context.frame_size:
            steps.append(graph.add("asetnsamples", f"n={context.frame_size}:p=0"))
        graph.link_nodes(source, *steps, graph.add("abuffersink")).configure()
        return graph


def can_decode(context: "av.CodecContext | None") -> bool:
    """Whether a stream's sound can be decoded here."""
    return isinstance(context, AudioCodecContext) and context.is_decoder and bool(context.sample_rate)


def target_rate(codec: str, rate: int) -> int:
    """The encoder's sample rate that is nearest to a stream's, in Hz; the higher one of two equally near ones.

    Args:
        codec: A key of `ENCODERS`.
        rate: The stream's.

    """
    if codec == "opus":
        return _OPUS_RATE
    known = av.Codec(ENCODERS[codec], "w").audio_rates
    return min(known, key=lambda each: (abs(each - rate), -each)) if known else rate


def _added(output: OutputContainer, context: Any, codec: str) -> tuple[Any, int, str]:
    rate, layout = target_rate(codec, context.sample_rate), fitting_layout(codec, context)
    stream: Any = output.add_stream(ENCODERS[codec], rate=rate, layout=layout)
    stream.time_base = Fraction(1, rate)
    if codec == "flac" and context.format.bytes > _SHORT_BYTES:
        stream.codec_context.format = "s32"
    if codec in _RATE_A_CHANNEL_BPS:
        stream.codec_context.bit_rate = _RATE_A_CHANNEL_BPS[codec] * stream.codec_context.layout.nb_channels
    stream.codec_context.open()
    return stream, rate, layout


def fitting_layout(codec: str, context: Any) -> str:
    """The channel layout for the encoder: the stream's own if the encoder takes it, else stereo."""
    name = str(context.layout.name)
    trial: Any = av.CodecContext.create(ENCODERS[codec], "w")
    trial.sample_rate, trial.layout = target_rate(codec, context.sample_rate), name
    trial.format = trial.codec.audio_formats[0].name
    try:
        trial.open()
    except MUX_ERRORS:
        return "stereo"
    return name
