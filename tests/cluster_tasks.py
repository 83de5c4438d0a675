"""Tasks for the workers of a test's cluster, which import them from here."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from concertdeblur.cluster import WorkerState
from concertdeblur.errors import SourceError


@dataclass(frozen=True, kw_only=True, slots=True)
class Add:
    """Adds one, on a worker that counts what it did."""

    number: int
    pause_s: float = 0.0

    def run(self, worker: WorkerState) -> tuple[int, int, int]:
        """The sum, the worker's process, and how many tasks it did."""
        time.sleep(self.pause_s)
        counted: list[int] = worker.kept("count", "", list)
        counted.append(self.number)
        return self.number + 1, os.getpid(), len(counted)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailOften:
    """Goes wrong at its first tries.

    Args:
        folder: Where it counts them.
        times: How many.
        how: "error", or "death" of the worker.

    """

    folder: Path
    times: int
    how: str = "error"

    def run(self, worker: WorkerState) -> list[str]:
        """The processes that tried."""
        del worker
        tried = sorted(self.folder.iterdir())
        (self.folder / f"{len(tried)}-{os.getpid()}").touch()
        if len(tried) < self.times:
            if self.how == "death":
                os._exit(1)
            raise SourceError(f"went wrong {len(tried) + 1} times")
        return [path.name.partition("-")[2] for path in sorted(self.folder.iterdir())]
