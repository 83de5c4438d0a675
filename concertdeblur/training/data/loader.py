"""Batches are made ahead by threads and brought to the device, so that the network does not wait for them."""

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
_STEPS_APART = 4  # two crops of a cell are used in steps that are so far apart


def num_workers(device: torch.device, *, num_threads: int, is_heavy: bool = False) -> int:
    """Threads that make batches beside a network.

    On a CPU they take cores from the network: a quarter of them, or half of them if making a batch takes as long as a
    step. If the network leaves more cores free, the threads take those. (With one core for batches the analysis waited
    for 43 to 52 % of its time, and iGAN for 8 to 17 %.)

    Args:
        device: What the network computes on.
        num_threads: The number of threads that the network would use on a CPU.
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
    """The number of the batch of each step: with two uses 0 1 2 3, 0 1 2 3, 4 5 6 7, 4 5 6 7."""

    uses: int

    @property
    def _apart(self) -> int:
        return _STEPS_APART if self.uses > 1 else 1

    def number(self, step: int) -> int:
        """The number of the step's batch."""
        return step // (self.uses * self._apart) * self._apart + step % self._apart

    def newest(self, step: int) -> int:
        """The highest number of a batch up to this step."""
        group, within = divmod(step, self.uses * self._apart)
        return group * self._apart + min(within, self._apart - 1)

    def use(self, step: int) -> int:
        """Which use of its batch the step is, counted from 0."""
        return step % (self.uses * self._apart) // self._apart

    def last_step(self, number: int) -> int:
        """The last step that gets the batch."""
        group, within = divmod(number, self._apart)
        return ((group + 1) * self.uses - 1) * self._apart + within


class Loader(Generic[BatchT]):
    """Gives the batch of a step, made ahead; the same whatever the number of threads.

    OpenCV and NumPy release the interpreter's lock while they compute, so threads are enough. A batch is a pure
    function of its number, so nothing depends on which thread is first. A loader is called from one thread, and must be
    closed.

    Args:
        batches: Makes a batch by its number: a dataclass with tensors on the CPU.
        device: Where its tensors are wanted; for a CUDA device they go through pinned memory.
        workers: Threads beside the network. 0: batches and network take turns. All cores make as many batches as there
            are cores, and no more are made until these are used up.
        uses: Number of steps that get the same batch, `_STEPS_APART` from each other. It helps if a batch takes long to
            make, and no step uses all of it.
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
        self.waited_s = 0.0  # time of waiting for batches

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, step: int) -> BatchT:
        """The batch of a step, on the device.

        Raises:
            Exception: The error of making it, in whatever thread it was raised.
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
        """Stop the threads after the batches that they are making."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, step: int) -> None:
        """Let batches be made for this step and later ones, and drop those that no step will ask for."""
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
