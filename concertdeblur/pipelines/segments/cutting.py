"""Where a clip is cut into segments, and its frames around each cut.

The rule looks at nothing but the clip: every run cuts it alike, so a run that goes on gives the same bytes as one that
was never stopped.
"""

from collections import deque
from collections.abc import Iterator

from concertdeblur.frame import Frame

# A segment begins with the first key frame of the source that is at least as many frames away from the last cut; with
# none near, at the most. Twelve seconds of a phone's clip: with fewer, warming up would cost more than 3 % of the work;
# with more, a stop would lose more.
LEAST_FRAMES = 360
MOST_FRAMES = 420


class FrameTape:
    """The frames of a clip by their number, each read once; those that nobody needs any more are forgotten.

    An error of the source stays: it is raised again whenever a frame behind it is asked for.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._kept: deque[Frame] = deque()
        self._first = 0  # number of the first that is kept
        self._is_ended = False
        self._error: BaseException | None = None

    def at(self, number: int) -> Frame | None:
        """A frame that is not forgotten yet; None behind the last one."""
        assert number >= self._first
        while number >= self._first + len(self._kept):
            frame = None if self._is_ended else self._read()
            if frame is None:
                self._is_ended = True
                return None
            self._kept.append(frame)
        return self._kept[number - self._first]

    def check(self) -> None:
        """Raise the source's error, if there was one: what was made since may lack the frames behind it."""
        if self._error is not None:
            raise self._error

    def from_(self, number: int) -> Iterator[Frame]:
        """That frame and all after it."""
        while (frame := self.at(number)) is not None:
            yield frame
            number += 1

    def forget_before(self, number: int) -> None:
        """Let go of the frames before one; those that are not read yet are read first."""
        while self._first < number and self.at(self._first) is not None:
            self._kept.popleft()
            self._first += 1

    def _read(self) -> Frame | None:
        self.check()
        try:
            return next(self._frames, None)
        except BaseException as error:
            self._error = error
            raise


def is_long(num_frames: int | None) -> bool:
    """Whether a clip is worth cutting: one of more frames than a segment, or of an unknown number."""
    return num_frames is None or num_frames > MOST_FRAMES


def is_cut(tape: FrameTape, number: int, start: int) -> bool:
    """Whether a frame of the clip begins a segment, or lies behind the end, for one that began at `start`."""
    frame = tape.at(number)
    if frame is None or number - start >= MOST_FRAMES:
        return True
    is_key = frame.native is not None and bool(frame.native.key_frame)
    return number - start >= LEAST_FRAMES and is_key


def first_needed(number: int, start: int, warm_up: int) -> int:
    """The first frame that some later segment may begin to warm up with.

    Args:
        number: Of the next frame to come out.
        start: Of the segment in work.
        warm_up: Frames of warming up.

    """
    return min(number, max(number, start + LEAST_FRAMES) - warm_up)
