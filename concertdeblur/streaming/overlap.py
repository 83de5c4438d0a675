"""Bounded stages that overlap: threads around the networks, streams and events on a GPU.

Memory does not grow with the clip, because every queue is bounded; order is kept, because every stage
is one thread or one stream. This module does not import torch.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
U = TypeVar("U")
_POLL_S = 0.1  # how often a blocked thread looks whether the other side has gone


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


@dataclass(frozen=True, slots=True)
class _End:
    pass


class Prefetch(Generic[T]):
    """Runs an iterable in a thread of its own, at most `depth` items ahead of the consumer.

    An error in the iterable is raised in the consumer, with its traceback. Closing (or leaving the
    `with` block, or dropping out of the loop with an error) stops the thread after the item it is at,
    closes the iterable and joins the thread.
    """

    def __init__(self, source: Iterable[T], *, depth: int, name: str = "prefetch") -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, but {depth = }")
        self._queue: queue.Queue[T | _Raised | _End] = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._produce, args=(source,), name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, _End):
            self.close()
            raise StopIteration
        if isinstance(item, _Raised):
            self.close()
            raise item.error
        return item

    def close(self) -> None:
        """Stop and join the thread; safe to call again."""
        self._ended = True
        self._closed.set()
        self._thread.join()

    def _produce(self, source: Iterable[T]) -> None:
        iterator = iter(source)
        try:
            for item in iterator:
                if not self._offer(item):
                    return
            self._offer(_End())
        except BaseException as error:
            self._offer(_Raised(error))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _offer(self, item: T | _Raised | _End) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


class Sink(Generic[T]):
    """Runs a consumer function in a thread of its own; `push` blocks while `depth` items wait.

    An error in the consumer is raised by the next `push` or by `close`; items after it are dropped.
    """

    def __init__(self, consume: Callable[[T], None], *, depth: int, name: str = "sink") -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, but {depth = }")
        self._consume = consume
        self._queue: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def push(self, item: T) -> None:
        """Hand over one item."""
        while True:
            self._raise_error()
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def close(self) -> None:
        """Wait until every item is consumed, join the thread, raise its error if there was one."""
        while self._thread.is_alive():
            try:
                self._queue.put(_End(), timeout=_POLL_S)
                break
            except queue.Full:
                continue
        self._thread.join()
        self._raise_error()

    def abandon(self) -> None:
        """Drop what still waits and join the thread; its error is not raised."""
        self._abandoned.set()
        while self._thread.is_alive():
            try:
                self._queue.put(_End(), timeout=_POLL_S)
            except queue.Full:
                continue
            self._thread.join(_POLL_S)
        self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        failed = False
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                return
            if failed or self._abandoned.is_set():
                continue  # keep draining, so that push never blocks for ever
            try:
                self._consume(item)
            except BaseException as error:
                self._error = error
                failed = True


class StreamDevice(Protocol):
    """The little of a device that ordering needs; CUDA's meaning of streams and events.

    Work put on one stream runs in order; different streams run in any order unless a `wait` stands
    between them. All calls return at once; only `synchronize` blocks the host.
    """

    def stream(self) -> Any:
        """A new stream."""

    def on(self, stream: Any) -> Any:
        """A context in which work goes to this stream."""

    def record(self, stream: Any) -> Any:
        """An event that happens when everything put on the stream so far is done."""

    def wait(self, stream: Any, event: Any) -> None:
        """Later work of the stream starts only after the event."""

    def synchronize(self, event: Any) -> None:
        """Block the host until the event has happened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """What is done to a batch. Each runs on its stream; `slot` numbers the buffers it may use.

    copy_in(batch, slot) fills slot's staging buffer and starts its copy to the device; generate(x, slot)
    and refine(x, slot) return device results; copy_out(x, slot) starts the copy into slot's host
    buffer; finish(x, slot) runs on the host when that copy is done, and must take what it needs out of
    the host buffer.
    """

    copy_in: Callable[[Any, int], Any]
    generate: Callable[[Any, int], Any]
    refine: Callable[[Any, int], Any]
    copy_out: Callable[[Any, int], Any]
    finish: Callable[[Any, int], Any]


