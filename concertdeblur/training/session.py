"""One call of `train`: it runs each stage as long as time allows, and knows how far the run has come."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from concertdeblur.errors import Interrupted
from concertdeblur.training.data.loader import BatchT, Loader, network_threads, num_workers
from concertdeblur.training.distributed import World, any_process
from concertdeblur.training.narration import SHOWN, Narrator
from concertdeblur.training.stage import Stage

GivenT = TypeVar("GivenT")


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of `train`, which runs its stages one after the other."""

    out: Path
    device: torch.device
    world: World
    until_s: float  # when time is up, by time.monotonic()
    stop: threading.Event
    narrator: Narrator
    stands_at: str = ""  # how far the run is, in words
    done_stage: str | None = None  # the last stage that came to its end
    cpu_s: dict[str, float] = field(default_factory=dict)  # CPU seconds of each stage, over all calls

    def train(
        self,
        stage: Stage[GivenT],
        batches: Callable[[int], BatchT],
        prepared: Callable[[BatchT, int], GivenT],
        *,
        is_heavy: bool = False,
        uses: int = 1,
    ) -> bool:
        """Train a stage as `run` does; at its end its network takes over the averaged weights."""
        if not self.run(stage, batches, prepared, is_heavy=is_heavy, uses=uses):
            return False
        stage.network.load_state_dict(stage.ema.module.state_dict())
        return True

    def run(
        self,
        stage: Stage[GivenT],
        batches: Callable[[int], BatchT],
        prepared: Callable[[BatchT, int], GivenT],
        *,
        is_heavy: bool = False,
        uses: int = 1,
    ) -> bool:
        """Go on with a stage from its checkpoint until the stage or the time ends; True if the stage has ended.

        Args:
            stage: The stage, on `device`.
            batches: Makes a batch by its number, on the CPU. The number is unique across steps and processes.
            prepared: Makes the input of the stage from a batch on `device`, and from a number of the same kind.
            is_heavy: Whether making a batch takes about as long as training with it.
            uses: How many steps get the same batch.

        Raises:
            Interrupted: If the user wanted to stop; the stage is saved.
        """
        stage.resume()
        if not stage.is_done:
            self.narrator.begin(stage.name, stage.step)
            size, rank = self.world.size, self.world.rank
            workers = num_workers(self.device, num_threads=torch.get_num_threads(), is_heavy=is_heavy)
            with (
                network_threads(self.device, workers),
                Loader(lambda one: batches(one * size + rank), self.device, workers=workers, uses=uses) as loader,
            ):
                stage.run(
                    lambda step: prepared(loader(step), step * size + rank),
                    until_s=self.until_s - time.monotonic(),
                    on_report=lambda report: self.narrator.report(report, waited_s=loader.waited_s),
                    is_stopped=self.stop.is_set,
                )
        self.cpu_s[stage.name] = stage.cpu_s
        self.stands_at = f"step {stage.step} of {stage.schedule.steps} of {SHOWN[stage.name]}"
        self.narrator.end(stage.name)
        if stage.is_done:
            self.done_stage = stage.name
        elif any_process(self.stop.is_set(), self.device):
            raise self.interrupted()
        return stage.is_done

    def interrupted(self) -> Interrupted:
        """The error to raise where the user wanted to stop, once all is saved."""
        return Interrupted(f"stopped after {self.stands_at}, saved in {self.out}; the same command goes on")
