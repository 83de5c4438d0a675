"""Broken frames: packets promise their time stamps, but the decoder gives no frame for them."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import av


@dataclass(slots=True)
class Decoded:
    """One decoded picture and when it is shown."""

    pts: int
    picture: av.VideoFrame
    is_repeated: bool = False
    duration: int = 0  # until the next one; 0 while that is unknown


@dataclass(slots=True)
class FrameRepair:
    """Puts the last good picture where a frame did not decode.

    A packet without a frame is normal in some codecs (hidden reference frames, edit lists), so nothing
    is filled in before the decoder has complained at least once. Broken frames before the first good
    one get that first good picture.
    """

    _is_damaged: bool = False
    _promised: list[int] = field(default_factory=list)
    _last_good: av.VideoFrame | None = None
    _last_pts: int | None = None

    def promise(self, pts: int | None) -> None:
        """A packet promises a frame with this time stamp."""
        if pts is not None:
            heapq.heappush(self._promised, pts)

    def complain(self) -> None:
        """The decoder failed, or a packet was empty: from now on missing frames are filled in."""
        self._is_damaged = True

    def decoded(self, pts: int, picture: av.VideoFrame) -> Iterator[Decoded]:
        """Take a frame from the decoder; gives stand-ins for missing frames before it, and then the frame."""
        if picture.is_corrupt:
            self._is_damaged = True
        missing = []
        while self._promised and self._promised[0] <= pts:
            promised = heapq.heappop(self._promised)
            if promised < pts:
                missing.append(promised)
        stand_in = self._last_good or picture
        if self._is_damaged:
            yield from self._stand_ins(missing, stand_in)
        if picture.is_corrupt and self._last_good is not None:
            yield from self._stand_ins([pts], self._last_good)
            return
        self._last_good, self._last_pts = picture, pts
        yield Decoded(pts, picture)

    def ended(self, *, is_one_to_one: bool) -> Iterator[Decoded]:
        """Give stand-ins for frames that were promised at the end but did not come.

        A decoder with several threads may drop a broken last frame without a complaint, so none is needed
        if every packet of the codec is one frame (`is_one_to_one`).
        """
        if (self._is_damaged or is_one_to_one) and self._last_good is not None:
            yield from self._stand_ins(sorted(self._promised), self._last_good)
        self._promised = []

    def _stand_ins(self, missing: list[int], picture: av.VideoFrame) -> Iterator[Decoded]:
        for pts in missing:
            if self._last_pts is None or pts > self._last_pts:
                self._last_pts = pts
                yield Decoded(pts, picture, is_repeated=True)
