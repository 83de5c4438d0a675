"""Several processes train one network, as torchrun starts them: who each is, and how they stay equal.

Every process holds the same weights, makes its own share of each batch and averages its gradients with the
others'. So all take the same steps. Without torchrun there is one process, and nothing here costs time.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from concertdeblur.errors import TrainingError, UsageError

# The first process reads pictures, searches flow and deblurs frames for hours while the others wait for it; torch gives
# up after 10 minutes with NCCL, and after 30 with Gloo.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """A process among the others."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0


def started_world() -> World:
    """Who this process is among those that were started together; it has not joined them yet."""
    return World(rank=int(os.environ.get("RANK", "0")), size=int(os.environ.get("WORLD_SIZE", "1")))


def is_started_by_torchrun() -> bool:
    """Whether there are other processes to train with."""
    return started_world().size > 1


def is_first_process() -> bool:
    """Whether this is the process that shows progress and writes files for all."""
    return started_world().is_first


def local_device(device: str) -> str:
    """The device of this process: under torchrun, `cuda` means the GPU of its local rank."""
    if is_started_by_torchrun() and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the other processes, if torchrun started any, and leave them at the end."""
    if not is_started_by_torchrun():
        yield World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank=distributed.get_rank(), size=distributed.get_world_size())
        wait_for_all()  # one that leaves while another still talks to it may abort that one
    finally:
        distributed.destroy_process_group()


def share_of(batch_size: int, world: World) -> int:
    """How many samples of a batch each process makes.

    Raises:
        UsageError: If the batch cannot be shared evenly.
    """
    if batch_size % world.size:
        raise UsageError(
            f"a batch of {batch_size} cannot be shared by {world.size} processes; choose a batch_size that is a"
            " multiple, or start another number of processes"
        )
    return batch_size // world.size


@torch.no_grad()
def broadcast_weights(modules: Iterable[nn.Module]) -> None:
    """Give every process the weights of the first."""
    if distributed.is_initialized():
        for module in modules:
            for value in module.state_dict().values():
                distributed.broadcast(value, src=0)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes; a missing one counts as zero."""
    if not distributed.is_initialized():
        return
    gradients: list[Tensor] = []
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


@torch.no_grad()
def gathered(share: Tensor) -> Tensor:
    """The shares of all processes in the order of their ranks, joined along the first axis."""
    if not distributed.is_initialized():
        return share
    shares = [torch.empty_like(share) for _ in range(distributed.get_world_size())]
    distributed.all_gather(shares, share.contiguous())
    return torch.cat(shares)


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process; so all stop if one was asked to."""
    if not distributed.is_initialized():
        return flag
    value = torch.tensor(int(flag), device=device)
    distributed.all_reduce(value, distributed.ReduceOp.MAX)
    return bool(value.item())


@contextmanager
def others_wait(device: torch.device) -> Iterator[None]:
    """A block in which the first process does something; no process leaves it before the first one is done.

    Raises:
        TrainingError: In the other processes, if the first one fails or is stopped; what it should make is not there.
    """
    try:
        yield
    except BaseException:
        any_process(True, device)
        raise
    if any_process(False, device):
        raise TrainingError("another process of this run has ended before its work was done; its message says why")


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()
