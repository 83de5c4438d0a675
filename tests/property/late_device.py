"""A simulated GPU that does its work late and out of turn, wherever streams and events allow it.

An adversary picks which stream goes on next. Memory is real: tensors are numpy arrays out of a
caching allocator that works like torch's, so that a missing wait or an early release corrupts data, as
it would on a GPU. Memory that is let go of while another stream has yet to use it is noted as well.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


class Event:
    """Has happened or not."""

    def __init__(self) -> None:
        self.has_happened = False


@dataclass(eq=False, slots=True)
class Work:
    """One thing to do on a stream."""

    do: Callable[[], None]
    after: Event | None = None
    blocks: frozenset[int] = frozenset()  # ids of the memory that it touches


@dataclass(eq=False)
class Stream:
    """Work in order; `number` counts streams in the order they were made, the caller's is -1."""

    number: int
    work: deque[Work] = field(default_factory=deque)
    free: defaultdict[tuple[int, ...], list[Array]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_ready(self) -> bool:
        return bool(self.work) and (self.work[0].after is None or self.work[0].after.has_happened)


class Tensor:
    """Device memory; when the last reference goes, its stream may give it away at once, as torch does."""

    def __init__(self, device: "LateDevice", shape: tuple[int, ...]) -> None:
        self._device = device
        self._stream = device.current
        free = self._stream.free[shape]
        self.block = free.pop() if free else np.full(shape, -1)

    def __del__(self) -> None:
        for stream in self._device.streams:
            if stream is not self._stream and any(id(self.block) in work.blocks for work in stream.work):
                self._device.violations.append(f"memory freed before stream {stream.number} has used it")
        self._stream.free[self.block.shape].append(self.block)


class LateDevice:
    """A StreamDevice for tests.

    Args:
        seed: Of the adversary.
        defers: A stage is called as a whole when its turn comes (as on threads); otherwise it is called
            at once, and what it gives to `launch` comes late (as on CUDA).
        ignores: A wait that is not kept: (number of the waiting stream, number of the recorded one);
            "synchronize" and "release" are the host's.
        num_streams: Of a run.
    """

    def __init__(self, seed: int, *, defers: bool = False, ignores: object = None, num_streams: int = 4) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._eagerness = self._random.choice([0.0, 0.1, 0.5, 0.9])
        self._favourites = self._random.sample(range(-1, 7), 8) if self._random.random() < 0.5 else None
        self._num_streams = num_streams
        self.defers = defers
        self.ignores = ignores
        self.caller = self.current = Stream(-1)
        self.streams = [self.caller]
        self.recorded: dict[Event, int] = {}
        self.violations: list[str] = []

    def make_stream(self) -> Stream:
        """A new stream; those of an earlier run keep their numbers."""
        self.streams.append(Stream((len(self.streams) - 1) % self._num_streams))
        return self.streams[-1]

    def release(self, stream: Stream) -> None:
        """Wait for it."""
        if self.ignores != "release":
            self._go_on_until(lambda: not stream.work)

    def run(self, stream: Stream, work: Callable[[], None]) -> None:
        """At once, or in its turn."""
        if self.defers:
            self._give(stream, Work(lambda: self._call(stream, work)))
        else:
            self._call(stream, work)

    def record(self, stream: Stream) -> Event:
        """An event behind the stream's work."""
        event = Event()
        self.recorded[event] = stream.number
        self._give(stream, Work(lambda: setattr(event, "has_happened", True)))
        return event

    def record_caller(self) -> Event:
        """An event behind the caller's work."""
        return self.record(self.caller)

    def wait(self, stream: Stream, event: Event) -> None:
        """Kept, unless this is the wait to ignore."""
        if self.ignores != (stream.number, self.recorded[event]):
            self._give(stream, Work(lambda: None, after=event))

    def synchronize(self, event: Event) -> None:
        """Go on until it has happened."""
        if self.ignores != "synchronize":
            self._go_on_until(lambda: event.has_happened)

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Real memory."""
        return np.full(shape, -1, dtype)

    def launch(self, kernel: Callable[..., None], *arguments: "Tensor | Array") -> None:
        """A kernel on the current stream, called with the arrays behind its arguments when its turn comes."""
        arrays = [argument.block if isinstance(argument, Tensor) else argument for argument in arguments]
        if self.defers and self.current is not self.caller:
            kernel(*arrays)
            return
        self._give(self.current, Work(lambda: kernel(*arrays), blocks=frozenset(map(id, arrays))))

    def block_on_current(self) -> None:
        """What reading a number back does: the host waits for the current stream."""
        stream = self.current
        if not self.defers:
            self._go_on_until(lambda: not stream.work)

    def _call(self, stream: Stream, work: Callable[[], None]) -> None:
        before, self.current = self.current, stream
        try:
            work()
        finally:
            self.current = before

    def _give(self, stream: Stream, work: Work) -> None:
        stream.work.append(work)
        while self._random.random() < self._eagerness and self._go_on():
            pass

    def _go_on_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            assert self._go_on(), "deadlock: no stream can go on"

    def _go_on(self) -> bool:
        ready = [stream for stream in self.streams if stream.is_ready]
        if not ready:
            return False
        if self._favourites is not None:  # one stream runs far ahead, another far behind
            ready.sort(key=lambda stream: self._favourites.index(stream.number))  # type: ignore[union-attr]
            ready = ready[:1]
        self._random.choice(ready).work.popleft().do()
        return True
