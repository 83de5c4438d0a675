"""What a long command of several stages shows: training, evaluating, building a data set.

As for the clips of `console`: a live line on a terminal, a line now and then elsewhere, or events for programs.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from concertdeblur.cli.console import LiveLine, Summary, live_line, say, write_event
from concertdeblur.progress import StageProgress, duration_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_EVENT_INTERVAL_S = 0.3  # between two progress events of --json
_LINE_INTERVAL_S = 30.0  # between two progress lines where there is no terminal
_PACE_WINDOW_S = 15.0  # speed is that of the last seconds


class StageDisplay(Protocol):
    """What a run of several stages tells of itself; warnings may come from any thread."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """The run begins, with these choices."""

    def progress(self, progress: StageProgress) -> None:
        """One more piece of a stage is done."""

    def warning(self, message: str) -> None:
        """Something is left out, or not as asked for."""

    def done(self, summary: Summary) -> None:
        """The run is complete."""


class StagePace:
    """Speed of the stage in hand over the last seconds; a new stage, or one that is counted anew, starts afresh."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._stage = ""

    def add(self, progress: StageProgress) -> None:
        """Take one more sample."""
        samples = self._samples
        is_new = progress.stage != self._stage
        if is_new or (samples and (progress.done < samples[-1][1] or progress.elapsed_s < samples[-1][0])):
            samples.clear()
            self._stage = progress.stage
            samples.append((0.0, progress.begun_at))
        samples.append((progress.elapsed_s, progress.done))
        while len(samples) > 2 and progress.elapsed_s - samples[1][0] > _PACE_WINDOW_S:
            samples.popleft()

    @property
    def rate(self) -> float | None:
        """Pieces a second; None while unknown."""
        if len(self._samples) < 2:
            return None
        (start_s, first), (end_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end_s - start_s) if end_s > start_s else None

    def left_s(self, progress: StageProgress) -> float | None:
        """Seconds until the stage ends, if speed and total are known."""
        rate = self.rate
        if not rate or progress.total is None or progress.done > progress.total:
            return None
        return (progress.total - progress.done) / rate


def stage_text(progress: StageProgress, pace: StagePace) -> str:
    """Progress of a stage in words."""
    is_known = progress.total is not None and progress.done <= progress.total
    counted = f"{progress.done} of {progress.total}" if is_known else str(progress.done)
    parts = [f"{progress.stage}: {counted} {progress.unit}"]
    rate, left_s = pace.rate, pace.left_s(progress)
    if rate:
        one = progress.unit.removesuffix("s")
        parts.append(f"{rate:.1f} {progress.unit}/s" if rate >= 1 else f"{1 / rate:.1f} s a {one}")
    if left_s:
        parts.append(f"{duration_text(left_s)} left")
    parts += [f"{name} {_figure(value)}" for name, value in progress.facts.items()]
    return ", ".join(parts)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


class QuietStages:
    """Nothing but errors, which the command line writes."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing."""

    def progress(self, progress: StageProgress) -> None:
        """Say nothing."""

    def warning(self, message: str) -> None:
        """Say nothing."""

    def done(self, summary: Summary) -> None:
        """Say nothing."""


class JsonStages:
    """One event a line on standard output."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = -float("inf")
        self._stage = ""
        self._pace = StagePace()

    def start(self, facts: Mapping[str, Any]) -> None:
        """Write the `start` event."""
        write_event("start", facts)

    def progress(self, progress: StageProgress) -> None:
        """Write a `progress` event, at most a few a second beside the first and the last of a stage."""
        self._pace.add(progress)
        now_s = self._clock()
        if now_s >= self._next_s or progress.stage != self._stage or progress.done == progress.total:
            self._next_s, self._stage = now_s + _EVENT_INTERVAL_S, progress.stage
            rate, left_s = self._pace.rate, self._pace.left_s(progress)
            facts = dict(progress.facts)
            write_event("progress", {**asdict(progress), "facts": facts, "rate": rate, "left_s": left_s})

    def warning(self, message: str) -> None:
        """Write a `warning` event."""
        write_event("warning", {"message": message})

    def done(self, summary: Summary) -> None:
        """Write the `done` event with every field of the summary."""
        write_event("done", asdict(summary))


class TextStages:
    """Words on standard error: live on a terminal, else a line now and then and one at the end of each stage."""

    def __init__(self, live: "RichProgress | None", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = None if live is None else LiveLine(live)
        self._clock = clock
        self._next_s = clock() + _LINE_INTERVAL_S
        self._pace = StagePace()
        self._last: StageProgress | None = None

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing: the live line is there already."""

    def progress(self, progress: StageProgress) -> None:
        """Move the live line, or write one now and then; a stage that has ended leaves a line."""
        if self._last is not None and self._last.stage != progress.stage:
            self._say_ended(self._last)
        self._last = progress
        self._pace.add(progress)
        if self._line is not None:
            known = progress.total if progress.total is not None and progress.done <= progress.total else None
            self._line.move(stage_text(progress, self._pace), done=progress.done, total=known)
        elif self._clock() >= self._next_s:
            self._next_s = self._clock() + _LINE_INTERVAL_S
            say(stage_text(progress, self._pace))

    def warning(self, message: str) -> None:
        """Write the warning, above the live line."""
        self._say(f"Warning: {message}")

    def done(self, summary: Summary) -> None:
        """Write the summary."""
        if self._last is not None:
            self._say_ended(self._last)
        if self._line is not None:
            self._line.stop()
        for line in summary.text().splitlines():
            say(line)

    def _say_ended(self, last: StageProgress) -> None:
        self._say(f"{last.stage}: {last.done} {last.unit} in {duration_text(last.elapsed_s)}")
        self._last = None

    def _say(self, message: str) -> None:
        if self._line is None:
            say(message)
        else:
            self._line.print_above(message)


@contextmanager
def stage_display(*, as_json: bool, quiet: bool) -> Iterator[StageDisplay]:
    """The display that the user asked for, closed at the end."""
    if as_json:
        yield JsonStages()
    elif quiet:
        yield QuietStages()
    elif not sys.stderr.isatty():
        yield TextStages(None)
    else:
        with live_line() as live:
            yield TextStages(live)
