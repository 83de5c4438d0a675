"""Samples of a video's frames along the path on which each pixel moves.

Within one exposure the content of a pixel moves along a path, and the frame shows the mean over it. Between frames the
content moves on along the same path, and optical flow finds it even in blurred frames. With the flow f+ from a frame
to the next one and f- to the one before, the velocity is v = (f+ - f-) / 2, in px a frame interval. While the shutter
is open, for a share e of the interval, the content is smeared by e v (`exposure_share.py` finds e). Undoing a mean
along a known line is a filter along that line: a few weights on samples at x + s e v. Along the path the same weights
undo motion of every direction and length, so a network that mixes such samples need not find out the direction.

The samples are called taps. In this order they are: the frame itself at `ALONG` places of the path, the frame softened
by `SOFT_PX`, and its two neighbours, each at `BESIDE` places about where the content has moved to. Where a neighbour is
missing (at a cut, at either end of a clip) its taps are the frame itself, so that they say nothing.

What a pixel's path carries is the same in all frames, but for what was hidden and for light that changes. A lamp that
is lit in a neighbour alone lies far outside what this frame shows anywhere along the path. So a neighbour's sample may
leave the range of the frame's own ones by NEIGHBOUR_ROOM and by NEIGHBOUR_SHARE of that range. Beyond, it is believed
the less, and NEIGHBOUR_EXCESS further off it is taken for the frame itself. A lamp with dark surroundings on its own
path passes this test. So where a neighbour shows other light (`path_search.believed`), its samples are the frame
itself, too.

Taps are kept as planes: the red of all taps, their green, blue and luma, then the lowest and the highest RGB of the
frame's own samples within an exposure.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Flow: TypeAlias = npt.NDArray[np.float32]  # (h, w, 2), (x, y) displacement of each pixel
Belief: TypeAlias = npt.NDArray[np.float32]  # (h, w), share 0 to 1 to which a neighbour's samples count
Samples: TypeAlias = npt.NDArray[Any]

ALONG = (-1.5, -1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0, 1.5)  # in smears
SOFT_PX = (0.8, 1.6)  # standard deviations
BESIDE = (-0.5, 0.0, 0.5)  # in smears
NUM_TAPS = len(ALONG) + len(SOFT_PX) + 2 * len(BESIDE)
HALF_SMEAR = 0.5  # of the smear: no sample of an exposure lies further off
NEIGHBOUR_ROOM, NEIGHBOUR_SHARE, NEIGHBOUR_EXCESS = 8 / 255, 1.5, 32 / 255
PLANES = (NUM_TAPS, NUM_TAPS, NUM_TAPS, NUM_TAPS, 6)  # red, green, blue, luma, range
NUM_PLANES = sum(PLANES)

_BAND_PX = 32 * 1280  # whose taps are sampled at a time, in whole rows; they fit into the processor's cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """Where the content of a frame comes from and goes to; all planes reduced, both flows in px of the full frame."""

    to_before: Flow | None  # None where there is no frame before that shows the same scene
    to_after: Flow | None
    gaps: tuple[int | None, int | None] = (None, None)  # time to each of them in any unit; None: the usual
    exposure: float = 1.0  # share of a frame interval in which the content is smeared, 0 to 1 (exposure_share.py)
    beliefs: tuple[Belief | None, Belief | None] = (None, None)  # in each of them; None: in full

    def scaled(self, across: float, down: float) -> "Path":
        """The same path in a frame of another size, so many times as wide and as high."""
        factors = np.array([across, down], dtype=np.float32)
        to_before, to_after = (None if flow is None else flow * factors for flow in (self.to_before, self.to_after))
        return replace(self, to_before=to_before, to_after=to_after)

    def smear(self) -> Flow | None:
        """How far the content moves while it is exposed, px of the full frame, (h, w, 2); None where that is unknown.

        It is what taps are sampled along, and what networks are given.
        """
        velocity = self.velocity()
        return velocity if velocity is None or self.exposure == 1 else velocity * np.float32(self.exposure)

    def velocity(self) -> Flow | None:
        """Px of the full frame in a frame interval, (h, w, 2); None where nothing is known.

        Where the two neighbours are not equally far in time, the interval is the shorter one: a pause makes a gap
        longer, but no exposure.
        """
        if self.to_before is None:
            return self.to_after
        if self.to_after is None:
            return -self.to_before
        before, after = self.gaps
        if before is None or after is None or before == after:
            return np.asarray((self.to_after - self.to_before) / 2, dtype=np.float32)
        shorter = min(before, after)
        scaled = self.to_after * (shorter / after) - self.to_before * (shorter / before)
        return np.asarray(scaled / 2, dtype=np.float32)


def plane_in(plane: Flow | Belief, height: float, width: float, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
    """A reduced flow or belief at each pixel of a part of a frame of (height, width); flows are in px of that frame."""
    across, down = plane.shape[1] / width, plane.shape[0] / height
    # pixel centres lie on each other, as in cv2.resize, of which this is a part
    x, y = (columns.start + 0.5) * across - 0.5, (rows.start + 0.5) * down - 0.5
    to_reduced = np.array([[across, 0, x], [0, down, y]])
    size = (columns.stop - columns.start, rows.stop - rows.start)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(plane, to_reduced, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelPath:
    """Where the content of each pixel of a part of a frame comes from and goes to; flows (h, w, 2), px of the frame."""

    rows: slice
    columns: slice
    smear: Flow | None  # px; None where nothing is known
    to_before: Flow | None
    to_after: Flow | None
    beliefs: tuple[Belief | None, Belief | None] = (None, None)  # in the neighbours, (h, w); None: in full

    def band(self, band: slice) -> "PixelPath":
        """Some of its rows, which are counted from its first one."""
        smear, to_before, to_after, in_before, in_after = (
            None if plane is None else plane[band]
            for plane in (self.smear, self.to_before, self.to_after, *self.beliefs)
        )
        rows = slice(self.rows.start + band.start, self.rows.start + band.stop)
        return replace(
            self, rows=rows, smear=smear, to_before=to_before, to_after=to_after, beliefs=(in_before, in_after)
        )


def path_in(path: Path, height: int, width: int, rows: slice, columns: slice) -> PixelPath:
    """A path at each pixel of a part of a frame of (height, width)."""
    smear, to_before, to_after, in_before, in_after = (
        None if plane is None else plane_in(plane, height, width, rows, columns)
        for plane in (path.smear(), path.to_before, path.to_after, *path.beliefs)
    )
    return PixelPath(
        rows=rows,
        columns=columns,
        smear=smear,
        to_before=to_before,
        to_after=to_after,
        beliefs=(in_before, in_after),
    )


def taps_of(
    before: Samples | None,
    frame: Samples,
    after: Samples | None,
    path: Path,
    *,
    area: tuple[slice, slice] | None = None,
) -> Samples:
    """The taps of a frame as planes, (NUM_PLANES, height, width), of the frame's type.

    Args:
        before: The frame before it, (H, W, 3) uint8 or float32 in [0, 1]; None where the path says nothing of it.
        frame: The frame.
        after: The frame after it, or None.
        path: Of the frame.
        area: The part that is wanted; samples beyond it are taken from the whole frame. None: all.
    """
    height, width = frame.shape[:2]
    rows, columns = area or (slice(0, height), slice(0, width))
    return taps_along(before, frame, after, path_in(path, height, width, rows, columns))


def taps_along(
    before: Samples | None,
    frame: Samples,
    after: Samples | None,
    path: PixelPath,
    *,
    planes: Samples | None = None,
    believed_within: float = max(ALONG),
) -> Samples:
    """The taps of the part of a frame for which the path is given, as `taps_of` gives them.

    Args:
        before: The frame before it. It may have a fourth channel, which says nothing, as may the others: OpenCV samples
            four channels in half the time of three.
        frame: The frame.
        after: The frame after it.
        path: Of the part that is wanted.
        planes: What the taps are written into and given back as; None: new memory.
        believed_within: A neighbour is believed by the range of the frame's own samples that lie so far off, in smears.
    """
    height, width = path.rows.stop - path.rows.start, path.columns.stop - path.columns.start
    if planes is None:
        planes = np.empty((NUM_PLANES, height, width), frame.dtype)
    num_rows = max(1, _BAND_PX // width)
    for first in range(0, height, num_rows):
        band = slice(first, min(height, first + num_rows))
        _put_taps(before, frame, after, path.band(band), planes[:, band], believed_within)
    return planes


def _put_taps(
    before: Samples | None, frame: Samples, after: Samples | None, path: PixelPath, planes: Samples,
    believed_within: float,
) -> None:  # fmt: skip
    """The taps of a band of rows."""
    rows, columns, steps = path.rows, path.columns, path.smear
    made = _Taps(np.ascontiguousarray(frame[rows, columns]), planes, believed_within)
    if steps is None:
        for _ in range(NUM_TAPS):
            made.add_nothing()
        made.end()
        return
    here = places_of(rows, columns)
    places = np.empty_like(here)
    for share in ALONG:
        np.add(here, np.multiply(steps, np.float32(share), out=places), out=places)
        made.add_own(sampled(frame, places), share)
    for sigma_px in SOFT_PX:
        made.add(_softened(frame, sigma_px, rows, columns))
    neighbours = (before, path.to_before, path.beliefs[0]), (after, path.to_after, path.beliefs[1])
    for neighbour, flow, belief in neighbours:
        made.begin_neighbour(belief)
        there = None if neighbour is None or flow is None else here + flow
        for share in BESIDE:
            if neighbour is None or there is None:
                made.add_nothing()
            else:
                np.add(there, np.multiply(steps, np.float32(share), out=places), out=places)
                made.add_neighbours(sampled(neighbour, places))
    made.end()


class _Taps:
    """Taps as they are sampled, put into planes one after the other, the frame's own first.

    Args:
        frame: The frame, (height, width, 3), or 4 with a channel that says nothing.
        planes: Of its taps, (NUM_PLANES, height, width), to be filled.
        believed_within: As in `taps_along`.
    """

    def __init__(self, frame: Samples, planes: Samples, believed_within: float) -> None:
        self._planes, self._believed_within = planes, believed_within
        self._frame = frame
        self._num = 0
        self._to_gray = cv2.COLOR_RGBA2GRAY if frame.shape[2] == 4 else cv2.COLOR_RGB2GRAY
        self._spare = [np.empty_like(frame[..., 0])] if frame.shape[2] == 4 else []
        self._range = frame.copy(), frame.copy()  # the lowest and the highest of the own samples that neighbours go by
        self._within = frame.copy(), frame.copy()  # those of the samples within an exposure
        self._allowed: tuple[Samples, Samples] | None = None  # the lowest and the highest that a neighbour may say
        self._shares: tuple[Belief, Belief] | None = None  # of a neighbour and of the frame itself; None: the former's

    def add(self, tap: Samples) -> None:
        """The next tap."""
        self._put(tap, self._planes[self._num : 3 * NUM_TAPS : NUM_TAPS])
        cv2.cvtColor(tap, self._to_gray, dst=self._planes[3 * NUM_TAPS + self._num])
        self._num += 1

    def add_nothing(self) -> None:
        """A tap that says nothing: the frame itself."""
        self.add(self._frame)

    def add_own(self, tap: Samples, share: float) -> None:
        """The frame's own sample at a share of the path."""
        self.add(tap)
        if abs(share) <= self._believed_within:
            _widen(self._range, tap)
        if abs(share) <= HALF_SMEAR:
            _widen(self._within, tap)

    def begin_neighbour(self, belief: Belief | None) -> None:
        """The samples that follow are those of one neighbour, which is believed to that share."""
        self._shares = None if belief is None or belief.min() >= 1 else (belief, 1 - belief)

    def add_neighbours(self, sample: Samples) -> None:
        """A neighbour's sample, as far as it is believed, and as the frame's own ones allow."""
        full = 255 if self._frame.dtype == np.uint8 else 1
        if self._allowed is None:
            (lowest, highest), room, share = self._range, NEIGHBOUR_ROOM * full, NEIGHBOUR_SHARE
            self._allowed = (
                cv2.addWeighted(lowest, 1 + share, highest, -share, -room),
                cv2.addWeighted(highest, 1 + share, lowest, -share, room),
            )
        believed = cv2.min(cv2.max(sample, self._allowed[0]), self._allowed[1])
        excess = cv2.absdiff(sample, believed).reshape(-1)
        places = np.flatnonzero(excess != 0)  # a tenth of the time that it takes on bytes
        if len(places):
            belief = np.maximum(0, 1 - excess[places] / np.float32(NEIGHBOUR_EXCESS * full))
            own, flat = self._frame.reshape(-1)[places].astype(np.float32), believed.reshape(-1)
            kept = own + belief * (flat[places] - own)
            flat[places] = np.rint(kept) if full == 255 else kept
        if self._shares is not None:
            believed = cv2.blendLinear(believed, self._frame, *self._shares)
        self.add(believed)

    def end(self) -> None:
        """All have been added: the range follows."""
        lowest, highest = self._within
        self._put(lowest, self._planes[4 * NUM_TAPS : 4 * NUM_TAPS + 3])
        self._put(highest, self._planes[4 * NUM_TAPS + 3 :])

    def _put(self, pixels: Samples, planes: Samples) -> None:
        """The colours of pixels (height, width, 3 or 4) into planes (3, height, width)."""
        cv2.split(pixels, [*planes, *self._spare])


