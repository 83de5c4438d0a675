"""Batches made ahead by threads and brought to the device, so that the network does not wait for them."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar, cast

import torch
from torch import Tensor

from concertdeblur.runtime import available_cpus, torch_threads

BatchT = TypeVar("BatchT")

_MOST_WORKERS = 8


def num_workers(device: torch.device, *, num_threads: int, is_heavy: bool = False) -> int:
    """Threads that make batches beside a network.

    On a CPU they take cores from the network: a quarter of them, half where batches cost as much as the network's
    step does (the analysis waited 43 to 52 % of its time on one core, iGAN 8 to 17 %), or what the network leaves.

    Args:
        device: What the network computes on.
        num_threads: That the network would have of a CPU.
        is_heavy: Whether making a batch takes about as long as training with it.
    """
    cores = available_cpus()
    if device.type == "cuda":
        return min(_MOST_WORKERS, max(1, cores - 1))
    return min(_MOST_WORKERS, max(cores // 2 if is_heavy else cores // 4, cores - num_threads))


@contextmanager
def network_threads(device: torch.device, workers: int) -> Iterator[None]:
    """Leave cores to the workers."""
    number = torch.get_num_threads()
    if device.type == "cpu":
        number = max(1, min(number, available_cpus() - workers))
    with torch_threads(number):
        yield


class Loader(Generic[BatchT]):
    """Gives the batch of a step, made ahead; the same whatever the number of threads.

    OpenCV and NumPy let go of the interpreter while they compute, so threads do; a batch is a pure function of its
    step, so nothing depends on which thread is first. Called from one thread; must be closed.

    Args:
        batches: Makes the batch of a step: a dataclass with tensors on the CPU.
        device: Where its tensors are wanted; for a CUDA device they go through pinned memory.
        workers: Threads beside the network. With 0 they take turns with it: all cores make as many batches at once
            as there are cores, and then wait until those are used up.
    """

    def __init__(self, batches: Callable[[int], BatchT], device: torch.device, *, workers: int) -> None:
        self._batches = batches
        self._device = device
        self._takes_turns = workers == 0
        num_threads = workers or min(_MOST_WORKERS, available_cpus())
        self._num_wanted = num_threads if self._takes_turns else 1 + 2 * workers
        self._pool = ThreadPoolExecutor(num_threads, "batches")
        self._made: dict[int, Future[BatchT]] = {}
        self.waited_s = 0.0  # for batches that were not there yet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, step: int) -> BatchT:
        """The batch of a step, on the device.

        Raises:
            Exception: What making it raised, in whatever thread.
        """
        asked = time.monotonic()
        if not self._takes_turns or step not in self._made:
            wanted = range(step, step + self._num_wanted)
            for stale in self._made.keys() - set(wanted):
                self._made.pop(stale).cancel()
            for number in wanted:
                if number not in self._made:
                    self._made[number] = self._pool.submit(self._make, number)
        if self._takes_turns:
            wait(self._made.values())
        batch = self._made.pop(step).result()
        self.waited_s += time.monotonic() - asked
        return on_device(batch, self._device)

    def close(self) -> None:
        """Stop the threads, after what they have in hand."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, step: int) -> BatchT:
        batch = self._batches(step)
        return _mapped(batch, Tensor.pin_memory) if self._device.type == "cuda" else batch


def on_device(batch: BatchT, device: torch.device) -> BatchT:
    """The batch with its tensors on a device; the copy from pinned memory runs beside the network."""
    if device.type == "cpu":
        return batch
    return _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _mapped(batch: BatchT, change: Callable[[Tensor], Tensor]) -> BatchT:
    assert dataclasses.is_dataclass(batch)
    tensors: dict[str, Any] = {
        field.name: change(value)
        for field in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    changed: BatchT = dataclasses.replace(cast(Any, batch), **tensors)
    return changed
