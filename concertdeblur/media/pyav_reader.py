"""File -> frames with PyAV: native planes, any bit depth, broken frames repaired, interlaced ones on request."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.codec.context import ThreadType

from concertdeblur.errors import BrokenFramesError, SourceError, UnsupportedStreamError, UsageError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.captions import caption_bearer
from concertdeblur.media.colour import is_untagged_hd, rgb_converter
from concertdeblur.media.containers import error_text, open_source
from concertdeblur.media.cropping import Cropper, container_crop, cropped_to_even
from concertdeblur.media.deinterlace import Deinterlacer
from concertdeblur.media.matroska import is_whole
from concertdeblur.media.reader import ReaderOptions, closing_on_error, ignore_warning
from concertdeblur.media.repair import Decoded, FrameRepair
from concertdeblur.media.selection import describe, hides_alpha, promised_end_s, select_video
from concertdeblur.media.side_data import lost_side_data
from concertdeblur.media.timeline import Timeline, intervals, read_timeline, within_the_clock

_INTERLACED_ORDERS = frozenset({2, 3, 4, 5})  # AVFieldOrder: top or bottom field first, as coded or shown
_END_TOLERANCE_S = Fraction(1, 10)  # edit lists and containers may be wrong by a frame or two
_SEEK_BACK_S = (0, 10, 60)
_ONE_FRAME_A_PACKET = frozenset({"h264", "hevc", "av1", "ffv1", "prores", "mjpeg"})  # of a progressive clip


class PyavReader:
    """Implements `VideoReader` with PyAV."""

    def __init__(
        self, path: Path, options: ReaderOptions, *, on_warning: Callable[[str], None] = ignore_warning
    ) -> None:
        self._path = path
        self._options = options
        self._on_warning = on_warning
        self._repair = FrameRepair()
        self._num_broken = 0
        self._is_cut_off = False
        self._last_packet_end: int | None = None
        self._last_packet = (0, 0)  # (pts, duration) of the packet that is shown last
        self._timeline = read_timeline(path)
        self._open()
        with closing_on_error(lambda: self._container.close()):
            context = self._stream.codec_context
            crop = container_crop(self._container, self._stream.index)
            if options.even_size:
                crop = cropped_to_even(crop, context.height, context.width)
            self._cropper = Cropper(crop) if crop else None
            self._seek_to_start()
            self._decoded = self._chosen()
            self._first = self._first_frame()
            self._info = describe(self._stream, self._first.picture)
            self._check_sizes()
            self._convert = rgb_converter(self._info) if options.wants_pixels else None
            self._deinterlacer = self._make_deinterlacer()
            if self._timeline.is_moved:
                on_warning(f"{path.name}: {self._timeline.text()}")
            for lost in lost_side_data(self._first.picture) + ["transparency"] * hides_alpha(self._stream):
                on_warning(f"{path.name}: {lost} is dropped")
            if is_untagged_hd(self._info):
                on_warning(f"{path.name}: HD without colour tags is read as BT.709")

    @property
    def info(self) -> StreamInfo:
        """What is known of the stream."""
        return self._info

    @property
    def num_broken(self) -> int:
        """How many frames so far stand in for frames that did not decode."""
        return self._num_broken

    @property
    def first_pts(self) -> int:
        """Time stamp of the first chosen frame."""
        return self._first.pts

    @property
    def is_cropped(self) -> bool:
        """Whether the container hides a part of the coded picture."""
        return self._cropper is not None

    @property
    def has_captions(self) -> bool:
        """Whether the first chosen frame bears closed captions."""
        return caption_bearer(self._first.picture) is not None

    @property
    def origin_s(self) -> Fraction:
        """The source's time from which start and end are counted."""
        assert self._stream.time_base is not None
        return self._begin * self._stream.time_base

    @property
    def timeline(self) -> Timeline:
        """Where the clip's time begins anew."""
        return self._timeline

    @property
    def start_pts(self) -> int | None:
        """The first moment that is wanted; None if all are."""
        return None if self._options.start_s is None else self._pts_at(self._options.start_s)

    @property
    def end_pts(self) -> int | None:
        """The first time stamp that is not wanted any more; None if all are."""
        return None if self._options.end_s is None else self._pts_at(self._options.end_s)

    @property
    def promised_end(self) -> int | None:
        """When the last frame leaves the screen, according to the container; None if it does not say."""
        promised_s = promised_end_s(self._stream)
        assert self._stream.time_base is not None
        return None if promised_s is None else round(promised_s / self._stream.time_base)

    def __enter__(self) -> "PyavReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._decoded.close()
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """All chosen frames in order; may be called once."""
        for decoded in self._progressive(itertools.chain([self._first], self._decoded)):
            picture = decoded.picture
            self._check_size(picture, self._since_begin_s(decoded.pts))
            self._num_broken += decoded.is_repeated
            yield Frame(
                pts=decoded.pts,
                duration=decoded.duration,
                pixels=self._convert(picture) if self._convert is not None else None,
                native=picture,
                captions=None if decoded.is_repeated else caption_bearer(picture),
                is_repeated=decoded.is_repeated,
            )

    @property
    def _begin(self) -> int:
        """When the stream begins, according to its header, in the clip's common time."""
        assert self._stream.time_base is not None
        return (self._stream.start_time or 0) + round(self._timeline.first_shift_s / self._stream.time_base)

    def _check_sizes(self) -> None:
        """Look at the first picture of every later piece of joined recordings that is wanted."""
        if not self._timeline.is_joined:
            return
        first_s, index = self._since_begin_s(self._first.pts), self._stream.index
        with open_source(self._path) as container:
            stream = next(each for each in container.streams.video if each.index == index)
            assert stream.time_base is not None
            for stretch in self._timeline.stretches[1:]:
                container.seek(stretch.begins_at(index), unsupported_byte_offset=True)
                picture = next((frame for frame in container.decode(stream) if frame.pts is not None), None)
                if picture is None or picture.pts is None:
                    continue
                at_s = within_the_clock(picture.pts * stream.time_base + stretch.shift_s - self.origin_s)
                if first_s < at_s and (self._options.end_s is None or at_s < self._options.end_s):
                    self._check_size(self._cropper.cut(picture) if self._cropper else picture, at_s)

    def _check_size(self, picture: av.VideoFrame, at_s: Fraction) -> None:
        if (picture.height, picture.width) != (self._info.height, self._info.width):
            sizes = f"{self._info.width}x{self._info.height} to {picture.width}x{picture.height}"
            raise UnsupportedStreamError(
                f"{self._path}: the picture size changes from {sizes} at {float(at_s):.2f} s; cut the clip there,"
                f" or use --end {float(at_s):.2f}"
            )

    def _open(self) -> None:
        self._container = open_source(self._path)
        with closing_on_error(self._container.close):
            self._stream = select_video(self._container, self._path, self._options.video_stream)
            context = self._stream.codec_context
            context.thread_type = ThreadType.AUTO
            context.thread_count = self._options.num_threads

    def _first_frame(self) -> Decoded:
        first = next(self._decoded, None)
        if first is not None:
            return first
        if self._options.start_s is not None or self._options.end_s is not None:
            ended = self._last_packet_end
            known = "" if ended is None else f"; the last one ends at {float(self._since_begin_s(ended)):.2f} s"
            raise UsageError(f"{self._path}: there is no frame between start and end{known}")
        raise SourceError(f"{self._path}: no frame of video stream {self._stream.index} can be decoded")

    def _make_deinterlacer(self) -> Deinterlacer | None:
        """The filter for an interlaced stream, or None for a progressive one."""
        by_container = self._stream.codec_context.field_order in _INTERLACED_ORDERS
        if not by_container and not self._first.picture.interlaced_frame:
            return None
        if not self._options.deinterlace:
            raise self._interlaced()
        return Deinterlacer(self._stream, self._first.picture)

    def _interlaced(self) -> UnsupportedStreamError:
        return UnsupportedStreamError(
            f"{self._path}: is interlaced, and the two fields of a frame would be deblurred as one picture; "
            "--deinterlace takes it"
        )

    def _progressive(self, decoded: Iterator[Decoded]) -> Iterator[Decoded]:
        if self._deinterlacer is not None:
            yield from self._deinterlacer.run(decoded)
            return
        for item in decoded:
            if item.picture.interlaced_frame:
                if not self._options.deinterlace:
                    raise self._interlaced()
                raise UnsupportedStreamError(f"{self._path}: turns from progressive to interlaced; cut the clip there")
            yield item

    def _seek_to_start(self) -> None:
        """Go to a key frame before the start; if none is found, decoding begins at the beginning of the clip."""
        start, first = self.start_pts, self._begin
        if start is None or start <= first or self._timeline.is_moved:
            return
        assert self._stream.time_base is not None
        with contextlib.suppress(av.error.FFmpegError):  # not seekable
            for earlier_s in _SEEK_BACK_S:
                target = start - int(earlier_s / self._stream.time_base)
                if target <= first:
                    break
                self._container.seek(target, stream=self._stream, backward=True)
                if self._has_key_frame_until(start):
                    self._container.seek(target, stream=self._stream, backward=True)
                    return
        self._container.close()  # formats that seek by coding time miss the beginning: open the file anew
        self._open()

    def _has_key_frame_until(self, start: int) -> bool:
        """Whether decoding from here gives the frame on screen at `start`; seeking by coding time may miss it."""
        for packet in self._container.demux(self._stream):
            if packet.pts is not None and packet.is_keyframe:
                return packet.pts <= start
            if packet.pts is None or packet.pts > start:
                return False
        return False

    def _pts_at(self, seconds: Fraction) -> int:
        """The first time stamp that is not before a moment counted from the stream's start."""
        assert self._stream.time_base is not None
        return self._begin - int(-seconds / self._stream.time_base // 1)

    def _since_begin_s(self, pts: int) -> Fraction:
        assert self._stream.time_base is not None
        return (pts - self._begin) * self._stream.time_base

    def _chosen(self) -> Generator[Decoded]:
        """The pictures that are on screen between start and end, and how long each is."""
        items = ((decoded.pts, decoded) for decoded in self._in_order())
        for shown in intervals(items, start=self.start_pts, end=self.end_pts, last_end=self._last_end):
            decoded = shown.item
            if decoded.is_repeated and self._options.strict:
                raise BrokenFramesError(f"{self._path}: a frame at pts {decoded.pts} does not decode")
            yield Decoded(shown.pts, decoded.picture, decoded.is_repeated, shown.duration)

    def _in_order(self) -> Iterator[Decoded]:
        last_pts: int | None = None
        for decoded in self._repaired():
            if last_pts is not None and decoded.pts <= last_pts:
                self._on_warning(f"{self._path.name}: a frame with a time stamp not after the one before is moved")
                decoded.pts = last_pts + 1
            last_pts = decoded.pts
            yield decoded

    def _last_end(self, pts: int, step: int) -> int:
        """When the last frame leaves the screen, according to the container, or else to its packet."""
        promised = self.promised_end
        if promised is not None and promised > pts and not self._is_cut_off:
            return promised
        last_pts, duration = self._last_packet
        return pts + (duration if last_pts == pts and duration else step or 1)

    def _repaired(self) -> Iterator[Decoded]:
        repair, last_pts = self._repair, -1
        for coded in self._pictures():
            picture = self._cropper.cut(coded) if self._cropper else coded
            pts = picture.pts if picture.pts is not None else last_pts + max(1, picture.duration or 1)
            last_pts = pts
            yield from repair.decoded(pts, picture)
        is_progressive = self._stream.codec_context.field_order not in _INTERLACED_ORDERS
        is_known = self._stream.codec_context.codec.canonical_name in _ONE_FRAME_A_PACKET
        yield from repair.ended(is_one_to_one=is_known and is_progressive)

    def _pictures(self) -> Iterator[av.VideoFrame]:
        packets = iter(self._timeline.moved(self._container.demux(self._stream)))
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._ended_early(error_text(error))
                packet = None
            if packet is None or (packet.size == 0 and packet.pts is None and packet.dts is None):
                break
            if not packet.is_discard:
                self._repair.promise(packet.pts)
            if packet.size == 0 or packet.is_corrupt:
                self._repair.complain()
            if packet.pts is not None and not packet.is_discard:
                self._last_packet = max(self._last_packet, (packet.pts, packet.duration or 0))
                self._last_packet_end = max(self._last_packet_end or 0, packet.pts + (packet.duration or 0))
            if packet.size:
                yield from self._decode(packet)
        yield from self._decode(None)
        self._check_end()

    def _check_end(self) -> None:
        """Warn if the file was cut off behind its index, since FFmpeg just stops there without an error."""
        promised_s, last_end = promised_end_s(self._stream), self._last_packet_end
        if last_end is None or promised_s is None or self._stream.time_base is None:
            return
        end_s = last_end * self._stream.time_base
        if end_s < promised_s - _END_TOLERANCE_S and not is_whole(self._path):
            self._ended_early(f"at {float(end_s):.2f} s of {float(promised_s):.2f} s")

    def _decode(self, packet: "av.Packet[av.VideoStream] | None") -> list[av.VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self._repair.complain()
            if self._options.strict:
                raise BrokenFramesError(f"{self._path}: a frame does not decode ({error_text(error)})") from error
            return []

    def _ended_early(self, reason: str) -> None:
        self._is_cut_off = True
        if self._options.strict:
            raise BrokenFramesError(f"{self._path}: ends early ({reason})")
        self._on_warning(f"{self._path.name}: ends early ({reason})")
