"""File -> frames with decord: the second backend, 8-bit RGB only.

decord knows nothing of colour tags, rotation or time bases, so PyAV reads them from the container. What decord cannot
do at all (deep, HDR or interlaced sources, broken frames, another stream than the first) is refused with a sentence.
"""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from concertdeblur.errors import (
    BrokenFramesError,
    MissingDependencyError,
    SourceError,
    UnsupportedStreamError,
    UsageError,
)
from concertdeblur.frame import Frame, Pixels, StreamInfo
from concertdeblur.media.colour import is_untagged_hd
from concertdeblur.media.containers import open_source
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.reader import ReaderOptions, ignore_warning
from concertdeblur.media.selection import is_cover_art
from concertdeblur.media.timeline import Timeline, intervals


class DecordReader:
    """Implements `VideoReader` with decord."""

    def __init__(
        self, path: Path, options: ReaderOptions, *, on_warning: Callable[[str], None] = ignore_warning
    ) -> None:
        os.environ.setdefault("DECORD_DUPLICATE_WARNING_THRESHOLD", "1.0")  # it has no other way to keep quiet
        try:
            import decord
        except ImportError as error:
            raise MissingDependencyError("the reader decord needs the package decord2; install it") from error
        decord.logging.set_level(decord.logging.QUIET)  # its FFmpeg writes to standard error what it finds damaged
        with PyavReader(path, options, on_warning=on_warning) as probe:
            self._info, self._first_pts = probe.info, probe.first_pts
            self._end_pts, self._origin_s, self._is_cropped = probe.end_pts, probe.origin_s, probe.is_cropped
            self._timeline = probe.timeline
            self._start_pts = probe.start_pts
            self._promised_end = probe.promised_end
            if probe.has_captions:
                on_warning(f"{path.name}: closed captions are dropped: decord does not give them")
        self._path = path
        self._refuse_unknown(options)
        try:
            self._video = decord.VideoReader(str(path), num_threads=options.num_threads)
        except (decord.DECORDError, RuntimeError, UnicodeEncodeError) as error:
            raise SourceError(f"{path}: decord cannot read it; use the reader pyav") from error
        self._decord_error = decord.DECORDError
        self._stamps = presented(path, self._info.index)
        if len(self._stamps) != len(self._video):
            counts = f"{len(self._video)} of {len(self._stamps)}"
            raise SourceError(f"{path}: decord finds {counts} frames; use the reader pyav")

    @property
    def info(self) -> StreamInfo:
        """What the container says of the stream."""
        return self._info

    @property
    def num_broken(self) -> int:
        """Always 0: broken frames are an error here."""
        return 0

    @property
    def first_pts(self) -> int:
        """Time stamp of the first chosen frame."""
        return self._first_pts

    @property
    def origin_s(self) -> Fraction:
        """The source's time from which start and end are counted."""
        return self._origin_s

    @property
    def timeline(self) -> Timeline:
        """A single piece, since clips of several pieces are refused."""
        return self._timeline

    def __enter__(self) -> "DecordReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._video = None

    def frames(self) -> Iterator[Frame]:
        """All chosen frames in order, with pixels and without native planes."""
        items = ((pts, index) for index, (pts, _) in enumerate(self._stamps))
        for shown in intervals(items, start=self._start_pts, end=self._end_pts, last_end=self._last_end):
            yield Frame(pts=shown.pts, duration=shown.duration, pixels=self.at(shown.item))

    def _last_end(self, pts: int, step: int) -> int:
        promised = self._promised_end
        return promised if promised is not None and promised > pts else pts + (self._stamps[-1][1] or step or 1)

    def at(self, index: int) -> Pixels:
        """The frame with this index, in order of presentation over the whole clip.

        Raises:
            BrokenFramesError: If it does not decode.

        """
        try:
            pixels = self._video[index].asnumpy()
        except self._decord_error as error:
            pts = self._stamps[index][0]
            raise BrokenFramesError(
                f"{self._path}: decord cannot decode the frame at pts {pts}; the reader pyav repairs it"
            ) from error
        return self._as_coded(pixels)

    def _as_coded(self, pixels: Pixels) -> Pixels:
        """Undo the half turn that decord applies: turning is left to the player."""
        return np.ascontiguousarray(pixels[::-1, ::-1] if self._info.rotation_deg % 360 else pixels)

    def _refuse_unknown(self, options: ReaderOptions) -> None:
        reason = None
        if self._timeline.is_joined:
            reason = "its time begins anew, which decord does not say"
        elif self._is_cropped:
            reason = "the container hides a part of the picture, which decord would show"
        elif is_untagged_hd(self._info):
            reason = "it reads HD without colour tags as BT.601"
        elif self._info.bit_depth > 8:
            reason = f"it reads 8 bits, and this video has {self._info.bit_depth}"
        elif options.deinterlace:
            reason = "it cannot deinterlace"
        elif self._info.index != first_video_stream(self._path):
            reason = f"it reads the first video stream only, and stream {self._info.index} is chosen"
        elif self._info.rotation_deg % 180:
            # decord2 3.4 gives 4 channels then
            reason = f"it mangles clips to be turned by {self._info.rotation_deg} degrees"
        if reason:
            raise UnsupportedStreamError(f"{self._path}: decord cannot read this clip: {reason}; use the reader pyav")
        if not options.wants_pixels:
            raise UsageError("the reader decord has no native planes; identity (strength 0) needs the reader pyav")


def presented(path: Path, index: int) -> list[tuple[int, int]]:
    """(pts, duration) of every frame of a stream, in order of presentation, from its packets."""
    with open_source(path) as container:
        packets = container.demux(container.streams[index])
        return sorted((p.pts, p.duration or 0) for p in packets if p.pts is not None and p.size and not p.is_discard)


def first_video_stream(path: Path) -> int:
    """Index in the container of the first video stream that is no cover art."""
    with open_source(path) as container:
        return next(stream.index for stream in container.streams.video if not is_cover_art(stream))
