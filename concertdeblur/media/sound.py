"""Sound is converted to a codec that the output's container can hold; it keeps its time."""

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.container import OutputContainer
from av.filter import Graph
from av.stream import Stream

from concertdeblur.errors import SourceError
from concertdeblur.media.containers import MUX_ERRORS, error_text
from concertdeblur.media.descriptions import has_own_channel_order

if TYPE_CHECKING:
    from av.packet import Packet

SoundChoice = Literal["copy", "aac", "opus", "flac", "drop"]
ENCODERS = {"aac": "aac", "opus": "libopus", "flac": "flac"}  # FFmpeg's name of a codec -> of its encoder
_RATE_A_CHANNEL_BPS = {"aac": 96_000, "opus": 64_000}  # near transparent
_SHORT_BYTES = 2  # of one sample in flac's default format
_OPUS_RATE = 48_000  # Opus converts every other rate to this one
_USUAL_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # of one channel, of two, and so on
_AS_GOOD = {"SL": "BL", "SR": "BR"}  # channels at the side, which are behind the listener in other layouts


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
        self._origin, self._index = origin.codec_context, origin.index
        self.stream, self._rate, self._layout = _added(output, origin.codec_context, codec)
        self._begin_s, self._end_s = begin_s, end_s
        self._form: tuple[int, str, str] | None = None  # rate, sample format and layout of the newest decoded frame
        self._conversion: Graph | None = None  # from that form to the encoder's
        self._fitting: Graph | None = None  # cuts what was converted, and fills gaps
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
        try:
            ready = self._fitted(frame)
        except MUX_ERRORS as error:
            raise SourceError(
                f"stream {self._index} (audio) cannot be converted ({error_text(error)}); copy it, or leave it out with"
                " --audio drop"
            ) from error
        made: list[Packet[Any]] = []
        for each in ready:
            begin = (self._begin_s or 0) * self._rate
            each.pts = round(each.pts * each.time_base * self._rate - begin)
            each.time_base = Fraction(1, self._rate)
            made += self.stream.encode(each)
        return made

    def _fitted(self, frame: av.AudioFrame | None) -> list[Any]:
        """Frames as the encoder takes them. None asks for the last ones."""
        converted: list[Any] = []
        form = None
        if frame is not None:
            self._stamp(frame)
            form = (frame.sample_rate, frame.format.name, frame.layout.name)
        if form != self._form and self._conversion is not None:
            converted += _passed(self._conversion, None)
            self._conversion = None
        if frame is not None:
            self._form, self._conversion = form, self._conversion or self._made_conversion(frame)
            converted += _passed(self._conversion, frame)
        if self._fitting is None and converted:
            self._fitting = self._made_fitting(converted[0])
        if self._fitting is None:
            return []
        ready = [each for whole in converted for each in _passed(self._fitting, whole)]
        return ready if frame is not None else ready + _passed(self._fitting, None)

    def _stamp(self, frame: av.AudioFrame) -> None:
        """Let a frame without a time stamp follow the one before; WMA's decoder gives one at the end."""
        if self._time_base is None:
            self._time_base = frame.time_base or Fraction(1, frame.sample_rate)
        if frame.pts is None:
            frame.pts, frame.time_base = round(self._decoded_s / self._time_base), self._time_base
        self._decoded_s = frame.pts * self._time_base + Fraction(frame.samples, frame.sample_rate)

    def _made_conversion(self, first: av.AudioFrame) -> Graph:
        """Bring frames of one form into the encoder's; broadcasts change theirs in the middle."""
        graph = Graph()
        form = f"sample_fmts={self.stream.codec_context.format.name}:channel_layouts={self._layout}"
        steps = [graph.add("aresample", str(self._rate)), graph.add("aformat", f"{form}:sample_rates={self._rate}")]
        graph.link_nodes(_source(graph, first), *steps, graph.add("abuffersink")).configure()
        return graph

    def _made_fitting(self, first: av.AudioFrame) -> Graph:
        """Cut converted frames, fill gaps with silence, and give as many samples at once as the encoder takes."""
        graph, context = Graph(), self.stream.codec_context
        begin = "" if self._begin_s is None else f"start={float(self._begin_s):.6f}"
        end = "" if self._end_s is None else f"end={float(self._end_s):.6f}"
        steps = [graph.add("atrim", ":".join(filter(None, (begin, end))))] if begin or end else []
        steps.append(graph.add("aresample", f"{self._rate}:async=1"))
        if context.frame_size:
            steps.append(graph.add("asetnsamples", f"n={context.frame_size}:p=0"))
        graph.link_nodes(_source(graph, first), *steps, graph.add("abuffersink")).configure()
        return graph


def _source(graph: Graph, first: av.AudioFrame) -> Any:
    return graph.add_abuffer(
        sample_rate=first.sample_rate, format=first.format.name, layout=first.layout.name, time_base=first.time_base
    )


def _passed(graph: Graph, frame: av.AudioFrame | None) -> list[Any]:
    """What comes out of a graph for one frame. None asks for the last ones."""
    with contextlib.suppress(av.error.EOFError):  # nothing is decoded behind the cut's end
        graph.push(frame)
    made = []
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            made.append(graph.pull())
    return made


def can_decode(stream: Stream) -> bool:
    """Whether a stream's sound can be decoded here."""
    context = stream.codec_context
    is_known = isinstance(context, AudioCodecContext) and context.is_decoder and bool(context.sample_rate)
    return is_known and not has_own_channel_order(stream)


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
    """The channel layout for the encoder: the stream's own, else the usual one with as many channels, else stereo.

    Args:
        codec: A key of `ENCODERS`.
        context: The stream's codec context, which `can_decode`.

    """
    own = context.layout
    candidates = [str(own.name), *_USUAL_LAYOUTS[own.nb_channels - 1 : own.nb_channels]]
    fitting = (
        name
        for name in candidates
        if _keeps_bass(own, name) and opens(codec, target_rate(codec, context.sample_rate), name)
    )
    return next(fitting, "stereo")


def mixing(codec: str, context: Any) -> str:
    """What becomes of channels that the encoder cannot keep apart, in words; empty if it keeps all."""
    own, made = context.layout, av.AudioLayout(fitting_layout(codec, context))
    is_named = any(channel.name in ("FL", "FC") for channel in own.channels)
    if _places(own) == _places(made) or (not is_named and own.nb_channels == made.nb_channels):
        return ""
    return f"its channels ({own.name}) are mixed to {made.name}"


def _places(layout: av.AudioLayout) -> list[str]:
    return sorted(_AS_GOOD.get(channel.name, channel.name) for channel in layout.channels)


def _keeps_bass(own: av.AudioLayout, name: str) -> bool:
    """Whether a layout has the channel for bass that the stream has; FFmpeg mixes it into no other one."""
    return "LFE" not in _places(own) or "LFE" in _places(av.AudioLayout(name))


def opens(codec: str, rate: int, layout: str) -> bool:
    """Whether an encoder takes a sample rate in Hz and a channel layout."""
    trial: Any = av.CodecContext.create(ENCODERS[codec], "w")
    trial.sample_rate, trial.layout = rate, layout
    trial.format = trial.codec.audio_formats[0].name
    try:
        trial.open()
    except MUX_ERRORS:
        return False
    return True
