"""One segment of a clip: its frames through the networks, into a file of packets for each output."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from concertdeblur.errors import ConcertDeblurError, TargetError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.containers import MUX_ERRORS
from concertdeblur.media.encoding import Encoding
from concertdeblur.media.joining import SegmentWriter
from concertdeblur.media.output_file import is_disk_full, target_error
from concertdeblur.pipelines.segments.work_folder import DoneSegment
from concertdeblur.pipelines.video_job import Unchanged

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurredFrame

Made: TypeAlias = "DeblurredFrame | Unchanged"
Picture: TypeAlias = Callable[[Made], Frame | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What one output shows of a clip, and how it is encoded."""

    name: str
    part: Path  # the output's file, named in errors
    info: StreamInfo
    encoding: Encoding
    picture: Picture  # what of a deblurred frame it shows


class SegmentPlace(Protocol):
    """Where segments lie."""

    def file(self, number: int, name: str) -> Path:
        """Where the packets of a segment for one output belong."""

    def add(self, number: int, segment: DoneSegment) -> None:
        """Take a segment whose files are on the disk."""

    def full_disk(self) -> TargetError:
        """What to say when the disk is full in the middle."""


@dataclass(kw_only=True, slots=True)
class SegmentMaker:
    """Makes one segment after the other.

    Args:
        views: What is made of each frame.
        place: Where it goes.
        deblur: Makes of frames, in order, what is written; each call begins with no memory of frames before.
        on_made: Called with each new frame of a segment.
        hand_over: Does a task now, or later in another thread, in the order of the calls.

    """

    views: Sequence[View]
    place: SegmentPlace
    deblur: Callable[[Iterator[Frame]], Generator[Made]]
    on_made: Callable[[Made], None]
    hand_over: Callable[[Callable[[], None]], None] = field(default=lambda task: task())
    _open: list[SegmentWriter] = field(default_factory=list, init=False)

    def make(
        self, number: int, start: int, frames: Iterator[Frame], *, begin: int, is_end: Callable[[int], bool],
        check: Callable[[int], None],
    ) -> int:  # fmt: skip
        """Compute one segment; it is complete once what is handed over is done.

        Args:
            number: Of the segment.
            start: Number of its first frame in the clip.
            frames: From `begin` on, beyond the segment's end.
            begin: Number of the first frame that is computed, to warm up.
            is_end: Whether a frame does not belong to it any more; asked in order.
            check: Told the number of the first frame after it; raises where it must not count.

        Returns:
            The number of the first frame after it.

        """
        following = start
        num_tried = num_accepted = 0
        writers = {view.name: self._opened(view, number) for view in self.views}
        with closing(self.deblur(frames)) as results:
            for position, made in enumerate(results, begin):
                if position < start:
                    continue
                following = position + 1
                for view in self.views:
                    picture = view.picture(made)
                    if picture is not None:
                        self.hand_over(partial(self._write, writers[view.name], picture, view))
                num_tried, num_accepted = num_tried + made.windows_tried, num_accepted + made.windows_accepted
                self.on_made(made)
                if is_end(following):
                    break
        check(following)
        row = partial(
            DoneSegment, start=start, num_frames=following - start, windows_tried=num_tried,
            windows_accepted=num_accepted,
        )  # fmt: skip
        self.hand_over(partial(self._complete, number, writers, row))
        return following

    def close(self) -> None:
        """Release encoders and files, also in the middle; what is handed over must be done or dropped by then."""
        for writer in self._open:
            writer.close()
        self._open = []

    def _opened(self, view: View, number: int) -> SegmentWriter:
        with self.writing(view):
            writer = SegmentWriter(self.place.file(number, view.name), view.info, view.encoding)
        self._open.append(writer)
        return writer

    def _write(self, writer: SegmentWriter, frame: Frame, view: View) -> None:
        with self.writing(view):
            writer.write(frame)

    def _complete(self, number: int, writers: dict[str, SegmentWriter], row: Callable[..., DoneSegment]) -> None:
        """Put a segment on the disk, then into the manifest."""
        digests = {}
        for view in self.views:
            with self.writing(view):
                digests[view.name] = writers[view.name].finish()
            self._open.remove(writers[view.name])
        self.place.add(number, row(files=digests))

    @contextlib.contextmanager
    def writing(self, view: View) -> Iterator[None]:
        """Turn what goes wrong with an output into one sentence."""
        try:
            yield
        except (OSError, *MUX_ERRORS) as error:
            if is_disk_full(error):
                raise self.place.full_disk() from error
            if isinstance(error, ConcertDeblurError):
                raise
            raise target_error(view.part, error) from error
