"""A worker: one process of the cluster that does one task after the other and keeps what the next one needs, too."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a worker takes of its node."""

    num_cpus: int = 1
    num_gpus: int = 0


@dataclass(kw_only=True, slots=True)
class WorkerState:
    """What a worker keeps between tasks.

    Args:
        folder: Its own, for files; it goes with the worker.

    """

    folder: Path
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def kept(self, kind: str, key: Hashable, make: Callable[[], T]) -> T:
        """What an earlier task made for the same key; of each kind the last one is kept."""
        before = self._kept.get(kind)
        if before is None or before[0] != key:
            self._kept.pop(kind, None)  # let go of it first: networks are large
            before = self._kept[kind] = (key, make())
        made: T = before[1]
        return made


class Task(Protocol):
    """Something that a worker does; it is pickled on its way there."""

    def run(self, worker: WorkerState) -> Any:
        """Do it; what it gives goes back to the driver."""


class Worker:
    """What Ray makes an actor of."""

    def __init__(self, need: Need) -> None:
        self._claim = claim_cores(need.num_cpus)
        self._folder = tempfile.TemporaryDirectory(prefix="concertdeblur-", ignore_cleanup_errors=True)
        self._state = WorkerState(folder=Path(self._folder.name))

    def greet(self, facts: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        """What runs here: the driver decides whether it fits."""
        return dict(facts())

    def run(self, task: Task) -> Any:
        """Do a task."""
        return task.run(self._state)


def claim_cores(number: int, folder: Path | None = None) -> list[int]:
    """Take cores that no other worker of this machine has, for this thread and all that it starts.

    Ray counts cores and gives none: pools of threads would take all of them in every worker. Where fewer are left than
    asked for, nothing is taken.

    Args:
        number: How many.
        folder: Where the claims lie; None: the system's for temporary files.

    Returns:
        The descriptors whose locks hold the claims, until the process ends.

    """
    claims: dict[int, int] = {}
    place = folder or Path(tempfile.gettempdir())
    for core in sorted(os.sched_getaffinity(0)):
        with contextlib.suppress(OSError):
            descriptor = os.open(place / f".concertdeblur-core-{core}", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            claims[core] = descriptor
        if len(claims) == number:
            os.sched_setaffinity(0, claims)
            return list(claims.values())
    for descriptor in claims.values():
        os.close(descriptor)
    return []
