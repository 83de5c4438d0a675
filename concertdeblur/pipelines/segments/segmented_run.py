"""A clip's frames through the networks, segment by segment, into the work folder; then all joined into the outputs."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from concertdeblur.errors import ConcertDeblurError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.containers import MUX_ERRORS
from concertdeblur.media.encoding import Encoding
from concertdeblur.media.joining import SegmentWriter, join
from concertdeblur.media.output_file import is_disk_full, target_error
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.pipelines.segments.cutting import FrameTape, first_needed, is_cut
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder, sync_file
from concertdeblur.pipelines.video_job import Unchanged

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurredFrame

Made: TypeAlias = "DeblurredFrame | Unchanged"
Picture: TypeAlias = Callable[[Made], Frame | None]

# Frames that are computed before a segment and thrown away, so that its own do not depend on where it began. What the
# networks carry from frame to frame halves with each (running spectra), or falls to 0.84 (steadying). Lowest PSNR of
# a frame against the run in one piece, over clips of real cameras and heavily blurred pans: 40 dB without warming up, 47 dB
# with 5 frames, 50 dB with 7, 53 dB with 9, 57 dB with 12.
WARM_UP_FRAMES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlet:
    """One output of a run."""

    name: str
    part: Path
    info: StreamInfo
    encoding: Encoding
    writer: PyavWriter  # which the segments are joined into
    picture: Picture  # what of a deblurred frame it shows


@dataclass(kw_only=True, slots=True)
class SegmentedRun:
    """One run over a clip.

    Args:
        outlets: What is written.
        work: Where segments wait.
        deblur: Makes of frames, in order, what is written; each call begins with no memory of frames before.
        warm_up: Frames before a segment that it needs.
        on_made: Called with each new frame.
        on_done_before: Called with each segment that an earlier run has done.
        total_frames: As the header says; None if it does not.
        hand_over: Does a task now, or later in another thread, in the order of the calls.

    """

    outlets: Sequence[Outlet]
    work: WorkFolder
    deblur: Callable[[Iterator[Frame]], Generator[Made]]
    warm_up: int
    on_made: Callable[[Made], None]
    on_done_before: Callable[[DoneSegment], None]
    total_frames: int | None
    hand_over: Callable[[Callable[[], None]], None] = field(default=lambda task: task())
    _is_room_known: bool = field(default=False, init=False)
    _open: list[SegmentWriter] = field(default_factory=list, init=False)

    def compute(self, frames: Iterable[Frame]) -> None:
        """Make every segment that is not there yet."""
        tape, start, number = FrameTape(iter(frames)), 0, 0
        while tape.at(start) is not None:
            done = self.work.done(number)
            if done is not None and done.start == start:
                following = done.start + done.num_frames
                self.on_done_before(done)
            else:
                following = self._make(tape, number, start)
            tape.forget_before(max(0, following - self.warm_up))
            start, number = following, number + 1

    def join(self) -> None:
        """Put all segments into the outputs, and wait until they are on the disk."""
        for outlet in self.outlets:
            with self._writing(outlet):
                join(outlet.writer, outlet.part, self.work.files(outlet.name), outlet.info.time_base)
                sync_file(outlet.part)
        self.work.joined()

    def close(self) -> None:
        """Release encoders and files, also in the middle; what is handed over must be done or dropped by then."""
        for writer in self._open:
            writer.close()
        self._open = []

    def _make(self, tape: FrameTape, number: int, start: int) -> int:
        """Compute one segment; gives the number of the first frame after it."""
        begin, following = max(0, start - self.warm_up), start
        num_tried = num_accepted = 0
        writers = {one.name: self._opened(one, number) for one in self.outlets}
        with closing(self.deblur(tape.from_(begin))) as results:
            for position, made in enumerate(results, begin):
                if position < start:
                    continue
                following = position + 1
                for outlet in self.outlets:
                    picture = outlet.picture(made)
                    if picture is not None:
                        self.hand_over(partial(self._write, writers[outlet.name], picture, outlet))
                num_tried, num_accepted = num_tried + made.windows_tried, num_accepted + made.windows_accepted
                self.on_made(made)
                tape.forget_before(max(0, first_needed(following, start, self.warm_up)))
                if is_cut(tape, following, start):
                    break
        tape.check()
        row = partial(
            DoneSegment, start=start, num_frames=following - start, windows_tried=num_tried,
            windows_accepted=num_accepted,
        )  # fmt: skip
        self.hand_over(partial(self._complete, number, writers, row))
        return following

    def _opened(self, outlet: Outlet, number: int) -> SegmentWriter:
        with self._writing(outlet):
            writer = SegmentWriter(self.work.file(number, outlet.name), outlet.info, outlet.encoding)
        self._open.append(writer)
        return writer

    def _write(self, writer: SegmentWriter, frame: Frame, outlet: Outlet) -> None:
        with self._writing(outlet):
            writer.write(frame)

    def _complete(
        self, number: int, writers: dict[str, SegmentWriter], row: Callable[..., DoneSegment]
    ) -> None:
        """Put a segment on the disk, then into the manifest."""
        digests = {}
        for outlet in self.outlets:
            with self._writing(outlet):
                digests[outlet.name] = writers[outlet.name].finish()
            self._open.remove(writers[outlet.name])
        self.work.add(number, row(files=digests))
        self._check_room()

    def _check_room(self) -> None:
        """Once the size of a segment is known: whether all of them fit, and the outputs beside them."""
        if self._is_room_known or self.total_frames is None:
            return
        self._is_room_known = True
        frame_bytes = self.work.num_bytes / self.work.num_frames
        self.work.check_room(frame_bytes * (2 * self.total_frames - self.work.num_frames))

    @contextlib.contextmanager
    def _writing(self, outlet: Outlet) -> Iterator[None]:
        try:
            yield
        except (OSError, *MUX_ERRORS) as error:
            if is_disk_full(error):
                raise self.work.full_disk() from error
            if isinstance(error, ConcertDeblurError):
                raise
            raise target_error(outlet.part, error) from error
