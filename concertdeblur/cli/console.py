"""What a run shows: a live line on a terminal, a line now and then elsewhere, or events for programs.

Words go to standard error; standard output carries nothing but JSON lines.
"""

import errno
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

from concertdeblur import __version__
from concertdeblur.progress import duration_text, speed_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from concertdeblur.pipelines.doctor import DoctorReport
    from concertdeblur.pipelines.video_job import Progress

_EVENT_INTERVAL_S = 0.3  # between two progress events of --json
_LINE_INTERVAL_S = 30.0  # between two progress lines where there is no terminal
_PACE_WINDOW_S = 15.0  # speed is that of the last seconds: BRMR's share changes with the scene


class Summary(Protocol):
    """What a run did: a dataclass that can say it in words."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def text(self) -> str:
        """One line or several."""


class Display(Protocol):
    """What a run tells of itself; warnings may come from any thread."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """The run begins, with these choices."""

    def progress(self, progress: "Progress") -> None:
        """One more frame is done."""

    def warning(self, message: str) -> None:
        """Something is not kept as it was."""

    def note(self, message: str) -> None:
        """Something that is good to know."""

    def done(self, summary: Summary) -> None:
        """One output is complete."""

    def batch(self, summary: Summary) -> None:
        """All outputs of several are complete."""


class Pace:
    """Frames a second over the last seconds, from samples of (elapsed seconds, frames done)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self.clip = 1  # counts up where the number of frames falls back: a folder's next clip

    def add(self, progress: "Progress") -> None:
        """Take one more sample."""
        if self._samples and progress.num_frames <= self._samples[-1][1]:
            self._samples.clear()
            self.clip += 1
        self._samples.append((progress.elapsed_s, progress.num_frames))
        while len(self._samples) > 2 and progress.elapsed_s - self._samples[1][0] > _PACE_WINDOW_S:
            self._samples.popleft()

    @property
    def rate_fps(self) -> float | None:
        """Frames a second; None before the second sample."""
        if len(self._samples) < 2:
            return None
        (start_s, first), (end_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end_s - start_s) if end_s > start_s else None

    def left_s(self, progress: "Progress") -> float | None:
        """Seconds until the end, if speed and length are known; a header's length may be wrong."""
        rate = self.rate_fps
        if not rate or not progress.total_frames or progress.num_frames > progress.total_frames:
            return None
        return (progress.total_frames - progress.num_frames) / rate


def progress_text(progress: "Progress", pace: Pace) -> str:
    """Progress in words."""
    total = progress.total_frames
    is_known = total is not None and progress.num_frames <= total
    parts = [f"{progress.num_frames} of {total} frames" if is_known else f"{progress.num_frames} frames"]
    rate, left_s = pace.rate_fps, pace.left_s(progress)
    if rate is not None:
        parts.append(speed_text(rate))
    if left_s is not None:
        parts.append(f"{duration_text(left_s)} left" if left_s else "finishing")
    if progress.windows_tried:
        parts.append(f"{progress.windows_accepted} of {progress.windows_tried} windows refined")
    return ", ".join(parts)


def printable(text: str) -> str:
    """One line without control characters: a file name cannot move the cursor or fake a message."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def say(message: str) -> None:
    """One line on standard error, as long as there is one: the terminal may be closed, and the run be ending for it."""
    try:
        click.echo(printable(message), err=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def run_facts(command: str, source: object, target: object, job: Any) -> dict[str, Any]:
    """What a `start` event says; `job` is a dataclass."""
    return {"command": command, "version": __version__, "source": source, "target": target, "options": asdict(job)}


class QuietDisplay:
    """Nothing but errors, which the command line writes."""

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing."""

    def progress(self, progress: "Progress") -> None:
        """Say nothing."""

    def warning(self, message: str) -> None:
        """Say nothing."""

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
        self._pace = Pace()

    def start(self, facts: Mapping[str, Any]) -> None:
        """Write the `start` event."""
        write_event("start", facts)

    def progress(self, progress: "Progress") -> None:
        """Write a `progress` event, at most a few a second."""
        self._pace.add(progress)
        now_s = self._clock()
        if now_s >= self._next_s:
            self._next_s = now_s + _EVENT_INTERVAL_S
            rate, left = self._pace.rate_fps, self._pace.left_s(progress)
            write_event("progress", {"clip": self._pace.clip, **asdict(progress), "rate_fps": rate, "left_s": left})

    def warning(self, message: str) -> None:
        """Write a `warning` event."""
        write_event("warning", {"message": message})

    def note(self, message: str) -> None:
        """Write a `note` event."""
        write_event("note", {"message": message})

    def done(self, summary: Summary) -> None:
        """Write the `done` event with every field of the summary."""
        write_event("done", asdict(summary))

    def batch(self, summary: Summary) -> None:
        """Write the `batch` event with every field of the summary."""
        write_event("batch", asdict(summary))


