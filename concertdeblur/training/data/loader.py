"""Batches made ahead by threads and brought to the device, so that the network does not wait for them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from concertdeblur.cpus import available_cpus
from concertdeblur.runtime import torch_threads
from concertdeblur.training.data.bundles import mapped

BatchT = TypeVar("BatchT")

_MOST_WORKERS = 8
_STEPS_APART = 4  # crops of a cell go into steps as far from each other


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


@dataclass(frozen=True, slots=True)
class Order:
    """Which batch a step gets: with two uses 0 1 2 3, 0 1 2 3, 4 5 6 7, 4 5 6 7."""

    uses: int

    @property
    def _apart(self) -> int:
        return _STEPS_APART if self.uses > 1 else 1

    def number(self, step: int) -> int:
        """Of the step's batch."""
        return step // (self.uses * self._apart) * self._apart + step % self._apart

    def newest(self, step: int) -> int:
        """The highest number up to this step."""
        group, within = divmod(step, self.uses * self._apart)
        return group * self._apart + min(within, self._apart - 1)

    def use(self, step: int) -> int:
        """Which of the batch's uses the step is, from 0."""
        return step % (self.uses * self._apart) // self._apart

    def last_step(self, number: int) -> int:
        """The last step that gets the batch."""
        group, within = divmod(number, self._apart)
        return ((group + 1) * self.uses - 1) * self._apart + within


class Loader(Generic[BatchT]):
    """Gives the batch of a step, made ahead; the same whatever the number of threads.

    OpenCV and NumPy let go of the interpreter while they compute, so threads do; a batch is a pure function of its
    number, so nothing depends on which thread is first. Called from one thread; must be closed.

    Args:
        batches: Makes a batch by its number: a dataclass with tensors on the CPU.
        device: Where its tensors are wanted; for a CUDA device they go through pinned memory.
        workers: Threads beside the network. With 0 they take turns with it: all cores make as many batches at once
            as there are cores, and then wait until those are used up.
        uses: Steps that get the same batch, `_STEPS_APART` from each other: where making one costs much, and no step
            sees all of it.
    """

    def __init__(self, batches: Callable[[int], BatchT], device: torch.device, *, workers: int, uses: int = 1) -> None:
        self._batches = batches
        self._order = Order(uses)
        self._device = device
        self._takes_turns = workers == 0
        num_threads = workers or min(_MOST_WORKERS, available_cpus())
        self._ahead = num_threads - 1 if self._takes_turns else 2 * workers
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
        number = self._order.number(step)
        if not self._takes_turns or number not in self._made:
            self._begin(step)
        if self._takes_turns:
            wait(self._made.values())
        made = self._made[number]
        if self._order.last_step(number) <= step:
            del self._made[number]
        batch = made.result()
        self.waited_s += time.monotonic() - asked
        return on_device(batch, self._device)

    def close(self) -> None:
        """Stop the threads, after what they have in hand."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, step: int) -> None:
        """Have batches made for this step and those after it, and forget those that no step will ask for."""
        number, newest = self._order.number(step), self._order.newest(step)
        wanted = range(number, newest + 1 + self._ahead)
        for stale in [one for one in self._made if one > wanted[-1] or self._order.last_step(one) < step]:
            self._made.pop(stale).cancel()
        for one in wanted:
            if one not in self._made:
                self._made[one] = self._pool.submit(self._make, one)

    def _make(self, number: int) -> BatchT:
        batch = self._batches(number)
        return mapped(batch, Tensor.pin_memory) if self._device.type == "cuda" else batch


def on_device(batch: BatchT, device: torch.device) -> BatchT:
    """The batch with its tensors on a device; the copy from pinned memory runs beside the network."""
    if device.type == "cpu":
        return batch
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))
