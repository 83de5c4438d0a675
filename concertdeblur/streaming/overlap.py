"""The order of work on streams, so that refining one batch overlaps generating the next.

The order does not depend on what the stages compute, nor on what a stream is. Its rules are in `OverlappedPipeline`,
and the devices are in `devices.py`.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")
E = TypeVar("E")


class StreamDevice(Protocol[S, E]):
    """The parts of a device that ordering needs; streams and events have CUDA's meaning.

    Work given to one stream is done in order. Work on different streams is done in any order, unless a
    `wait` stands between. Only `synchronize` and `release` block the host.
    """

    def make_stream(self) -> S:
        """A new stream."""

    def release(self, stream: S) -> None:
        """Block the host until everything given to the stream is done, and give the stream up."""

    def run(self, stream: S, work: Callable[[], None]) -> None:
        """Call `work` so that what it gives the device goes to this stream: at once, or later in its turn."""

    def record(self, stream: S) -> E:
        """A new event, which happens when everything given to the stream so far is done."""

    def record_caller(self) -> E:
        """A new event, which happens when everything that the caller gave the device so far is done."""

    def wait(self, stream: S, event: E) -> None:
        """What is given to the stream from now on starts only after the event."""

    def synchronize(self, event: E) -> None:
        """Block the host until the event has happened; raise the error of any work done so far."""

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Host memory that the device can copy to and from while the host goes on; not initialised."""


