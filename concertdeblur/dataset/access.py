"""Single frames of a clip by their time stamps, as RGB, upright: by decord where it can, else by PyAV."""

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
from concertdeblur.dataset.scan import judged_size, thumbnail
from concertdeblur.errors import ConcertDeblurError, SourceError
from concertdeblur.frame import Pixels, StreamInfo
from concertdeblur.media.decord_reader import DecordReader, presented
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.reader import ReaderOptions

Picture = npt.NDArray[np.uint8]

_MOST_THUMB_ERROR = 6.0  # levels (mean); a wrong frame of the same shot differs by less, but a wrong order by more


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
    """Asks decord by index; it keeps the index of key frames in memory."""

    def __init__(self, path: Path, reader: DecordReader, info: StreamInfo) -> None:
        self._path, self._reader = path, reader
        self._index = {pts: index for index, (pts, _) in enumerate(presented(path, info.index))}

    def read(self, pts: int) -> Pixels:
        """The frame with this time stamp."""
        if pts not in self._index:
            raise SourceError(f"{self._path}: decord knows no frame at pts {pts}")
        return self._reader.at(self._index[pts])


class PictureReader:
    """Frames ready to be kept: 8 bits, upright, scaled down to the size at which they were judged."""

    def __init__(self, path: Path, *, num_threads: int = 0) -> None:
        with PyavReader(path, ReaderOptions(num_threads=num_threads)) as probe:
            self._info, origin_s = probe.info, probe.origin_s
        self._size_HW = judged_size(self._info.height, self._info.width)
        self._exact = PyavAccess(path, self._info, origin_s)
        self._fast: FrameAccess | None = None
        self._decord: DecordReader | None = None
        with contextlib.suppress(ConcertDeblurError):  # it says what it cannot do before it does it wrong
            self._decord = DecordReader(path, ReaderOptions(num_threads=num_threads))
            self._fast = DecordAccess(path, self._decord, self._info)

    @property
    def is_random(self) -> bool:
        """Whether decord reads this clip."""
        return self._fast is not None

    def read(self, pts: int, thumb: Picture, part: Box) -> Picture:
        """One frame without its bars, (height, width, 3) RGB.

        Args:
            pts: Its time stamp.
            thumb: What `scan.thumbnail` gave of it: what decord gives is checked by it.
            part: Where the picture is within the bars, in px of the frame as judged.

        """
        if self._fast is not None:
            with contextlib.suppress(ConcertDeblurError):
                pixels = self._as_judged(self._fast.read(pts))
                if _thumb_error(pixels, thumb) <= _MOST_THUMB_ERROR:
                    return self._upright(cut(pixels, part))
        return self._upright(cut(self._as_judged(self._exact.read(pts)), part))

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
        return np.ascontiguousarray(np.rot90(picture, self._info.rotation_deg // 90))


@contextlib.contextmanager
def open_pictures(path: Path, *, num_threads: int = 0) -> Iterator[PictureReader]:
    """A picture reader that is closed at the end."""
    reader = PictureReader(path, num_threads=num_threads)
    try:
        yield reader
    finally:
        reader.close()


def _thumb_error(picture: Picture, thumb: Picture) -> float:
    """Mean difference from the thumbnail, whatever the two ranges of luma."""
    seen = thumbnail(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)).astype(np.float32)
    known = thumb.astype(np.float32)
    return float(np.abs((seen - seen.mean()) - (known - known.mean()) * _gain(seen, known)).mean())


def _gain(seen: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> float:
    spread = float(known.std())
    return min(1.3, max(0.8, float(seen.std()) / spread)) if spread > 1 else 1.0
