"""The packets of the other streams, copied and never decoded, unless sound is to be converted.

The source is open a second time here, so that these packets need not travel with the frames: before a
video packet is muxed, everything that belongs before it is copied. So memory does not depend on how the
source is interleaved.
"""

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from concertdeblur.media.clip import Clip
from concertdeblur.media.containers import add_copy, open_source
from concertdeblur.media.hidden import HiddenPacketFilter, hides_priming, is_trimmed, primed_stream
from concertdeblur.media.reader import ignore_warning
from concertdeblur.media.reordering import MissingDecodeStamps
from concertdeblur.media.sound import SoundConverter
from concertdeblur.media.streams import Action, StreamPlan
from concertdeblur.media.subtitles import ASS_HEADER, CueConverter, Sample
from concertdeblur.media.tags import chapters_within, container_tags, stream_tags

_IMAGE_TYPES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_TS_NONSTRICT = 0x20000  # AVFMT_TS_NONSTRICT: two packets of a stream may be decoded at the same time
_MOST_LATE_CUE_S = 10  # a cue lies in the file so long behind what is shown with it, at most
_MOST_PEEKED = 500  # packets; every stream with sound from the beginning has one among them


@dataclass(frozen=True, kw_only=True, slots=True)
class Companions:
    """The clip whose other streams, tags and chapters go along."""

    clip: Clip
    plans: tuple[StreamPlan, ...]
    begin_s: Fraction | None = None  # the moment of the source that becomes 0; None: nothing is cut or moved
    end_s: Fraction | None = None
    on_warning: Callable[[str], None] = ignore_warning  # told at the end which packets were damaged

    @property
    def is_cut(self) -> bool:
        """Whether a part of the clip is left out."""
        return self.begin_s is not None or self.end_s is not None


