"""Packets that an edit list of mov or mp4 hides: players leave out what lies before the beginning or behind the end.

If they were copied into a container without edit lists, players would show them. But the packets right before the
beginning are needed, because they prime a decoder: it must decode them to decode the first shown one. An output with
edit lists hides these packets again. Matroska hides as many samples as its "CodecDelay" says.
"""

import math
import struct
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.container import OutputContainer

from concertdeblur.media.descriptions import has_own_channel_order
from concertdeblur.media.sound import opens

if TYPE_CHECKING:
    from av.packet import Packet

_MOST_PRIMING_S = Fraction(8, 100)  # Opus needs the longest priming of all codecs
_MOST_AAC_PRIMING = 2112  # samples; most encoders use so many, FFmpeg's uses fewer
_AAC_DELAY = 1024  # samples of priming that FFmpeg's encoder declares; Matroska then hides as many
_ROUNDING_S = Fraction(2, 1000)  # less than anybody hears; Matroska counts in milliseconds
_OPUS_RATE, _OPUS_HEAD = 48_000, struct.Struct("<8sBBH")  # magic, version, channels, samples to skip


def hides_priming(format_name: str) -> bool:
    """Whether a container hides what lies before time 0."""
    return format_name in ("mp4", "mov")


def is_trimmed(first: "Packet[Any]") -> bool:
    """Whether the edit list hides more of a stream's beginning than its decoder needs for priming.

    Args:
        first: The stream's first packet.

    """
    context = first.stream.codec_context
    if first.pts is None or context is None or not context.sample_rate:
        return False
    return -first.pts * first.time_base > Fraction(_MOST_AAC_PRIMING, context.sample_rate)


def primed_stream(output: OutputContainer, origin: Any) -> Any:
    """A stream for copied AAC whose first 1024 samples the container hides; None if it cannot be made.

    PyAV cannot set how many samples prime a decoder; only an encoder can declare it. So the stream is made for FFmpeg's
    own AAC encoder, which never encodes anything here, and then gets the description of the source's stream.
    """
    context = origin.codec_context
    if context.codec.canonical_name != "aac" or not context.extradata or has_own_channel_order(origin):
        return None
    layout = str(context.layout.name)
    if not opens("aac", context.sample_rate, layout):
        return None
    stream: Any = output.add_stream("aac", rate=context.sample_rate, layout=layout)
    stream.codec_context.open()
    stream.codec_context.extradata = bytes(context.extradata)
    return stream


class HiddenPacketFilter:
    """Passes the packets of one stream that are shown, and the hidden ones that prime its decoder."""

    def __init__(self, origin: Any, *, can_hide: bool, is_primed: bool) -> None:
        """Choose how much priming this stream needs.

        Args:
            origin: The stream.
            can_hide: Whether the output hides what lies before time 0.
            is_primed: Whether the output hides the first `_AAC_DELAY` samples.

        """
        self._kind = origin.type
        self._can_hide = can_hide
        # how much priming the output hides; None: it hides none
        self._delay_s = Fraction(_AAC_DELAY, origin.codec_context.sample_rate) if is_primed else None
        self._priming: deque[Packet[Any]] = deque()
        self._has_begun = False
        self._shift = 0  # by which every packet is moved, in units of the stream's time base
        codec = origin.codec_context.codec.canonical_name if origin.codec_context is not None else ""
        is_aac = codec == "aac"
        self._most_s = Fraction(_MOST_AAC_PRIMING, origin.codec_context.sample_rate) if is_aac else _MOST_PRIMING_S
        if codec == "opus":  # its description says how much of it is skipped
            self._delay_s = _opus_delay_s(origin.codec_context.extradata)

    def passed(self, packet: "Packet[Any]") -> "Iterator[Packet[Any]]":
        """Take the stream's next packet, and give those that can be muxed now."""
        if packet.is_discard:
            if not self._has_begun:
                if self._kind == "video" and packet.is_keyframe:
                    self._priming.clear()  # decoding can begin here, so nothing before it is needed
                self._priming.append(packet)
            return
        if not self._has_begun:
            kept = [each for each in self._priming if self._is_kept(each, packet)]
            self._priming.clear()
            if not kept and not self._can_begin(packet):
                return
            self._has_begun = True
            self._shift = self._least_shift([*kept, packet][0])
            for each in kept:
                yield self._shifted(each)
        yield self._shifted(packet)

    def _least_shift(self, first: "Packet[Any]") -> int:
        """How far the stream is moved so that its first packet is not before time 0, in units of its time base.

        Only sound is moved, by 2 ms at most. Otherwise the muxer would move every stream.
        """
        if self._kind != "audio" or self._can_hide or first.pts is None:
            return 0
        return max(0, math.ceil(-(self._delay_s or 0) / first.time_base) - first.pts)

    def _shifted(self, packet: "Packet[Any]") -> "Packet[Any]":
        if self._shift:
            packet.pts = None if packet.pts is None else packet.pts + self._shift
            packet.dts = None if packet.dts is None else packet.dts + self._shift
        return packet

    def _is_kept(self, hidden: "Packet[Any]", first: "Packet[Any]") -> bool:
        """Whether a hidden packet primes the decoder for `first`, and the output hides it again."""
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
