"""What a run shows: a live line on a terminal, a line now and then elsewhere, or events for programs."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from concertdeblur import __version__
from concertdeblur.cli.console import printable, say, write_event
from concertdeblur.progress import Progress, StageProgress, duration_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_EVENT_INTERVAL_S = 0.3  # between two progress events of --json
_MOST_SAMPLES = 150  # of a pace; a clip without networks tells of 3,000 frames a second
_LINE_INTERVAL_S = 30.0  # between two progress lines where there is no terminal


class Summary(Protocol):
    """What a run did: a dataclass that can say it in words."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def text(self) -> str:
        """One line or several."""


class Display(Protocol):
    """What a run tells of itself; warnings may come from any thread."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """The run begins, with these choices."""

    def progress(self, progress: Progress) -> None:
        """One more piece is done: a frame, a step, a picture."""

    def warning(self, message: str) -> None:
        """Something is left out, or not kept as it was."""

    def failure(self, message: str) -> None:
        """One item of several failed; the others go on."""

    def note(self, message: str) -> None:
        """Something that is good to know."""

    def done(self, summary: Summary) -> None:
        """One output is complete."""

    def batch(self, summary: Summary) -> None:
        """All outputs of several are complete."""


def run_facts(command: str, job: Any, **files: object) -> dict[str, Any]:
    """What a `start` event says.

    Args:
        command: As the user writes it.
        job: A dataclass: the user's choices.
        **files: What is read and written, as `source` and `target`.

    """
    return {"command": command, "version": __version__, **files, "options": asdict(job)}


class Pace:
    """Speed over the last seconds; a new stage, or one whose count falls back, starts afresh."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._stage: str | None = None
        self.num_counts = 0  # how many times counting has begun: clips of a folder, or stages

    def add(self, progress: StageProgress) -> None:
        """Take one more sample."""
        samples = self._samples
        if progress.stage != self._stage or self._falls_back(progress):
            samples.clear()
            self._stage = progress.stage
            self.num_counts += 1
            if progress.begun_at is not None:
                samples.append((0.0, progress.begun_at))
        newest = progress.elapsed_s, progress.done
        if len(samples) > 1 and progress.elapsed_s - samples[-2][0] < progress.pace_s / _MOST_SAMPLES:
            samples[-1] = newest
        else:
            samples.append(newest)
        while len(samples) > 2 and progress.elapsed_s - samples[1][0] > progress.pace_s:
            samples.popleft()

    def _falls_back(self, progress: StageProgress) -> bool:
        """Whether a count begins anew under the same name, as with the next clip of a folder."""
        last_s, last = self._samples[-1]
        is_clip = progress.begun_at is None  # a clip tells each frame once
        return progress.elapsed_s < last_s or progress.done < last or (is_clip and progress.done == last)

    @property
    def rate(self) -> float | None:
        """Pieces a second; None while unknown."""
        if len(self._samples) < 2:
            return None
        (start_s, first), (end_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end_s - start_s) if end_s > start_s else None

    def left_s(self, progress: StageProgress) -> float | None:
        """Seconds until the end, if speed and total are known; a clip's header may give a wrong total."""
        rate = self.rate
        if not rate or not progress.total or progress.done > progress.total:
            return None
        return (progress.total - progress.done) / rate


def progress_text(progress: StageProgress, pace: Pace) -> str:
    """Progress in words."""
    is_known = progress.total is not None and progress.done <= progress.total
    counted = f"{progress.done} of {progress.total}" if is_known else str(progress.done)
    parts = [f"{progress.stage}: " * bool(progress.stage) + f"{counted} {progress.unit}"]
    rate, left_s = pace.rate, pace.left_s(progress)
    if rate:
        one = progress.unit.removesuffix("s")
        parts.append(f"{rate:.1f} {progress.unit}/s" if rate >= 1 else f"{1 / rate:.1f} s a {one}")
    if left_s is not None:
        parts.append(f"{duration_text(left_s)} left" if left_s else "finishing")
    parts += [f"{name} {_figure(value)}" for name, value in progress.facts.items()]
    if progress.remark:
        parts.append(progress.remark)
    return ", ".join(parts)


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


class QuietDisplay:
    """Nothing but errors, which the command line writes."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing."""

    def progress(self, progress: Progress) -> None:
        """Say nothing."""

    def warning(self, message: str) -> None:
        """Say nothing."""

    def failure(self, message: str) -> None:
        """Write it: it is an error."""
        say(f"Error: {message}")

    def note(self, message: str) -> None:
        """Say nothing."""

    def done(self, summary: Summary) -> None:
        """Say nothing."""

    def batch(self, summary: Summary) -> None:
        """Say nothing."""


