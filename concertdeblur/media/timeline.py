"""When frames are shown, and clips whose time begins anew.

A frame is shown from its own time stamp until that of the next one: an interval, not an instant.

Some clips hold several pieces, each with a time of its own: recordings that were joined end to end (`cat a.ts b.ts`),
and broadcasts whose clock was set. A `Timeline` says where in the file each piece begins, and by how much its time is
moved so that it follows the piece before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

import av.error
from av.container import InputContainer

from concertdeblur.media.containers import open_source

T = TypeVar("T")

_LEAST_STEP_BACK_S = Fraction(1, 4)  # the reader mends smaller steps frame by frame
_LEAST_LEAP_S = 60  # no pause of a transport stream is so long
_COUNTED = ("mpegts", "mpeg")  # transport and program streams, whose clocks have 33 bits
_CLOCK_S = Fraction(2**33, 90_000)  # such a clock begins at 0 again after this time
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT: the format's clock may be set anew
_INDEXED = ("mov", "avi")  # their tables hold durations, so time cannot run backwards


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown(Generic[T]):
    """Something with the interval in which it is on screen, in units of a time base."""

    pts: int
    duration: int
    item: T


def intervals(
    items: Iterable[tuple[int, T]], *, start: int | None, end: int | None, last_end: Callable[[int, int], int]
) -> Iterator[Shown[T]]:
    """Give each item with the part of its interval that lies in [start, end).

    Args:
        items: (time stamp, item), the time stamps growing.
        start: None: from the first item on.
        end: None: to the last item's end.
        last_end: Gives the end of the last item, from its time stamp and the step before it (0 if it is the only one).

    """
    held: tuple[int, T] | None = None
    step = 0
    for pts, item in items:
        if held is not None:
            if (shown := _clipped(held, pts, start, end)) is not None:
                yield shown
            step = pts - held[0]
        held = (pts, item)
        if end is not None and pts >= end:
            return
    if held is not None and (shown := _clipped(held, last_end(held[0], step), start, end)) is not None:
        yield shown


def _clipped(held: tuple[int, T], until: int, start: int | None, end: int | None) -> Shown[T] | None:
    begin = held[0] if start is None else max(held[0], start)
    until = until if end is None else min(until, end)
    return Shown(pts=begin, duration=until - begin, item=held[1]) if until > begin else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of the file with one clock."""

    position: int = 0  # byte of the file at which it begins
    own_positions: Mapping[int, int] = field(default_factory=dict)  # stream -> where its packets begin, if not there
    shift_s: Fraction = Fraction(0)  # by which its time is moved

    def begins_at(self, stream: int) -> int:
        """The byte at which a stream's packets of this part begin; parsers report some before `position`."""
        return self.own_positions.get(stream, self.position)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where the clocks of a clip begin, and by how much each is moved."""

    stretches: tuple[Stretch, ...] = (Stretch(),)

    @property
    def is_joined(self) -> bool:
        """Whether there is more than one piece."""
        return len(self.stretches) > 1

    @property
    def first_shift_s(self) -> Fraction:
        """By how much the first piece is moved, which happens if its clock begins before 0."""
        return self.stretches[0].shift_s

    @property
    def is_moved(self) -> bool:
        """Whether some time stamps are moved."""
        return any(stretch.shift_s for stretch in self.stretches)

    def text(self) -> str:
        """What is done, in words; empty if nothing."""
        if not self.is_joined:
            told = "its clock begins anew while it runs: all of it is moved by"
            return f"{told} {float(self.first_shift_s):.2f} s, so that it begins at 0" if self.is_moved else ""
        moved = [f"{float(within_the_clock(stretch.shift_s)):.2f}" for stretch in self.stretches[1:]]
        if len(moved) == 1:
            return f"time begins anew once (joined recordings?): what follows is moved by {moved[0]} s, sound too"
        shown = ", ".join(moved[:5]) + (", ..." if len(moved) > 5 else "")
        return f"time begins anew {len(moved)} times (joined recordings?): the pieces are moved by {shown} s, sound too"

    def moved(self, packets: "Iterable[av.Packet[Any]]") -> "Iterator[av.Packet[Any]]":
        """The same packets in the moved time; they must be read from the beginning of the file."""
        if not self.is_moved:
            yield from packets
            return
        last: dict[int, int] = {}  # stream -> its last packet's position
        for packet in packets:
            stream = packet.stream.index
            position = last[stream] = packet.pos if packet.pos is not None else last.get(stream, 0)
            shift_s = next(each.shift_s for each in reversed(self.stretches) if each.begins_at(stream) <= position)
            if shift_s and packet.time_base:
                shift = round(shift_s / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet


def within_the_clock(span_s: Fraction) -> Fraction:
    """A span of time without FFmpeg's correction, which takes a clock that was set back for a wrapped one."""
    turns = round(span_s / _CLOCK_S) if abs(span_s) > _CLOCK_S / 2 else 0
    return span_s - turns * _CLOCK_S