class Slot:
    """Host buffers for one batch in flight, kept for the batch after it that gets the same slot."""

    def __init__(self, device: StreamDevice[Any, Any]) -> None:
        self._device = device
        self._buffers: dict[str, npt.NDArray[Any]] = {}

    def pinned(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The buffer of that name in this slot, page-locked on a GPU; a new one if shape or dtype changed.

        It still holds what the last batch left in it. Ask for one shape a name and batch: a copy may still be
        under way in the buffer that another shape replaces.
        """
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != shape or buffer.dtype != np.dtype(dtype):
            buffer = self._buffers[name] = self._device.pinned(shape, dtype)
        return buffer


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages(Generic[T, R]):
    """What is done to a batch; each function gets what the one before it returned, and the batch's slot.

    All but the last may return before the device is done; what they return must hold (own) every tensor
    that a later stage reads. `refine` may block the host on its own stream (to count windows, say):
    the next batch's generating has been given to the device by then. Where `generate` blocks the host (to ask whether
    motion blurs a frame), the order is the same, but the refining of the batch before is issued later.
    """

    copy_in: Callable[[T, Slot], Any]  # fill a pinned buffer of the slot, start its copy to the device
    generate: Callable[[Any, Slot], Any]
    restore: Callable[[Any, Slot], Any]  # the last part of generating; carries nothing from batch to batch
    refine: Callable[[Any, Slot], Any]  # in order, so it may carry decisions from batch to batch
    copy_out: Callable[[Any, Slot], Any]  # start the copy into a pinned buffer of the slot
    finish: Callable[[Any, Slot], R]  # on the host, when that copy is done: take what is needed out of it


@dataclass(slots=True)
class _Flight:
    """A batch between copy_in and finish."""

    slot: Slot
    values: list[Any]  # the batch and what each stage returned: kept alive (rule 6)
    restored: Any = None  # the event behind restore
    copied_out: Any = None  # the event behind copy_out
    is_issued: bool = False  # all stages but the last are given to the device


@dataclass(frozen=True, slots=True)
class _Streams(Generic[S]):
    copy_in: S
    generate: S
    refine: S
    copy_out: S
    restore: tuple[S, ...]  # they take turns; empty: generate's


class OverlappedPipeline(Generic[T, R]):
    """Runs batches through a stream for each stage, up to `depth` in flight; results come in order.

    The rules. Batch k uses slot k mod depth. A wrong order corrupts frames in silence, so each rule names
    its one wait; the property test takes them away one by one and sees frames corrupted.

    1. copy_in(0) waits for what the caller gave the device before (weights on their way). The streams do
       not wait for the caller's stream by themselves. Every other piece of work comes behind copy_in(0)
       through rules 2 to 4.
    2. generate(k) waits for the event behind copy_in(k). restore(k) comes behind it in its stream; where restore has
       streams of its own, it waits for the event behind generate(k).
    3. refine(k) waits for the event behind restore(k).
    4. copy_out(k) waits for the event behind refine(k).
    5. The host waits for the event behind copy_out(k) before finish(k) reads the slot's buffers; and finish(k)
       comes before copy_in(k + depth), the next user of the slot. So whoever writes into a slot, host
       or device, finds that nobody reads it any more.
    6. Device memory belongs to its batch until rule 5's wait: every value that a stage returned is kept in
       the `_Flight` until then. A caching allocator gives freed memory at once to the next request on the
       stream that it was allocated on, while another stream may still read it. (`record_stream` would be
       right too, but it returns memory at a time nobody knows, so the peak could not be bounded.)
    7. At the end, after an error and when the consumer leaves early, the host waits for all streams before any
       value or buffer is let go.

    What the stages must keep to:

    8. State carried from batch to batch (a running descriptor in generate, decisions in refine) is made in
       the stage that reads it: one stream, so it is in order. To keep a tensor of another stage, clone it.
    9. What two stages share and make on first use (windows of an FFT, say) is made before `run` (rule 1).

    Nothing orders generate(k + 1) after refine(k), nor restore(k + 1) after restore(k) where they have streams of their
    own: that is the overlap. The host issues generate(k + 1) and restore(k + 1) before refine(k), because refining
    reads its decisions back, which blocks the host.

    This has not run on a GPU yet; the order is proven on a simulated device only.

    Args:
        device: Whose streams are used.
        stages: What is done to a batch.
        depth: Most batches in flight (buffers per kind, GPU memory for as many); 1 means no overlap.
        num_restoring: Most batches in `restore` at the same time. With 1 it belongs to generate's stream. On a GPU one
            batch has the whole device anyway; on a CPU a core is never idle so while a stage beside it has but one.

    """

    def __init__(
        self, device: StreamDevice[Any, Any], stages: Stages[T, R], *, depth: int = 2, num_restoring: int = 1
    ) -> None:
        if depth < 1 or num_restoring < 1:
            raise ValueError(f"depth and num_restoring must be at least 1, but {depth = }, {num_restoring = }")
        self._device = device
        self._stages = stages
        self._num_restoring = num_restoring
        self._slots = [Slot(device) for _ in range(depth)]

    def run(self, batches: Iterable[T]) -> Generator[R, None, None]:
        """One result for each batch, in order; at most `depth` batches are taken and not yet given back.

        One run at a time. An error of `batches` comes after the results of the batches before it; an
        error of a stage, or of the device, comes at once, and what was in flight is lost.
        """
        device = self._device
        copy_in, generate, refine, copy_out = (device.make_stream() for _ in range(4))
        num_own = self._num_restoring if self._num_restoring > 1 else 0
        streams = _Streams(copy_in, generate, refine, copy_out, tuple(device.make_stream() for _ in range(num_own)))
        flights: deque[_Flight] = deque()
        try:
            device.wait(streams.copy_in, device.record_caller())  # rule 1
            yield from self._results(batches, streams, flights)
        except BaseException as error:
            for second in self._released(streams):
                error.add_note(f"then, while waiting for the device: {second!r}")
            raise
        for late in self._released(streams):
            raise late

    def _results(
        self, batches: Iterable[T], streams: _Streams[Any], flights: deque[_Flight]
    ) -> Generator[R, None, None]:
        source_error: Exception | None = None
        source = enumerate(batches)
        while True:
            if len(flights) == len(self._slots):
                yield self._finished(flights, streams)
            try:
                number, batch = next(source)
            except StopIteration:
                break
            except Exception as error:
                source_error = error
                break
            flights.append(_Flight(self._slots[number % len(self._slots)], [batch]))
            self._begin(flights[-1], streams, number)
            if len(flights) > 1:
                self._complete(flights[-2], streams)
        while flights:
            yield self._finished(flights, streams)
        if source_error is not None:
            raise source_error

    def _begin(self, flight: _Flight, streams: _Streams[Any], number: int) -> None:
        self._issue(flight, streams.copy_in, self._stages.copy_in)
        self._device.wait(streams.generate, self._device.record(streams.copy_in))  # rule 2
        self._issue(flight, streams.generate, self._stages.generate)
        restore = streams.generate
        if streams.restore:
            restore = streams.restore[number % len(streams.restore)]
            self._device.wait(restore, self._device.record(streams.generate))  # rule 2
        self._issue(flight, restore, self._stages.restore)
        flight.restored = self._device.record(restore)  # later it would be behind the next batch too

    def _complete(self, flight: _Flight, streams: _Streams[Any]) -> None:
        if flight.is_issued:
            return
        self._device.wait(streams.refine, flight.restored)  # rule 3
        self._issue(flight, streams.refine, self._stages.refine)
        self._device.wait(streams.copy_out, self._device.record(streams.refine))  # rule 4
        self._issue(flight, streams.copy_out, self._stages.copy_out)
        flight.copied_out = self._device.record(streams.copy_out)
        flight.is_issued = True

    def _issue(self, flight: _Flight, stream: Any, stage: Callable[[Any, Slot], Any]) -> None:
        self._device.run(stream, lambda: flight.values.append(stage(flight.values[-1], flight.slot)))

    def _finished(self, flights: deque[_Flight], streams: _Streams[Any]) -> R:
        flight = flights[0]
        self._complete(flight, streams)
        self._device.synchronize(flight.copied_out)  # rule 5
        result = self._stages.finish(flight.values[-1], flight.slot)
        flights.popleft()
        return result

    def _released(self, streams: _Streams[Any]) -> list[Exception]:
        """Wait for all streams and give them up (rule 7); returns the errors that came meanwhile."""
        errors = []
        for stream in (streams.copy_in, streams.generate, *streams.restore, streams.refine, streams.copy_out):
            try:
                self._device.release(stream)
            except Exception as error:
                errors.append(error)
        return errors