def _widen(lowest_and_highest: tuple[Samples, Samples], tap: Samples) -> None:
    """Make room for a tap in a range, in place."""
    lowest, highest = lowest_and_highest
    cv2.min(lowest, tap, dst=lowest)
    cv2.max(highest, tap, dst=highest)


def places_of(rows: slice, columns: slice) -> Flow:
    """(x, y) of each pixel of a part of a frame."""
    here = np.empty((rows.stop - rows.start, columns.stop - columns.start, 2), np.float32)
    here[..., 0] = np.arange(columns.start, columns.stop, dtype=np.float32)
    here[..., 1] = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    return here


def sampled(picture: Samples, places: Flow, *, into: Samples | None = None) -> Samples:
    """A picture at places, reflected at its border; written into an array of the result's size if one is given."""
    return cv2.remap(picture, places, None, cv2.INTER_LINEAR, dst=into, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[call-overload, no-any-return]


def _softened(picture: Samples, sigma_px: float, rows: slice, columns: slice) -> Samples:
    reach = int(np.ceil(4 * sigma_px))
    top, left = max(0, rows.start - reach), max(0, columns.start - reach)
    part = picture[top : rows.stop + reach, left : columns.stop + reach]
    soft = cv2.GaussianBlur(part, (2 * reach + 1, 2 * reach + 1), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return soft[rows.start - top :, columns.start - left :][: rows.stop - rows.start, : columns.stop - columns.start]
