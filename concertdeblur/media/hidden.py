"""What an edit list of mov or mp4 hides: packets before the beginning and behind the end that no player shows.

Copied into another container they would come back. Those right before the beginning are needed, though: they prime a
decoder. A container with edit lists hides them again; Matroska can hide as many samples as it is told ("CodecDelay").
"""

import math
import struct
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.container import OutputContainer

from concertdeblur.media.containers import MUX_ERRORS

if TYPE_CHECKING:
    from av.packet import Packet

_MOST_PRIMING_S = Fraction(8, 100)  # what Opus wants, the most of all
_MOST_AAC_PRIMING = 2112  # samples; what most encoders but FFmpeg's use
_AAC_DELAY = 1024  # samples that FFmpeg's encoder says its decoder needs, and that Matroska then hides
_ROUNDING_S = Fraction(2, 1000)  # less than anybody hears; Matroska counts in milliseconds
_OPUS_RATE, _OPUS_HEAD = 48_000, struct.Struct("<8sBBH")  # magic, version, channels, samples to skip


def hides_priming(format_name: str) -> bool:
    """Whether a container hides what lies before time 0."""
    return format_name in ("mp4", "mov")


def is_trimmed(first: "Packet[Any]") -> bool:
    """Whether more is hidden at the beginning of a stream than what primes its decoder, by its first packet."""
    context = first.stream.codec_context
    if first.pts is None or context is None or not context.sample_rate:
        return False
    return -first.pts * first.time_base > Fraction(_MOST_AAC_PRIMING, context.sample_rate)


def primed_stream(output: OutputContainer, origin: Any) -> Any:
    """A stream for copied AAC whose first 1024 samples the container hides; None if that cannot be had.

    PyAV gives no way to say how many samples prime a decoder, except by an encoder that says it. So the stream is one
    for FFmpeg's own AAC encoder, which is never asked to encode, with the description of the source's.
    """
    context = origin.codec_context
    if context.codec.canonical_name != "aac" or not context.extradata:
        return None
    try:
        stream: Any = output.add_stream("aac", rate=context.sample_rate, layout=context.layout.name)
        stream.codec_context.open()
    except MUX_ERRORS:
        return None
    stream.codec_context.extradata = bytes(context.extradata)
    return stream


class Curtain:
    """Lets through the packets of one stream that are shown, and those that prime its decoder."""

    def __init__(self, origin: Any, *, can_hide: bool, is_primed: bool) -> None:
        """Take the facts.

        Args:
            origin: The stream.
            can_hide: Whether the output hides what lies before time 0.
            is_primed: Whether it hides the first `_AAC_DELAY` samples.

        """
        self._kind = origin.type
        self._can_hide = can_hide
        self._delay_s = Fraction(_AAC_DELAY, origin.codec_context.sample_rate) if is_primed else None
        self._priming: deque[Packet[Any]] = deque()
        self._is_lifted = False
        self._nudge = 0
        codec = origin.codec_context.codec.canonical_name if origin.codec_context is not None else ""
        is_aac = codec == "aac"
        self._most_s = Fraction(_MOST_AAC_PRIMING, origin.codec_context.sample_rate) if is_aac else _MOST_PRIMING_S
        if codec == "opus":  # which says itself how much of it is skipped
            self._delay_s = _opus_delay_s(origin.codec_context.extradata)

    def lifted(self, packet: "Packet[Any]") -> "Iterator[Packet[Any]]":
        """The packets that are muxed now that this one has come."""
        if packet.is_discard:
            if not self._is_lifted:
                if self._kind == "video" and packet.is_keyframe:
                    self._priming.clear()  # decoding begins here
                self._priming.append(packet)
            return
        if not self._is_lifted:
            kept = [each for each in self._priming if self._is_kept(each, packet)]
            self._priming.clear()
            if not kept and not self._can_begin(packet):
                return
            self._is_lifted = True
            self._nudge = self._into_reach([*kept, packet][0])
            for each in kept:
                yield self._nudged(each)
        yield self._nudged(packet)

    def _into_reach(self, first: "Packet[Any]") -> int:
        """By how much sound is late, so that not every stream has to be: at most 2 ms."""
        if self._kind != "audio" or self._can_hide or first.pts is None:
            return 0
        return max(0, math.ceil(-(self._delay_s or 0) / first.time_base) - first.pts)

    def _nudged(self, packet: "Packet[Any]") -> "Packet[Any]":
        if self._nudge:
            packet.pts = None if packet.pts is None else packet.pts + self._nudge
            packet.dts = None if packet.dts is None else packet.dts + self._nudge
        return packet

    def _is_kept(self, hidden: "Packet[Any]", first: "Packet[Any]") -> bool:
        if self._kind == "video":
            return self._can_hide
        if self._kind != "audio" or hidden.pts is None or first.pts is None:
            return False
        if self._can_hide:
            return (first.pts - hidden.pts) * hidden.time_base <= self._most_s
        return self._delay_s is not None and hidden.pts * hidden.time_base >= -self._delay_s - _ROUNDING_S

    def _can_begin(self, packet: "Packet[Any]") -> bool:
        """Whether a stream may begin with this packet, with nothing before it."""
        if self._kind == "video":
            return packet.is_keyframe
        if self._can_hide or packet.pts is None:
            return True
        return packet.pts * packet.time_base >= -(self._delay_s or 0) - _ROUNDING_S


def _opus_delay_s(head: bytes | None) -> Fraction:
    """How much sound an Opus decoder skips at the beginning, as the stream's description says."""
    if head is None or len(head) < _OPUS_HEAD.size:
        return Fraction(0)
    return Fraction(_OPUS_HEAD.unpack_from(head)[3], _OPUS_RATE)