def read_timeline(path: Path) -> Timeline:
    """Look through the packets of a clip for places where time begins anew.

    Formats with an index are not looked through.
    """
    with open_source(path) as container:
        if any(name in container.format.name.split(",") for name in _INDEXED):
            return Timeline()
        is_counted = container.format.name in _COUNTED
        pieces = _Pieces(may_leap=bool(_flags(container) & _TS_DISCONT), may_begin_before_0=not is_counted)
        try:
            for packet in container.demux(*(each for each in container.streams if each.type in ("audio", "video"))):
                stamp = packet.dts if packet.dts is not None else packet.pts
                if stamp is not None and packet.size and packet.time_base:
                    base, shown = packet.time_base, packet.pts if packet.pts is not None else stamp
                    # in Matroska the first packets of a video have no dts, and frames that come later are shown earlier
                    is_decoding_known = packet.dts is not None or packet.stream.type == "audio"
                    pieces.add(
                        _Moment(
                            stream=packet.stream.index,
                            position=packet.pos,
                            decoded_s=stamp * base if is_decoding_known else None,
                            begin_s=shown * base,
                            end_s=(shown + (packet.duration or 0)) * base,
                        )
                    )
        except av.error.FFmpegError:  # the end is damaged; the reader will warn of it
            pass
        return pieces.timeline()


def _flags(container: InputContainer) -> int:
    return int(getattr(container.format, "flags", 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Moment:
    """A packet's place in the file and in time."""

    stream: int
    position: int | None
    decoded_s: Fraction | None  # None: the file does not say when a packet of a video is decoded
    begin_s: Fraction
    end_s: Fraction


@dataclass(kw_only=True, slots=True)
class _Piece:
    """What is known of a part while the file is read."""

    position: int
    own_positions: dict[int, int] = field(default_factory=dict)
    begin_s: Fraction | None = None
    end_s: Fraction | None = None
    last_s: dict[int, Fraction] = field(default_factory=dict)  # stream -> when its last packet is decoded

    def add(self, moment: _Moment) -> None:
        self.begin_s = moment.begin_s if self.begin_s is None else min(self.begin_s, moment.begin_s)
        self.end_s = moment.end_s if self.end_s is None else max(self.end_s, moment.end_s)
        if moment.decoded_s is not None:
            self.last_s[moment.stream] = moment.decoded_s


class _Pieces:
    """Finds where a clock was set. One wrong time stamp is no new clock, so the packet after it decides."""

    def __init__(self, *, may_leap: bool, may_begin_before_0: bool) -> None:
        self._may_leap, self._may_begin_before_0 = may_leap, may_begin_before_0
        self._done: list[_Piece] = []
        self._piece = _Piece(position=0)
        self._doubtful: list[_Moment] = []  # packets since one whose time does not continue that of the packet before

    def add(self, moment: _Moment) -> None:
        """Take the next packet of the file."""
        if not self._doubtful:
            if self._goes_on(moment) or moment.position is None:
                self._place(moment)
            else:
                self._doubtful.append(moment)
            return
        first = self._doubtful[0]
        self._doubtful.append(moment)
        if moment.stream == first.stream and moment.decoded_s is not None:
            self._decide(is_new=not self._goes_on(moment))

    def timeline(self) -> Timeline:
        """What was found."""
        self._decide(is_new=len({moment.stream for moment in self._doubtful}) > 1)
        shift_s, end_s = self._first_shift_s(), None
        stretches = [Stretch(shift_s=shift_s)]
        for piece in (*self._done, self._piece):
            if piece.begin_s is None or piece.end_s is None:
                continue
            if end_s is not None:
                shift_s = end_s - piece.begin_s
                stretches.append(Stretch(position=piece.position, own_positions=piece.own_positions, shift_s=shift_s))
            end_s = piece.end_s + shift_s
        return Timeline(tuple(stretches))

    def _first_shift_s(self) -> Fraction:
        """By how much the first piece begins too early: if a clock begins anew, FFmpeg counts backwards from there."""
        first = (*self._done, self._piece)[0]
        is_around = not self._may_begin_before_0 and first.begin_s is not None and first.begin_s < 0
        return -first.begin_s if is_around and first.begin_s is not None else Fraction(0)

    def _goes_on(self, moment: _Moment) -> bool:
        last_s, decoded_s = self._piece.last_s.get(moment.stream), moment.decoded_s
        if last_s is None or decoded_s is None or self._follows(last_s, decoded_s):
            return True
        # if one stream pauses while another goes on, no clock was set
        return decoded_s >= last_s and self._piece.end_s is not None and self._follows(self._piece.end_s, decoded_s)

    def _follows(self, last_s: Fraction, decoded_s: Fraction) -> bool:
        step_s = decoded_s - last_s
        return step_s > -_LEAST_STEP_BACK_S and (step_s < _LEAST_LEAP_S or not self._may_leap)

    def _decide(self, *, is_new: bool) -> None:
        waiting, self._doubtful = self._doubtful, []
        if is_new and waiting:
            position = waiting[0].position
            assert position is not None
            self._done.append(self._piece)
            self._piece = _Piece(position=position)
        for moment in waiting if is_new else waiting[1:]:
            self._place(moment)

    def _place(self, moment: _Moment) -> None:
        piece = self._piece
        if self._done and moment.stream not in piece.last_s:
            before, decoded_s = self._done[-1], moment.decoded_s
            last_s = before.last_s.get(moment.stream)
            is_anew = last_s is not None and decoded_s is not None and not self._follows(last_s, decoded_s)
            if is_anew and moment.position is not None:
                piece.own_positions[moment.stream] = moment.position
            elif moment.position is None or moment.position < piece.position:
                piece = before
        piece.add(moment)