class PacketCopier:
    """Copies tags, chapters and the packets of all planned streams into one output; not thread-safe."""

    def __init__(
        self, companions: Companions, output: OutputContainer, add_video: Callable[[], "av.VideoStream"]
    ) -> None:
        """Add one output stream a plan, in the source's order; `add_video` adds the one that is encoded."""
        self._companions = companions
        self._output = output
        self._clip = companions.clip
        self._targets: dict[int, Stream] = {}
        self._converters: dict[int, SoundConverter] = {}
        self._cues: dict[int, CueConverter] = {}
        self._hidden: dict[int, HiddenPacketFilter] = {}  # by the source's index
        self._plans = {plan.index: plan for plan in companions.plans}
        self._missing: dict[int, MissingDecodeStamps] = {}  # by the source's index
        self._last_dts: dict[int, int] = {}  # in the source's time base
        self._last_written: dict[int, int] = {}  # the dts in the output's time base
        self._least_step = 0 if int(getattr(output.format, "flags", 0)) & _TS_NONSTRICT else 1
        self._num_refused: Counter[int] = Counter()  # packets by their stream
        self._adts: set[int] = set()
        copied = frozenset(plan.index for plan in companions.plans if plan.action in (Action.COPY, Action.CONVERT))
        self._packets: Iterator[Packet[Any]] = self._clip.packets(copied)
        self._begun_hidden = self._peek()
        for plan in companions.plans:
            self._add(plan, add_video)
        output.metadata.update(container_tags(self._clip.container))
        chapters = chapters_within(self._clip.container, companions.begin_s, companions.end_s)
        if chapters:
            output.set_chapters(chapters)
        self._held: Packet[Any] | None = None

    def copy_until(self, time_s: Fraction) -> None:
        """Copy every packet that belongs before a moment of the source."""
        while (packet := self._next()) is not None:
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None and stamp * packet.time_base > time_s:
                self._held = packet
                break
            self._mux(packet)
        for index, converter in self._cues.items():
            until_s = time_s - (self._companions.begin_s or 0) - _MOST_LATE_CUE_S
            self._mux_cues(index, converter.ended(int(until_s / self._base(index))))

    def finish(self) -> None:
        """Copy the rest."""
        while (packet := self._next()) is not None:
            self._mux(packet)
        for index, converter in self._converters.items():
            self._mux_sound(index, converter.convert(None))
        for index, cues in self._cues.items():
            self._mux_cues(index, cues.rest())
        for missing in self._missing.values():
            for packet in missing.rest():
                self._mux_copy(packet)
        self._tell_of_damage()

    def _tell_of_damage(self) -> None:
        for index, count in sorted(self._num_refused.items()):
            self._companions.on_warning(
                f"{_counted(count, index, self._plans[index].kind)} left out: damaged, and this container takes no such"
                " packets"
            )
        for index, converter in self._converters.items():
            if converter.num_broken:
                self._companions.on_warning(f"{_counted(converter.num_broken, index, 'audio')} left out: damaged")

    def _peek(self) -> frozenset[int]:
        """The streams whose first packets are hidden only because they prime a decoder; nothing was cut off there."""
        if not self._clip.has_edit_lists:
            return frozenset()
        wanted = {plan.index for plan in self._plans.values() if plan.kind == "audio" and plan.action is Action.COPY}
        seen: deque[Packet[Any]] = deque()
        hidden: set[int] = set()
        known: set[int] = set()
        while not wanted <= known and len(seen) < _MOST_PEEKED and (packet := self._next_raw()) is not None:
            seen.append(packet)
            if packet.stream.index not in known:
                known.add(packet.stream.index)
                hidden |= {packet.stream.index} if packet.is_discard and not is_trimmed(packet) else set()
        self._packets = itertools.chain(seen, self._packets)
        return frozenset(hidden)

    def _add(self, plan: StreamPlan, add_video: Callable[[], "av.VideoStream"]) -> None:
        origin = self._clip.container.streams[plan.index]
        if plan.action is Action.DROP:
            return
        if plan.action is Action.ATTACH:
            self._attach(origin, plan)
            return
        target: Stream
        if plan.action is Action.ENCODE:
            target = add_video()
        elif plan.action is Action.CONVERT and plan.kind == "audio":
            target = self._add_sound(origin, plan)
        elif plan.action is Action.CONVERT:
            target = self._add_text(plan.target_codec)
            self._cues[plan.index] = CueConverter(plan.codec, plan.target_codec)
        else:
            target = self._add_copy(origin)
        if plan.action is not Action.ENCODE:
            self._targets[plan.index] = target
        is_new = plan.action is Action.ENCODE or plan.index in self._converters
        target.metadata.update(stream_tags(origin, is_encoded=is_new))
        target.disposition = origin.disposition

    def _add_copy(self, origin: Any) -> Stream:
        is_cut, name = self._companions.is_cut, self._output.format.name
        primed = None
        if origin.index in self._begun_hidden and not is_cut and not hides_priming(name):
            primed = primed_stream(self._output, origin)
        target: Stream = primed or add_copy(self._output, origin)
        if origin.time_base is not None:
            target.time_base = origin.time_base
        if origin.type == "video" and not self._plans[origin.index].is_cover:
            self._missing[origin.index] = MissingDecodeStamps()
        context = origin.codec_context
        if context is not None and context.name == "aac" and not context.extradata:
            self._adts.add(origin.index)
        if self._clip.has_edit_lists and not is_cut:
            self._hidden[origin.index] = HiddenPacketFilter(
                origin, can_hide=hides_priming(name), is_primed=primed is not None
            )
        return target

    def _add_sound(self, origin: Any, plan: StreamPlan) -> Stream:
        begin_s, end_s = self._companions.begin_s, self._companions.end_s
        converter = SoundConverter(origin, self._output, plan.target_codec, begin_s=begin_s, end_s=end_s)
        self._converters[plan.index] = converter
        stream: Stream = converter.stream
        return stream

    def _add_text(self, codec: str) -> Stream:
        if codec != "mov_text":
            return self._output.add_mux_stream(codec)
        stream = self._output.add_stream("mov_text")  # its encoder makes the sample description
        stream.codec_context.subtitle_header = ASS_HEADER.encode()
        return stream

    def _attach(self, origin: Any, plan: StreamPlan) -> None:
        if not plan.is_cover:
            name, kind = origin.name or "attachment", origin.mimetype or "application/octet-stream"
            self._output.add_attachment(name, kind, origin.data)
            return
        name, kind = _IMAGE_TYPES.get(plan.codec, ("cover", "application/octet-stream"))
        with open_source(self._clip.path) as probe:
            packet = next((p for p in probe.demux(probe.streams[plan.index]) if p.size), None)
            if packet is not None:
                self._output.add_attachment(origin.metadata.get("filename", name), kind, bytes(packet))

    def _next(self) -> "Packet[Any] | None":
        if self._held is not None:
            packet, self._held = self._held, None
            return packet
        return self._next_raw()

    def _next_raw(self) -> "Packet[Any] | None":
        try:
            while (found := next(self._packets, None)) is not None:
                if found.pts is not None or found.dts is not None or found.size:
                    return found
        except av.error.FFmpegError:  # a damaged end: what comes before it is copied
            return None
        return None

    def _mux(self, packet: "Packet[Any]") -> None:
        index = packet.stream.index
        if index in self._converters:
            self._mux_sound(index, self._converters[index].convert(packet))
            return
        hidden, missing = self._hidden.get(index), self._missing.get(index)
        for shown in [packet] if hidden is None else hidden.passed(packet):
            for stamped in [shown] if missing is None or shown.pts is None else missing.passed(shown):
                self._mux_copy(stamped)

    def _mux_sound(self, index: int, packets: "list[Packet[Any]]") -> None:
        for packet in packets:
            packet.stream = self._targets[index]
            self._output.mux_one(packet)

    def _mux_copy(self, packet: "Packet[Any]") -> None:
        index = packet.stream.index
        plan = self._plans[index]
        if packet.dts is None:
            packet.dts = packet.pts if packet.pts is not None else 0
        if packet.pts is None:
            packet.pts = packet.dts
        if not plan.is_cover and self._companions.is_cut and not self._cut(packet):
            return
        if index in self._cues:
            self._mux_cues(index, self._cues[index].convert(packet.pts or 0, packet.duration or 0, bytes(packet)))
            return
        assert packet.dts is not None
        last = self._last_dts.get(index)
        if last is not None and plan.kind == "audio" and not packet.duration:
            packet.duration = max(0, packet.dts - last)  # otherwise mov's edit list would end before the last packet
        self._last_dts[index] = packet.dts
        if plan.kind != "subtitle":
            self._keep_order(packet, index)
        packet.stream = self._targets[index]
        if index in self._adts and not _is_adts(packet):  # as the first one it would make muxers misread all others
            self._num_refused[index] += 1
            return
        self._mux_one(packet, index)

    def _base(self, index: int) -> Fraction:
        """The time base of a stream of the source."""
        base = self._clip.container.streams[index].time_base
        assert base is not None
        return base

    def _mux_cues(self, index: int, samples: list[Sample]) -> None:
        for sample in samples:
            packet: Packet[Any] = Packet(sample.data)
            packet.pts = packet.dts = sample.begin
            packet.duration, packet.is_keyframe = sample.duration, True
            packet.time_base = self._base(index)
            packet.stream = self._targets[index]
            self._mux_one(packet, index)

    def _mux_one(self, packet: "Packet[Any]", index: int) -> None:
        try:
            self._output.mux_one(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError):  # some muxers look into packets
            self._num_refused[index] += 1

    def _keep_order(self, packet: "Packet[Any]", index: int) -> None:
        """Raise a dts that does not grow: damaged sources step back in time, and muxers refuse that.

        Only this packet is moved, by as little as the output can tell apart. In Matroska packets of TrueHD share a
        millisecond, and steps of one each would add up to seconds.
        """
        assert packet.dts is not None
        base = self._targets[index].time_base or packet.time_base
        scale = packet.time_base / base
        written = math.floor(packet.dts * scale + Fraction(1, 2))
        last = self._last_written.get(index)
        if last is not None and written < last + self._least_step:
            written = last + self._least_step
            packet.pts = max(math.floor((packet.pts or 0) * scale + Fraction(1, 2)), written)
            packet.dts, packet.duration, packet.time_base = written, round((packet.duration or 0) * scale), base
        self._last_written[index] = written

    def _cut(self, packet: "Packet[Any]") -> bool:
        """Move a packet to the time of the cut clip; False if it lies outside. Packets are never parted."""
        begin, end = self._companions.begin_s or Fraction(0), self._companions.end_s
        assert packet.pts is not None
        assert packet.dts is not None
        shown_s = packet.pts * packet.time_base
        if end is not None and shown_s >= end:
            return False
        shift = int(begin / packet.time_base)
        if packet.stream.type == "subtitle":
            stop_s = shown_s + (packet.duration or 0) * packet.time_base
            if stop_s <= begin:
                return False
            if shown_s < begin and packet.duration:  # a cue that is on screen when the cut begins
                packet.duration = packet.pts + packet.duration - shift
                packet.pts = packet.dts = shift
        elif shown_s < begin or not self._is_decodable(packet):
            return False
        packet.pts -= shift
        packet.dts -= shift
        return True

    def _is_decodable(self, packet: "Packet[Any]") -> bool:
        """Whether a copied video stream has already had its first key frame."""
        index = packet.stream.index
        return packet.stream.type != "video" or packet.is_keyframe or index in self._last_dts


def _is_adts(packet: "Packet[Any]") -> bool:
    """Whether a packet of AAC begins as those do that describe themselves: sync word, layer 0."""
    head = bytes(packet)[:2]
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _counted(count: int, index: int, kind: str) -> str:
    number = "1 packet" if count == 1 else f"{count} packets"
    return f"{number} of stream {index} ({kind}) {'is' if count == 1 else 'are'}"
