"""A clip's frames through the networks, segment by segment, into the work folder; then all joined into the outputs."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from concertdeblur.frame import Frame
from concertdeblur.media.joining import join
from concertdeblur.media.output_file import sync_file
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.pipelines.segments.cutting import FrameTape, first_needed, is_cut
from concertdeblur.pipelines.segments.making import Made, SegmentMaker, View
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder

# Frames that are computed before a segment and thrown away, so that its own do not depend on where it began. What the
# networks carry from frame to frame halves with each (running spectra), or falls to 0.84 (steadying). Lowest PSNR of
# a frame against the run in one piece, over clips of real cameras and heavily blurred pans: 40 dB without warming up,
# 47 dB with 5 frames, 50 dB with 7, 53 dB with 9, 57 dB with 12. With the networks of a video, which look along the
# motion at the frames beside: 37 dB without, 52 dB with 5, 56 dB with 10, 58 dB with 12, over generated clips that pan,
# shake or stand. The evidence for the exposure falls to 0.6 in that time (models/exposure_share.py).
WARM_UP_FRAMES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlet(View):
    """One output of a run."""

    writer: PyavWriter  # which the segments are joined into


@dataclass(kw_only=True, slots=True)
class SegmentedRun:
    """One run over a clip.

    Args:
        outlets: What is written.
        work: Where segments wait.
        deblur: As for `SegmentMaker`.
        warm_up: Frames before a segment that it needs.
        on_made: Called with each new frame.
        on_done_before: Called with each segment that an earlier run has done.
        hand_over: As for `SegmentMaker`.

    """

    outlets: Sequence[Outlet]
    work: WorkFolder
    deblur: Callable[[Iterator[Frame]], Generator[Made]]
    warm_up: int
    on_made: Callable[[Made], None]
    on_done_before: Callable[[DoneSegment], None]
    hand_over: Callable[[Callable[[], None]], None] = field(default=lambda task: task())
    _maker: SegmentMaker = field(init=False)

    def __post_init__(self) -> None:
        self._maker = SegmentMaker(
            views=self.outlets, place=self.work, deblur=self.deblur, on_made=self.on_made, hand_over=self.hand_over
        )

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
            with self._maker.writing(outlet):
                join(outlet.writer, outlet.part, self.work.files(outlet.name), outlet.info.time_base)
                sync_file(outlet.part)
        self.work.joined()

    def close(self) -> None:
        """Release encoders and files, also in the middle; what is handed over must be done or dropped by then."""
        self._maker.close()

    def _make(self, tape: FrameTape, number: int, start: int) -> int:
        """Compute one segment; gives the number of the first frame after it."""
        begin = max(0, start - self.warm_up)

        def is_end(following: int) -> bool:
            tape.forget_before(max(0, first_needed(following, start, self.warm_up)))
            return is_cut(tape, following, start)

        return self._maker.make(
            number, start, tape.from_(begin), begin=begin, is_end=is_end, check=lambda _: tape.check()
        )
