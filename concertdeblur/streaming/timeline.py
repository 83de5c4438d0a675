"""Records when each stage of the work ran. If nobody records, a span costs nothing.

On a GPU a span is the time in which work is given to the device, not the time in which the device does it.
"""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One piece of work; times in seconds of `time.perf_counter`."""

    name: str
    thread: str
    start_s: float
    end_s: float
    own_s: float  # the time without the spans inside it


@dataclass(slots=True)
class Timeline:
    """All spans that ended while it recorded; any thread may add to it."""

    spans: list[Span] = field(default_factory=list)

    def own_seconds(self) -> dict[str, float]:
        """Seconds of each stage; no time is counted twice."""
        return own_seconds(self.spans)


def own_seconds(spans: Iterable[Span]) -> dict[str, float]:
    """Seconds by name; the time of inner spans is left out of the outer ones."""
    total: dict[str, float] = {}
    for one in spans:
        total[one.name] = total.get(one.name, 0.0) + one.own_s
    return total


@dataclass(slots=True)
class _Recorder:
    """The timeline that records, if there is one, and the open spans of each thread."""

    timeline: Timeline | None = None
    open: threading.local = field(default_factory=threading.local)


_recorder = _Recorder()


@contextmanager
def recording() -> Generator[Timeline, None, None]:
    """Record every span of this process until the block ends; one recording at a time."""
    before, _recorder.timeline = _recorder.timeline, Timeline()
    try:
        yield _recorder.timeline
    finally:
        _recorder.timeline = before


@contextmanager
def span(name: str) -> Generator[None, None, None]:
    """Record the block as a span of this name."""
    timeline = _recorder.timeline
    if timeline is None:
        yield
        return
    inner: list[float] = getattr(_recorder.open, "inner", [])
    _recorder.open.inner = inner
    inner.append(0.0)
    start_s = time.perf_counter()
    try:
        yield
    finally:
        end_s = time.perf_counter()
        own_s = end_s - start_s - inner.pop()
        if inner:
            inner[-1] += end_s - start_s
        thread = threading.current_thread().name
        timeline.spans.append(Span(name=name, thread=thread, start_s=start_s, end_s=end_s, own_s=own_s))