@dataclass(slots=True)
class _InFlight:
    slot: int
    result: Any
    done: Any


class OverlappedPipeline:
    """Keeps up to `num_slots` batches in flight over four streams; results come in order.

    The rules, for batch k in slot s = k mod num_slots:

    1. copy_in(k) may touch slot s only when batch k - num_slots has left it altogether: its copy_out has
       happened and the host has finished with it. The host waits for that event before it issues copy_in(k),
       since it also writes the pinned staging buffer itself.
    2. generate(k) waits for copy_in(k).
    3. refine(k) waits for generate(k). It needs no wait for refine(k - 1): they share a stream, so what
       refining carries from batch to batch (decisions) is in order.
    4. copy_out(k) waits for refine(k).
    5. The host reads slot s's output only after synchronising with copy_out(k).
    6. Device memory is owned by its slot from copy_in(k) until rule 1 lets batch k + num_slots in, so a caching
       allocator cannot hand it to another stream in between: results are kept alive in `_InFlight`.

    Nothing orders generate(k + 1) after refine(k): that is the overlap.
    """

    def __init__(self, device: StreamDevice, stages: Stages, *, num_slots: int = 2) -> None:
        if num_slots < 1:
            raise ValueError(f"num_slots must be at least 1, but {num_slots = }")
        self._device = device
        self._stages = stages
        self._num_slots = num_slots
        self._in, self._generate, self._refine, self._out = (device.stream() for _ in range(4))

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """One result for each batch, in order; looks at most `num_slots` batches ahead."""
        in_flight: deque[_InFlight] = deque()
        try:
            for number, batch in enumerate(batches):
                if len(in_flight) == self._num_slots:
                    yield self._finished(in_flight.popleft())  # rules 1 and 5
                in_flight.append(self._issued(batch, number % self._num_slots))
            while in_flight:
                yield self._finished(in_flight.popleft())
        finally:
            for left in in_flight:  # nothing may run on after an error: its buffers are about to go
                self._device.synchronize(left.done)

    def _issued(self, batch: Any, slot: int) -> _InFlight:
        device, stages = self._device, self._stages
        with device.on(self._in):
            value = stages.copy_in(batch, slot)
        kept = [value]
        steps = ((self._in, self._generate, stages.generate), (self._generate, self._refine, stages.refine))
        for before, stream, stage in (*steps, (self._refine, self._out, stages.copy_out)):
            device.wait(stream, device.record(before))  # rules 2, 3, 4
            with device.on(stream):
                value = stage(value, slot)
            kept.append(value)
        return _InFlight(slot=slot, result=(value, kept), done=device.record(self._out))

    def _finished(self, batch: _InFlight) -> Any:
        self._device.synchronize(batch.done)
        value, _ = batch.result
        return self._stages.finish(value, batch.slot)


class HostDevice:
    """The same interface on a CPU: everything runs at once, in the order it is issued."""

    def stream(self) -> None:
        """There is only the host."""

    @contextmanager
    def on(self, stream: None) -> Iterator[None]:  # noqa: ARG002
        """Run here."""
        yield

    def record(self, stream: None) -> None:
        """Already happened."""

    def wait(self, stream: None, event: None) -> None:
        """Nothing to wait for."""

    def synchronize(self, event: None) -> None:
        """Nothing to wait for."""


class CudaDevice:
    """CUDA streams and events through torch."""

    def __init__(self, device: Any) -> None:
        import torch

        self._cuda = torch.cuda
        self._device = device

    def stream(self) -> Any:
        """A new CUDA stream."""
        return self._cuda.Stream(self._device)

    def on(self, stream: Any) -> Any:
        """A context in which kernels and copies go to the stream."""
        return self._cuda.stream(stream)

    def record(self, stream: Any) -> Any:
        """A CUDA event behind the stream's work so far."""
        event = self._cuda.Event()
        event.record(stream)
        return event

    def wait(self, stream: Any, event: Any) -> None:
        """Make the stream wait on the device, not the host."""
        stream.wait_event(event)

    def synchronize(self, event: Any) -> None:
        """Block the host until the event has happened."""
        event.synchronize()