class LiveLine:
    """A bar with words beside it, at the bottom of a terminal."""

    def __init__(self, live: "RichProgress") -> None:
        self._live = live
        self._task = live.add_task("", total=None, facts="getting ready")

    def move(self, text: str, *, done: int, total: int | None) -> None:
        """Show how far it is; a bar without a known total swings."""
        self._live.update(self._task, completed=done, total=total, facts=printable(text))

    def print_above(self, message: str) -> None:
        """One line that stays."""
        from rich.text import Text

        self._live.console.print(Text(printable(message)), soft_wrap=True)

    def stop(self) -> None:
        """Remove the line."""
        self._live.stop()


class TextDisplay:
    """Words on standard error: live on a terminal, else a line now and then."""

    def __init__(self, live: "RichProgress | None", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = None if live is None else LiveLine(live)
        self._clock = clock
        self._next_s = clock() + _LINE_INTERVAL_S
        self._pace = Pace()

    def start(self, facts: Mapping[str, Any]) -> None:
        """Say nothing: the live line is there already."""

    def progress(self, progress: "Progress") -> None:
        """Move the live line, or write one now and then."""
        self._pace.add(progress)
        if self._line is not None:
            total = progress.total_frames
            known = total if total is not None and progress.num_frames <= total else None
            self._line.move(progress_text(progress, self._pace), done=progress.num_frames, total=known)
        elif self._clock() >= self._next_s:
            self._next_s = self._clock() + _LINE_INTERVAL_S
            say(progress_text(progress, self._pace))

    def warning(self, message: str) -> None:
        """Write the warning, above the live line."""
        self.note(f"Warning: {message}")

    def note(self, message: str) -> None:
        """Write the note, above the live line."""
        if self._line is None:
            say(message)
        else:
            self._line.print_above(message)

    def done(self, summary: Summary) -> None:
        """Write the summary."""
        if self._line is not None:
            self._line.stop()
        for line in summary.text().splitlines():
            say(line)

    def batch(self, summary: Summary) -> None:
        """Write the summary."""
        self.done(summary)


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
        with live_line() as live:
            yield TextDisplay(live)


@contextmanager
def live_line() -> "Iterator[RichProgress | None]":
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


_EVENTS = threading.Lock()  # warnings come from other threads than progress


def write_event(event: str, facts: Mapping[str, Any]) -> None:
    """Write one JSON object as one line on standard output, at once."""
    line = json.dumps({"event": event, **facts}, default=_plain)
    with _EVENTS:
        click.echo(line)


def _plain(value: object) -> str | float:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {value!r}")


def show_report(report: "DoctorReport") -> None:
    """Draw what `doctor` found, on standard output."""
    verdicts = [f"Broken: {problem}" for problem in report.problems]
    verdicts += [f"Missing: {advice}" for advice in report.advice]
    verdicts.append(report.fitness)
    if not sys.stdout.isatty():
        rows = [f"{name:<18} {text}" for name, text in report_rows(report)]
        click.echo("\n".join(printable(line) for line in (*rows, "", *verdicts)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in report_rows(report):
        table.add_row(Text(printable(name)), Text(printable(text)))
    console = Console()
    console.print(table, "", *(Text(printable(verdict)) for verdict in verdicts), sep="\n")


def report_rows(report: "DoctorReport") -> list[tuple[str, str]]:
    """The rows of `doctor`'s table."""
    rows = [(part.name, part.version or "not installed") for part in report.parts]
    usable = [codec.name for codec in report.codecs if codec.is_usable]
    idle = [codec.name for codec in report.codecs if not codec.is_usable]
    rows.append(("encoders", ", ".join(usable) or "none"))
    if idle:
        rows.append(("", f"built in, but their device is not here: {', '.join(idle)}"))
    rows.append(("devices", ", ".join(report.devices)))
    rows.append(("would run on", report.runtime or "nothing"))
    busy = "" if report.busy_cores is None else f", {report.busy_cores:.1f} of them busy with other programs"
    rows.append(("cores", f"{report.num_cores}{busy}"))
    if report.memory_bytes is not None and report.free_memory_bytes is not None:
        rows.append(("memory", f"{report.memory_bytes / 2**30:.1f} GiB, {report.free_memory_bytes / 2**30:.1f} free"))
    for weights in report.weight_sets:
        state = f"checked, {weights.size_bytes / 1e6:.1f} MB" if weights.is_intact else weights.problem
        rows.append((f"weights '{weights.name}'", state))
    speed = report.frame_720p_s
    trust = "not reliable: the machine is busy" if report.is_busy else "estimate"
    rows.append(("at 1280x720", f"{speed:.2f} s a frame ({trust})" if speed is not None else report.no_speed_reason))
    return rows
