"""Three devices to run an `OverlappedPipeline` on: CUDA streams, threads, and the plain sequence."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from concertdeblur.streaming.threads import Sink

_MOST_ISSUED = 64  # most tasks that may wait for one thread; `depth` batches in flight have far fewer


class HostDevice:
    """The plain sequence: everything is done at once, in the order in which it is issued.

    It is for a CPU whose networks use all cores already: two busy thread pools on the same cores are slower than one
    after the other.
    """

    def make_stream(self) -> None:
        """A stream without a meaning, since the host does everything."""

    def release(self, stream: None) -> None:
        """Nothing to wait for."""

    def run(self, stream: None, work: Callable[[], None]) -> None:  # noqa: ARG002
        """Do it now."""
        work()

    def record(self, stream: None) -> None:
        """It has happened."""

    def record_caller(self) -> None:
        """It has happened."""

    def wait(self, stream: None, event: None) -> None:
        """Nothing to wait for."""

    def synchronize(self, event: None) -> None:
        """Nothing to wait for."""

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Plain memory."""
        return np.empty(shape, dtype)


class ThreadDevice:
    """A stream is a thread: stages overlap on a CPU with cores to spare.

    Each stage function is called in its own thread, so what is local to a thread (torch's inference mode)
    is entered inside it. After an error in any of them, work that was issued before the error is known is skipped,
    and the caller's next `synchronize` raises it.
    """

    def __init__(self) -> None:
        self._errors: list[BaseException] = []
        self._num_streams = 0

    def make_stream(self) -> Sink[Callable[[], object]]:
        """A new thread."""
        self._num_streams += 1
        return Sink(_call, depth=_MOST_ISSUED, name="stream")

    def release(self, stream: Sink[Callable[[], object]]) -> None:
        """Join the thread when its work is done."""
        stream.close()
        self._num_streams -= 1
        if not self._num_streams:
            self._errors.clear()  # the run that they belong to is over

    def run(self, stream: Sink[Callable[[], object]], work: Callable[[], None]) -> None:
        """Do it in the thread."""
        stream.push(partial(self._attempt, work))

    def record(self, stream: Sink[Callable[[], object]]) -> threading.Event:
        """An event that the thread sets when it gets there."""
        event = threading.Event()
        stream.push(event.set)
        return event

    def record_caller(self) -> threading.Event:
        """An event that has happened, since the caller's own work is done at once."""
        event = threading.Event()
        event.set()
        return event

    def wait(self, stream: Sink[Callable[[], object]], event: threading.Event) -> None:
        """The thread waits when it gets there."""
        stream.push(event.wait)

    def synchronize(self, event: threading.Event) -> None:
        """Block the caller until the event has happened; raise the first error of a stage."""
        event.wait()
        if self._errors:
            raise self._errors[0]

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Plain memory."""
        return np.empty(shape, dtype)

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._errors:
            return
        try:
            work()
        except BaseException as error:  # raised again by synchronize
            self._errors.append(error)


def _call(work: Callable[[], object]) -> None:
    work()


class CudaDevice:
    """Streams and events of one GPU through torch. It has not run on a GPU yet.

    The pinned buffers are numpy views of torch's page-locked memory: `torch.from_numpy(buffer)` shares it,
    and copies between it and the GPU with `non_blocking=True` do not block the host. Torch does not track
    such copies (it knows its own storages only), so the owner of a buffer keeps it until they are done.

    Args:
        device: Such as "cuda" or "cuda:1", or a torch.device.

    """

    def __init__(self, device: Any = "cuda") -> None:
        import torch  # takes seconds, and the identity path needs none of it

        self._torch: Any = torch
        self._device = torch.device(device)

    def make_stream(self) -> Any:
        """A CUDA stream; it does not wait for the default stream by itself."""
        return self._torch.cuda.Stream(self._device)

    def release(self, stream: Any) -> None:
        """Block the host until the stream is idle; torch keeps it for others."""
        stream.synchronize()

    def run(self, stream: Any, work: Callable[[], None]) -> None:
        """Call `work` now, with the stream as torch's current one: its kernels and copies go there."""
        with self._torch.cuda.stream(stream):
            work()

    def record(self, stream: Any) -> Any:
        """A CUDA event that follows the stream's work so far."""
        event = self._torch.cuda.Event()
        event.record(stream)
        return event

    def record_caller(self) -> Any:
        """A CUDA event that follows the work of the caller's current stream."""
        return self.record(self._torch.cuda.current_stream(self._device))

    def wait(self, stream: Any, event: Any) -> None:
        """The stream waits on the GPU; the host goes on."""
        stream.wait_event(event)

    def synchronize(self, event: Any) -> None:
        """Block the host until the event has happened; raises what a kernel before it raised."""
        event.synchronize()

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Page-locked host memory; allocating it takes milliseconds, so slots keep it."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        memory = self._torch.empty(num_bytes, dtype=self._torch.uint8, pin_memory=True)
        buffer: npt.NDArray[Any] = memory.numpy().view(dtype).reshape(shape)
        return buffer
