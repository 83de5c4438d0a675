"""Segments of a clip before they are computed: found in one pass of decoding, and found again by who computes one.

Whoever computes a segment begins to decode near it. That the decoder gives what it would have given from the beginning
is not taken for granted (streams without whole key frames exist): the plan holds a mark of the first pictures, and
where they differ, decoding begins at the beginning.
"""

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from concertdeblur.errors import SourceError, UsageError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderName, ReaderOptions
from concertdeblur.pipelines.segments.cutting import FrameTape, is_cut


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSegment:
    """A segment, and how its frames are known again."""

    number: int
    start: int  # number of its first frame in the clip
    num_frames: int
    begin: int  # number of the first frame that is read, to warm up
    pts: tuple[int, ...]  # of the frames from `begin` to the segment's end
    marks: tuple[int, ...]  # of the first pictures from `begin` on; none where decoding begins with the clip


def plan(frames: Iterable[Frame], warm_up: int, *, in_one: bool) -> Iterator[PlannedSegment]:
    """The segments of a clip, by the rule of `cutting`, each as soon as its end is known.

    Args:
        frames: All of them; pixels are not needed.
        warm_up: Frames before a segment that it needs.
        in_one: Whether the clip is one segment, since a single machine makes it in one piece.

    """
    tape, segment_number, start, number = FrameTape(iter(frames)), 0, 0, 0
    stamps: list[int] = []  # of the frames from `begin` on
    begin, marks = 0, tuple[int, ...]()
    while (frame := tape.at(number)) is not None:
        stamps.append(frame.pts)
        number += 1
        if tape.at(number) is None if in_one else is_cut(tape, number, start):
            yield PlannedSegment(
                number=segment_number, start=start, num_frames=number - start, begin=begin, pts=tuple(stamps),
                marks=marks,
            )  # fmt: skip
            begin, start, segment_number = max(0, number - warm_up), number, segment_number + 1
            stamps = stamps[len(stamps) - (start - begin) :]
            known = (tape.at(place) for place in range(begin, max(start, begin + 1)))
            marks = tuple(picture_mark(each) for each in known if each is not None)
        tape.forget_before(max(0, number - warm_up))


@contextmanager
def segment_frames(
    source: Path,
    options: ReaderOptions,
    reader: ReaderName,
    segment: PlannedSegment,
    info: StreamInfo,
    origin_s: Fraction,
) -> Iterator[Iterator[Frame]]:
    """The frames from a segment's first on, to the end of the clip.

    Args:
        source: The clip.
        options: As the whole clip is read.
        reader: Which one reads.
        segment: As it was planned.
        info: The stream as it was planned.
        origin_s: The reader's, from which start and end are counted.

    Raises:
        SourceError: Also in the middle, if the clip is another one than was planned.

    """
    with ExitStack() as stack:
        yield _checked(
            source,
            _sought(source, options, reader, segment, info, origin_s, stack)
            or _counted(source, options, reader, segment, stack),
            segment,
        )


def _sought(
    source: Path, options: ReaderOptions, reader: ReaderName, segment: PlannedSegment, info: StreamInfo,
    origin_s: Fraction, stack: ExitStack,
) -> Iterator[Frame] | None:  # fmt: skip
    """The frames by a search, if they are those of the plan."""
    start_s = segment.pts[0] * info.time_base - origin_s
    if not segment.marks or start_s <= 0:
        return None
    try:
        with ExitStack() as trial:
            opened = trial.enter_context(open_reader(source, replace(options, start_s=start_s), backend=reader))
            frames = opened.frames()
            head = list(itertools.islice(frames, len(segment.marks)))
            is_same = _without_length(opened.info) == _without_length(info)
            if is_same and [picture_mark(frame) for frame in head] == list(segment.marks):
                stack.push(trial.pop_all())
                return itertools.chain(head, frames)
    except (SourceError, UsageError):  # what can be read from the beginning need not be found from here
        pass
    return None


def _counted(
    source: Path, options: ReaderOptions, reader: ReaderName, segment: PlannedSegment, stack: ExitStack
) -> Iterator[Frame]:
    """The frames from the clip's beginning on, without those before the segment."""
    opened = stack.enter_context(open_reader(source, options, backend=reader))
    return itertools.islice(opened.frames(), segment.begin, None)


def _checked(source: Path, frames: Iterator[Frame], segment: PlannedSegment) -> Iterator[Frame]:
    """The frames, as long as their time stamps are those of the plan."""
    for frame, pts in itertools.zip_longest(itertools.islice(frames, len(segment.pts)), segment.pts):
        if frame is None or frame.pts != pts:
            raise SourceError(f"{source}: is read otherwise than when it was cut into segments; did it change?")
        yield frame
    yield from frames


def _without_length(info: StreamInfo) -> StreamInfo:
    return replace(info, num_frames_hint=None)


def picture_mark(frame: Frame) -> int:
    """A checksum of a frame's picture as it was decoded."""
    if frame.native is None:
        assert frame.pixels is not None
        return zlib.crc32(frame.pixels.tobytes())
    mark = 0
    for number, plane in enumerate(frame.native.planes):
        row_bytes = _row_bytes(frame.native.format, number, plane.width)
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, abs(plane.line_size))[: plane.height]
        mark = zlib.crc32(rows[:, :row_bytes].tobytes(), mark)
    return mark


def _row_bytes(pixel_format: av.VideoFormat, plane: int, width: int) -> int:
    """Bytes of a row that hold pixels; what lies behind them is anybody's."""
    parts: Sequence[int] = [(part.bits + 7) // 8 for part in pixel_format.components if part.plane == plane]
    return width * sum(parts)
