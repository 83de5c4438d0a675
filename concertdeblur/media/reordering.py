"""Time stamps of packets in coding order: missing ones are made, and the last packet gets its duration."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.packet import Packet

_RANKED_AT_ONCE = 65_536
_MOST_AHEAD = 32  # packets; no codec lets coding run further ahead of showing


def decode_stamps(pts: Iterable[int]) -> Iterator[int]:
    """The dts of packets in coding order, from their pts, which all differ.

    The k-th packet gets the pts of the (k - d)-th shown frame, where d is the number of frames by which coding runs
    ahead of showing. Before the first frame the stamps continue backwards. So every dts is at most its pts, and they
    grow. Takes 16 bytes a packet: a day of frames 35 MB.
    """
    coded = np.fromiter(pts, np.int64)
    return decode_stamps_of_runs(lambda: (coded,))


def decode_stamps_of_runs(runs: Callable[[], Iterable[npt.NDArray[np.int64]]]) -> Iterator[int]:
    """The same for packets in runs, each of which is shown before the next: never more than one run is in memory.

    Args:
        runs: Called twice; gives the pts of each run's packets in coding order, int64.

    """
    ahead = num_packets = 0
    begun: list[int] = []  # the first two that are shown
    for coded in runs():
        shown = np.sort(coded)
        ahead, num_packets = max(ahead, _num_ahead(coded, shown)), num_packets + len(coded)
        begun += [int(pts) for pts in shown[: 2 - len(begun)]]
    step = max(1, begun[1] - begun[0]) if len(begun) > 1 else 1
    before = (begun[0] - back * step for back in range(ahead, 0, -1))
    within = (int(pts) for coded in runs() for pts in np.sort(coded))
    yield from itertools.islice(itertools.chain(before, within), num_packets)


def _num_ahead(coded: npt.NDArray[np.int64], shown: npt.NDArray[np.int64]) -> int:
    """By how many frames coding runs ahead of showing, at most."""
    ahead = 0
    for start in range(0, len(coded), _RANKED_AT_ONCE):
        ranks = np.searchsorted(shown, coded[start : start + _RANKED_AT_ONCE])
        ahead = max(ahead, int((np.arange(start, start + len(ranks)) - ranks).max()))
    return ahead


def are_usable(pts: Sequence[int | None], dts: Sequence[int | None]) -> bool:
    """Whether every packet has a dts, and they grow, are at most their pts, and begin near the first pts."""
    if any(value is None for value in (*pts, *dts)):
        return False
    known_pts, known = [value or 0 for value in pts], [value or 0 for value in dts]
    span = max(known_pts) - min(known_pts) + 1
    return (
        all(first < second for first, second in itertools.pairwise(known))
        and all(decoded <= shown for decoded, shown in zip(known, known_pts, strict=True))
        and (not known or known[0] >= min(known_pts) - max(100 * span, 1_000_000_000))
    )


@dataclass(slots=True)
class Span:
    """The time over which a stream is shown, and over which it is decoded; packets are added in coding order."""

    first_pts: int | None = None
    end_pts: int = 0
    first_dts: int = 0
    last_dts: int = 0

    def add(self, pts: int, dts: int | None, duration: int) -> None:
        """Take the next packet."""
        decoded = pts if dts is None else dts
        if self.first_pts is None:
            self.first_pts, self.end_pts, self.first_dts = pts, pts + duration, decoded
        self.first_pts, self.end_pts = min(self.first_pts, pts), max(self.end_pts, pts + duration)
        self.last_dts = decoded

    def last_duration(self) -> int:
        """The duration of the last packet that makes decoding take as long as showing; 0 if there is none.

        The mov muxer writes the steps of dts as durations, so only the last packet's own duration reaches the file;
        the sum of them all is what players that count samples take for the length.
        """
        if self.first_pts is None:
            return 0
        return max(0, self.end_pts - self.first_pts + self.first_dts - self.last_dts)


class MissingDecodeStamps:
    """Gives a dts to the packets of one video stream that have none, and changes no pts.

    Matroska stores no dts. FFmpeg makes them out of the pts, but not for the first packets where frames are coded in
    another order than shown. These packets are held until the first dts is known, and get stamps before it.
    """

    def __init__(self) -> None:
        self._held: list[Packet[Any]] = []
        self._last_dts: int | None = None

    def passed(self, packet: "Packet[Any]") -> "list[Packet[Any]]":
        """Take the next packet, which has a pts, and give those whose dts is known now."""
        if packet.dts is None and self._last_dts is not None:
            packet.dts = min(packet.pts or 0, self._last_dts + 1)
        if packet.dts is None:
            self._held.append(packet)
            return self.rest() if len(self._held) > _MOST_AHEAD else []
        self._last_dts = packet.dts
        shown = sorted({each.pts or 0 for each in (*self._held, packet)})
        steps = [after - before for before, after in itertools.pairwise(shown)] + [packet.duration or 0]
        step, dts = min((step for step in steps if step > 0), default=1), packet.dts
        for each in reversed(self._held):
            dts = each.dts = min(dts - step, each.pts or 0)
        ready, self._held = [*self._held, packet], []
        return ready

    def rest(self) -> "list[Packet[Any]]":
        """The packets that are still held, if no dts came; their own pts give them."""
        ready, self._held = self._held, []
        for packet, dts in zip(ready, decode_stamps(packet.pts or 0 for packet in ready), strict=True):
            packet.dts = self._last_dts = dts
        return ready