class JsonDisplay:
    """One event a line on standard output."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = -float("inf")
        self._stage = ""
        self._pace = Pace()

    def start(self, facts: Mapping[str, Any]) -> None:
        """Write the `start` event."""
        write_event("start", facts)

    def progress(self, progress: Progress) -> None:
        """Write a `progress` event: at most a few a second, beside the first and the last of a stage."""
        stage, now_s = progress.as_stage(), self._clock()
        self._pace.add(stage)
        is_last = bool(stage.stage) and stage.done == stage.total  # a clip's end has the event `done`
        if now_s >= self._next_s or stage.stage != self._stage or is_last:
            self._next_s, self._stage = now_s + _EVENT_INTERVAL_S, stage.stage
            pace = self._pace
            fields = progress.event(num_counts=pace.num_counts, rate=pace.rate, left_s=pace.left_s(stage))
            write_event("progress", fields)

    def warning(self, message: str) -> None:
        """Write a `warning` event."""
        write_event("warning", {"message": message})

    def failure(self, message: str) -> None:
        """Write a `warning` event."""
        self.warning(message)

    def note(self, message: str) -> None:
        """Write a `note` event."""
        write_event("note", {"message": message})

    def done(self, summary: Summary) -> None:
        """Write the `done` event with every field of the summary."""
        write_event("done", asdict(summary))

    def batch(self, summary: Summary) -> None:
        """Write the `batch` event with every field of the summary."""
        write_event("batch", asdict(summary))


class TextDisplay:
    """Words on standard error: live on a terminal, else a line now and then; a named stage leaves a line at its end."""

    def __init__(self, live: "RichProgress | None", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = None if live is None else LiveLine(live)
        self._clock = clock
        self._next_s = clock() + _LINE_INTERVAL_S
        self._pace = Pace()
        self._last: StageProgress | None = None

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing: the live line is there already."""

    def progress(self, progress: Progress) -> None:
        """Move the live line, or write one now and then."""
        stage = progress.as_stage()
        if self._last is not None and self._last.stage != stage.stage:
            self._say_ended(self._last)
        self._last = stage
        self._pace.add(stage)
        if self._line is not None:
            known = stage.total if stage.total is not None and stage.done <= stage.total else None
            self._line.move(progress_text(stage, self._pace), done=stage.done, total=known)
        elif self._clock() >= self._next_s:
            self._next_s = self._clock() + _LINE_INTERVAL_S
            say(progress_text(stage, self._pace))

    def warning(self, message: str) -> None:
        """Write the warning, above the live line."""
        self.note(f"Warning: {message}")

    def failure(self, message: str) -> None:
        """Write it as a warning: the last line says what became of all."""
        self.warning(message)

    def note(self, message: str) -> None:
        """Write the note, above the live line."""
        if self._line is None:
            say(message)
        else:
            self._line.print_above(message)

    def done(self, summary: Summary) -> None:
        """Write the summary where the live line was; the next clip's progress draws the line again."""
        if self._last is not None:
            self._say_ended(self._last)
        if self._line is not None:
            self._line.remove()
        for line in summary.text().splitlines():
            self.note(line)

    def batch(self, summary: Summary) -> None:
        """Write the summary."""
        self.done(summary)

    def _say_ended(self, last: StageProgress) -> None:
        if last.stage:
            self.note(f"{last.stage}: {last.done} {last.unit} in {duration_text(last.elapsed_s)}")
        self._last = None


class LiveLine:
    """A bar with words beside it, at the bottom of a terminal."""

    def __init__(self, live: "RichProgress") -> None:
        self._live = live
        self._task = live.add_task("", total=None, facts="getting ready")

    def move(self, text: str, *, done: int, total: int | None) -> None:
        """Show how far it is; a bar without a known total swings."""
        if not self._live.live.is_started:
            self._live.start()
        self._live.update(self._task, completed=done, total=total, facts=printable(text))

    def print_above(self, message: str) -> None:
        """One line that stays."""
        from rich.text import Text

        self._live.console.print(Text(printable(message)), soft_wrap=True)

    def remove(self) -> None:
        """Take the line away, until it moves again."""
        self._live.stop()


@contextmanager
def display(*, as_json: bool, quiet: bool) -> Iterator[Display]:
    """The display that the user asked for, closed at the end."""
    if as_json:
        yield JsonDisplay()
    elif quiet:
        yield QuietDisplay()
    elif not sys.stderr.isatty():
        yield TextDisplay(None)
    else:
        with _live_line() as live:
            yield TextDisplay(live)


@contextmanager
def _live_line() -> "Iterator[RichProgress | None]":
    """A line at the bottom of the terminal; None on one that cannot move its cursor."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_interactive:
        yield None
        return
    columns = (BarColumn(bar_width=24), TextColumn("{task.fields[facts]}", markup=False))
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as live:
        yield live
