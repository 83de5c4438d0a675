"""Single frames of a clip by their time stamps, upright in RGB; decord reads them if it can, else PyAV.

decord 3.4 skips to a frame by asking its decoder a fixed number of times. If the decoder is slow, decord gives up and
returns some other frame. So it is asked only for consecutive frames from a key frame on, and each frame is compared
with the one that was judged.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.crops import cut
from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.scan import Candidate, judged_size, mean_detail, thumbnail, thumbnail_from
from concertdeblur.dataset.sharpness import measure
from concertdeblur.errors import ConcertDeblurError, SourceError
from concertdeblur.frame import Pixels, StreamInfo
from concertdeblur.media.colour import effective_range
from concertdeblur.media.containers import open_source
from concertdeblur.media.decord_reader import DecordReader
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.reader import ReaderOptions

Picture = npt.NDArray[np.uint8]

# The right frame differs by 0.3 to 0.7 levels on average, in strong colours by 2.6; its neighbours differ by 0.5 to 20.
_MOST_THUMB_ERROR = 3.0
_MOST_DETAIL_ERROR = 0.05  # as a share of the detail's energy; the right frame differs by 0.03, a blurred one by more
_LIMITED_LEVELS, _FULL_LEVELS = 219, 255  # of luma
_FULL_RANGE = 2  # FFmpeg's number


class FrameAccess(Protocol):
    """Reads frames as coded, in any order."""

    def read(self, pts: int) -> Pixels:
        """(height, width, 3) RGB of the frame with this time stamp."""


class PyavAccess:
    """Seeks to the key frame before, and decodes from there."""

    def __init__(self, path: Path, info: StreamInfo, origin_s: Fraction) -> None:
        self._path, self._info, self._origin_s = path, info, origin_s

    def read(self, pts: int) -> Pixels:
        """The frame with this time stamp."""
        start_s = max(Fraction(0), pts * self._info.time_base - self._origin_s)
        with PyavReader(self._path, ReaderOptions(start_s=start_s, video_stream=self._info.index)) as reader:
            for frame in reader.frames():
                if frame.pts == pts and frame.pixels is not None:
                    return frame.pixels
                if frame.pts > pts:
                    break
        raise SourceError(f"{self._path}: the frame at pts {pts} is gone; did the file change?")


class DecordAccess:
    """Asks decord for consecutive frames from the last key frame on; decord keeps the file open."""

    def __init__(self, path: Path, reader: DecordReader, info: StreamInfo) -> None:
        self._path, self._reader = path, reader
        self._pts, self._is_key = _index(path, info.index)
        self._next = 0  # index of the frame that decord gives next

    def read(self, pts: int) -> Pixels:
        """The frame with this time stamp."""
        index = int(np.searchsorted(self._pts, pts))
        if index == len(self._pts) or self._pts[index] != pts:
            raise SourceError(f"{self._path}: decord knows no frame at pts {pts}")
        keys = np.flatnonzero(self._is_key[: index + 1])
        key = int(keys[-1]) if keys.size else 0
        for between in range(self._next if key <= self._next <= index else key, index):
            self._reader.at(between)
        self._next = index + 1
        return self._reader.at(index)


def _index(path: Path, stream: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Time stamps of all frames in order of presentation, and which are key frames, from the packets."""
    with open_source(path) as container:
        packets = container.demux(container.streams[stream])
        told = [(p.pts, p.is_keyframe) for p in packets if p.pts is not None and p.size and not p.is_discard]
    pts, is_key = np.array(told, dtype=np.int64).reshape(-1, 2).T
    order = np.argsort(pts, kind="stable")
    return pts[order], is_key[order] > 0


class PictureReader:
    """Frames ready to be kept: 8 bits, upright, scaled down to the size at which they were judged."""

    def __init__(self, path: Path, *, num_threads: int = 0) -> None:
        with PyavReader(path, ReaderOptions(num_threads=num_threads)) as probe:
            self._info, origin_s = probe.info, probe.origin_s
        self._size_HW = judged_size(self._info.height, self._info.width)
        is_full = effective_range(self._info) == _FULL_RANGE
        self._num_levels = _FULL_LEVELS if is_full else _LIMITED_LEVELS
        self._exact = PyavAccess(path, self._info, origin_s)
        self._fast: FrameAccess | None = None
        self._decord: DecordReader | None = None
        with contextlib.suppress(ConcertDeblurError):  # the reader refuses what decord would do wrong
            self._decord = DecordReader(path, ReaderOptions(num_threads=num_threads))
            self._fast = DecordAccess(path, self._decord, self._info)

    @property
    def is_random(self) -> bool:
        """Whether decord reads this clip."""
        return self._fast is not None

    def read(self, candidate: Candidate, part: Box) -> Picture:
        """One frame without its bars, (height, width, 3) RGB.

        Args:
            candidate: The frame's place, and what the scan saw of it, by which decord's frame is checked.
            part: The picture without the bars, in px of the frame as it was judged.

        """
        if self._fast is not None:
            with contextlib.suppress(ConcertDeblurError):
                pixels = self._as_judged(self._fast.read(candidate.pts))
                if is_the_candidate(pixels, candidate, num_levels=self._num_levels):
                    return self._upright(cut(pixels, part))
        return self._upright(cut(self._as_judged(self._exact.read(candidate.pts)), part))

    def close(self) -> None:
        """Release the file."""
        if self._decord is not None:
            self._decord.close()

    def _as_judged(self, pixels: Pixels) -> Picture:
        picture = np.asarray(pixels if pixels.dtype == np.uint8 else pixels // 256, dtype=np.uint8)
        if picture.shape[:2] != self._size_HW:
            picture = np.asarray(cv2.resize(picture, self._size_HW[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return picture

    def _upright(self, picture: Picture) -> Picture:
        return np.ascontiguousarray(self._info.orientation.of(picture))


@contextlib.contextmanager
def open_pictures(path: Path, *, num_threads: int = 0) -> Iterator[PictureReader]:
    """A picture reader that is closed at the end."""
    reader = PictureReader(path, num_threads=num_threads)
    try:
        yield reader
    finally:
        reader.close()


def is_the_candidate(picture: Picture, candidate: Candidate, *, num_levels: int) -> bool:
    """Whether a frame is the candidate, and not one of its neighbours.

    Args:
        picture: (height, width, 3) RGB, in the size in which it was judged.
        candidate: What the scan saw of it.
        num_levels: Number of levels of the luma that the scan saw.

    """
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if _thumb_error(thumbnail(grey), thumbnail_from(candidate.thumb)) > _MOST_THUMB_ERROR:
        return False
    expected = candidate.detail * (_FULL_LEVELS / num_levels) ** 2
    return abs(mean_detail(measure(grey)) - expected) <= _MOST_DETAIL_ERROR * expected


def _thumb_error(thumb: Picture, candidate_thumb: Picture) -> float:
    """Mean difference of two thumbnails, whatever their ranges of luma."""
    seen, known = thumb.astype(np.float32), candidate_thumb.astype(np.float32)
    return float(np.abs((seen - seen.mean()) - (known - known.mean()) * _gain(seen, known)).mean())


def _gain(seen: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> float:
    spread = float(known.std())
    return min(1.3, max(0.8, float(seen.std()) / spread)) if spread > 1 else 1.0
