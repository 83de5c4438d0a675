"""What every training stage has in common: a schedule of steps, checkpoints, exact resume, reports."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from concertdeblur.errors import TrainingError
from concertdeblur.runtime import has_fast_bfloat16
from concertdeblur.settings import check_least
from concertdeblur.training.checkpoint import load_checkpoint, save_checkpoint
from concertdeblur.training.distributed import any_process, average_gradients, broadcast_weights, is_first_process
from concertdeblur.training.ema import Ema
from concertdeblur.training.report import Report

BatchT = TypeVar("BatchT")

_REPORT_EVERY = 50  # steps
_REPORT_EVERY_S = 2.0  # or after this time, if steps are slow
_NORM_MEMORY = 0.98  # share of the old value in the running mean of the gradient's norm


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How long a stage trains and how fast it learns; it counts steps only."""

    steps: int
    cooldown_steps: int  # the rate falls linearly to 0 over the last steps
    batch_size: int
    warmup_steps: int = 200
    learning_rate: float = 1e-3
    ema_decay: float = 0.999
    max_gradient_norm: float = 0.5
    # The gradient's norm may be so many times its running mean: one odd batch can undo hundreds of steps.
    max_gradient_ratio: float = 2.0
    save_every: int = 250
    evaluate_every: int = 500

    def __post_init__(self) -> None:
        check_least(self, steps=0, cooldown_steps=0, batch_size=1, warmup_steps=1, save_every=1, evaluate_every=1)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = max(0, self.steps - step) / max(1, self.cooldown_steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps, left)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What one step has found."""

    objective: Tensor  # the loss that the network minimised, one number
    figures: dict[str, Tensor]  # for the curves: parts of the objective, and other figures


class Stage(ABC, Generic[BatchT]):
    """Trains one network and its opponents; it can be stopped after any step and resumed exactly.

    Args:
        name: Name of the stage, of its reports and of its checkpoint.
        network: The network that is trained; `self.ema` follows it.
        opponents: Other networks that are trained and saved, each with its own optimizer.
        schedule: Steps, rates, intervals.
        folder: The folder of the checkpoint.
    """

    def __init__(
        self, name: str, network: nn.Module, opponents: dict[str, nn.Module], schedule: Schedule, folder: Path
    ) -> None:
        self.name, self.schedule, self.step = name, schedule, 0
        self.cpu_s = 0.0  # CPU time of training so far, of all threads of this process, over all calls
        self._cpu_began_s = time.process_time()
        self.network = network
        self.ema = Ema(network, decay=schedule.ema_decay)
        self.adam: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
        self.checkpoint = folder / f"{name}.safetensors"
        self._mean_norm: float | None = None  # running mean of the gradient's norm
        self._modules = {"network": network, "ema": self.ema.module, **opponents}
        self._optimizers: dict[str, torch.optim.Optimizer] = {"adam": self.adam}
        for key, module in opponents.items():
            self._optimizers[f"{key}_adam"] = torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999))

    @property
    def is_done(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.step >= self.schedule.steps

    def resume(self) -> bool:
        """Go on from the checkpoint in the folder, if there is one."""
        if not self.checkpoint.exists():
            return False
        state = load_checkpoint(self.checkpoint, self._modules, self._optimizers)
        self.step, self._mean_norm = state["step"], state.get("gradient_norm")
        self.cpu_s = state.get("cpu_s", 0.0)
        return True

    @property
    def device(self) -> torch.device:
        """What the network is trained on."""
        return next(self.network.parameters()).device

    def mixed(self) -> torch.autocast:
        """Run convolutions in bfloat16 if the device is faster with it, else in fp32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=has_fast_bfloat16(self.device))

    def save(self) -> None:
        """Write the checkpoint; only the first of several processes does it."""
        now_s = time.process_time()
        self.cpu_s, self._cpu_began_s = round(self.cpu_s + now_s - self._cpu_began_s, 1), now_s
        if is_first_process():
            state = {"step": self.step, "gradient_norm": self._mean_norm, "cpu_s": self.cpu_s}
            save_checkpoint(self.checkpoint, self._modules, self._optimizers, state)

    def run(
        self,
        batches: Callable[[int], BatchT],
        *,
        until_s: float,
        on_report: Callable[[Report], None],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train until the schedule ends, `until_s` seconds have passed or `is_stopped`; saves before returning.

        Args:
            batches: Gives the batch of a step.
            until_s: Seconds after which to stop.
            on_report: Called with a report now and then.
            is_stopped: Asked between two steps; one process that stops makes all stop.

        Raises:
            TrainingError: If a loss is not a number; the last checkpoint stays.
        """
        broadcast_weights(self._modules.values())
        self._cpu_began_s = time.process_time()
        started = reported = time.monotonic()
        waited_s = 0.0
        in_step = False  # True while the weights are between two steps, when they must not be saved
        try:
            while not self.is_done:
                if any_process(is_stopped() or time.monotonic() - started >= until_s, self.device):
                    break
                asked = time.monotonic()
                batch = batches(self.step)
                waited_s += time.monotonic() - asked
                in_step = True
                made = self.train_step(batch)
                self.step += 1
                in_step = False
                is_due = self.step % self.schedule.evaluate_every == 0 or self.is_done
                now = time.monotonic()
                if is_due or self.step % _REPORT_EVERY == 0 or now - reported > _REPORT_EVERY_S:
                    reported = now
                    on_report(self._report(made, is_due=is_due, started=started, waited_s=waited_s))
                if self.step % self.schedule.save_every == 0:
                    self.save()
        except BaseException:
            if not in_step:  # else the last checkpoint is the better one
                self.save()
            raise
        self.save()

    def _report(self, made: StepResult, *, is_due: bool, started: float, waited_s: float) -> Report:
        held_out = self.evaluate() if is_due and is_first_process() else {}
        return Report(
            stage=self.name,
            step=self.step,
            steps=self.schedule.steps,
            objective=float(made.objective.detach()),
            figures={name: float(value.detach()) for name, value in made.figures.items()},
            held_out=held_out,
            elapsed_s=time.monotonic() - started,
            waited_s=waited_s,
        )

    @abstractmethod
    def train_step(self, batch: BatchT) -> StepResult:
        """One step."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out pictures."""
        return {}

    def descend(self, losses: dict[str, Tensor]) -> Tensor:
        """Take one step of the network that lowers the sum of the losses; returns the sum, without its gradient.

        Raises:
            TrainingError: If the sum or its gradient is not a number.
        """
        for group in self.adam.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        total = torch.stack(list(losses.values())).sum()
        if any_process(not math.isfinite(total.item()), self.device):
            raise TrainingError(f"the loss at step {self.step} is not a number; the last checkpoint is kept")
        self.adam.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.network.parameters())
        self._clip_gradient()
        self.adam.step()
        self.ema.update(self.step)
        return total.detach()

    def _clip_gradient(self) -> None:
        most = self.schedule.max_gradient_norm
        if self._mean_norm is not None:
            most = min(most, self.schedule.max_gradient_ratio * self._mean_norm)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), most).item()
        if not math.isfinite(norm):
            raise TrainingError(f"the gradient at step {self.step} is not a number; the last checkpoint is kept")
        kept = min(norm, most)
        self._mean_norm = (
            kept if self._mean_norm is None else _NORM_MEMORY * self._mean_norm + (1 - _NORM_MEMORY) * kept
        )

    def descend_opponent(self, key: str, loss: Tensor) -> None:
        """Take one step of an opponent.

        Raises:
            TrainingError: If its gradient is not a number.
        """
        adam = self._optimizers[f"{key}_adam"]
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self._modules[key].parameters())
        gradients = [p.grad for p in self._modules[key].parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of the {key} at step {self.step} is not a number; the last checkpoint is kept"
            )
        adam.step()
