"""What the stages of one run share: time left, the wish to stop, device, curves, progress, waiting."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from concertdeblur.blur.kernels import Kernel
from concertdeblur.errors import Interrupted
from concertdeblur.progress import StageProgress
from concertdeblur.training.curves import Curves
from concertdeblur.training.data.loader import BatchT, Loader, network_threads, num_workers
from concertdeblur.training.distributed import World, anywhere, wait_for_all
from concertdeblur.training.mined import MINED_PARTS, MinedParts, load_windows, save_windows
from concertdeblur.training.report import Report
from concertdeblur.training.stage import Stage

GivenT = TypeVar("GivenT")
WindowsT = TypeVar("WindowsT")

_SHOWN = {"analysis": "analysis", "igan": "iGAN", "mining": "mining", "pgan": "pGAN"}
_NOT_OF_GENERATOR = ("discriminator", "image_discriminator", "l1_before")  # among the figures of a step


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of `train`: its stages go through here, one after the other."""

    out: Path
    device: torch.device
    world: World
    until_s: float  # by time.monotonic()
    stop: threading.Event
    on_progress: Callable[[StageProgress], None]
    on_warning: Callable[[str], None]
    curves: Curves | None = None  # None where another process writes them
    stands_at: str = ""  # how far the run has come, in words
    done_stage: str | None = None  # the last one that came to its end
    waited_s: float = 0.0  # for data, over all stages
    trained_s: float = 0.0  # over all stages
    cpu_s: dict[str, float] = field(default_factory=dict)  # that each stage has trained, over all calls
    held_out: dict[str, float] = field(default_factory=dict)  # what the last evaluation of iGAN gave
    _loader: Loader[Any] | None = None
    _begun_at: int = 0
    _before_s: tuple[float, float] = (0.0, 0.0)
    _facts: dict[str, float | str] = field(default_factory=dict)

    def run(
        self,
        stage: Stage[GivenT],
        batches: Callable[[int], BatchT],
        prepared: Callable[[BatchT, int], GivenT],
        *,
        is_heavy: bool = False,
        uses: int = 1,
    ) -> bool:
        """Take a stage up where its checkpoint stands and train it as long as it may; whether it came to its end.

        Args:
            stage: The stage, on `device`.
            batches: Makes a process's share of a step's batch, on the CPU; its number is no other share's.
            prepared: Makes what the stage is given of a batch on `device`; called with a number that no other step's
                share has.
            is_heavy: Whether making a batch takes about as long as training with it.
            uses: Steps that get the same batch.

        Raises:
            Interrupted: If the user wanted to stop; the stage is saved.
        """
        stage.resume()
        if not stage.is_done:
            self._begin(stage)
            size, rank = self.world.size, self.world.rank
            workers = num_workers(self.device, num_threads=torch.get_num_threads(), is_heavy=is_heavy)
            with (
                network_threads(self.device, workers),
                Loader(lambda one: batches(one * size + rank), self.device, workers=workers, uses=uses) as loader,
            ):
                self._loader = loader
                stage.run(
                    lambda step: prepared(loader(step), step * size + rank),
                    until_s=self.until_s - time.monotonic(),
                    on_report=self._report,
                    is_stopped=self.stop.is_set,
                )
        self.cpu_s[stage.name] = stage.cpu_s
        self.stands_at = f"step {stage.step} of {stage.schedule.steps} of {_SHOWN[stage.name]}"
        if stage.name == "igan" and not self.held_out and self.curves is not None:
            self.held_out = self.curves.last_held_out("igan")  # of an earlier call
        if stage.is_done:
            self.done_stage = stage.name
        elif anywhere(self.stop.is_set(), self.device):
            raise Interrupted(f"stopped after {self.stands_at}, saved in {self.out}; the same command goes on")
        return stage.is_done

    def mined(
        self,
        kind: type[WindowsT],
        origin: dict[str, Any],
        mine: Callable[[int], WindowsT],
        *,
        num_pictures: int,
        batch_size: int,
    ) -> WindowsT | None:
        """The windows of an earlier call if they were mined with the same things, else mine them; None: no time.

        Args:
            kind: Dataclass of tensors.
            origin: Plain data on what they are mined with.
            mine: Mines those of a step's batch of pictures.
            num_pictures: To mine in; the last batch is a whole one.
            batch_size: Pictures of a step.

        Raises:
            Interrupted: If the user wanted to stop; what was mined is saved.
        """
        path = self.out / "mining.safetensors"
        windows = load_windows(path, kind, origin)
        if windows is None:
            try:
                if self.world.is_first:
                    parts = MinedParts(self.out / MINED_PARTS, kind, origin)
                    if self._mine(parts, mine, num_pictures, batch_size):
                        windows = parts.joined()
                        save_windows(path, windows, origin)
                        parts.remove()
                        self._warn_of_other_windows()
            finally:
                wait_for_all()  # also where the first process is stopped: the others wait for it
            windows = windows or load_windows(path, kind, origin)
        if windows is not None:
            self.stands_at, self.done_stage = "mining", "mining"
        return windows

    def _mine(
        self, parts: MinedParts[WindowsT], mine: Callable[[int], WindowsT], num_pictures: int, batch_size: int
    ) -> bool:
        """Mine the steps that are left; whether there was time for all."""
        begun, done = time.monotonic(), min(num_pictures, parts.step * batch_size)
        begun_at = done
        try:
            while done < num_pictures:
                self.stands_at = f"{done} of {num_pictures} pictures of mining"
                if self.stop.is_set():
                    raise Interrupted(f"stopped after {self.stands_at}, saved in {self.out}; the same command goes on")
                if time.monotonic() >= self.until_s:
                    return False
                parts.add(mine(parts.step))
                done = min(num_pictures, parts.step * batch_size)
                self.on_progress(
                    StageProgress(
                        stage="mine windows", done=done, total=num_pictures, unit="pictures",
                        elapsed_s=time.monotonic() - begun, begun_at=begun_at,
                    )
                )  # fmt: skip
        finally:
            if done < num_pictures:
                parts.save()
        return True

    def _warn_of_other_windows(self) -> None:
        if (self.out / "pgan.safetensors").exists():
            self.on_warning(
                "pGAN was trained on windows of an earlier iGAN; '--stage pgan --restart' trains it on the new ones"
            )

    def counted(self, stage: str, unit: str) -> Callable[[int, int], None]:
        """A callback (done, total) for work that is not done in steps, such as reading pictures.

        It raises `Interrupted` if the user asks for it.
        """
        started = time.monotonic()

        def tell(done: int, total: int) -> None:
            now = time.monotonic()
            if done < total and self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {total} {unit}; the same command goes on")
            elapsed_s = now - started
            self.on_progress(StageProgress(stage=stage, done=done, total=total, unit=unit, elapsed_s=elapsed_s))

        return tell

    def telling(self, units: dict[str, str]) -> Callable[[str, int, int], None]:
        """As `counted`, for work of several parts with a unit each: called with the part's name first."""
        parts: dict[str, Callable[[int, int], None]] = {}

        def tell(part: str, done: int, total: int) -> None:
            if part not in parts:
                parts[part] = self.counted(part, units[part])
            parts[part](done, total)

        return tell

    def _begin(self, stage: Stage[Any]) -> None:
        self._begun_at = stage.step
        self._before_s = (self.waited_s, self.trained_s)
        self._facts = {}
        if self.curves is not None:
            self.curves.begin(stage.name, stage.step)

    def _report(self, report: Report) -> None:
        waited_s = self._loader.waited_s if self._loader is not None else 0.0
        self.waited_s = self._before_s[0] + waited_s
        self.trained_s = self._before_s[1] + report.elapsed_s
        if self.curves is not None:
            self.curves.add(report)
        loss = sum(value for name, value in report.losses.items() if name not in _NOT_OF_GENERATOR)
        self._facts = {"loss": loss, **_told(dict(report.held_out), self._facts)}
        if report.held_out and report.stage == "igan":
            self.held_out = dict(report.held_out)
        waiting = waited_s / report.elapsed_s if report.elapsed_s else 0.0
        self.on_progress(
            StageProgress(
                stage=f"train {_SHOWN[report.stage]}",
                done=report.step,
                total=report.steps,
                unit="steps",
                elapsed_s=report.elapsed_s,
                begun_at=self._begun_at,
                facts={**self._facts, "waiting for data": f"{100 * waiting:.0f} %"},
            )
        )


def mean_gain_db(held_out: dict[str, float]) -> float | None:
    """Mean gain over the seven kernels, dB; None before it is known."""
    gains = [held_out[kernel.value] for kernel in Kernel if kernel.value in held_out]
    return sum(gains) / len(gains) if gains else None


def _told(held_out: dict[str, float], before: dict[str, float | str]) -> dict[str, float | str]:
    """The figures on held-out pictures that are shown; those of the last evaluation stay."""
    gain_db = mean_gain_db(held_out)
    if gain_db is not None:
        return {"held-out gain": f"{gain_db:+.2f} dB"}
    if "lost_db" in held_out:
        return {"filter behind the best by": f"{held_out['lost_db']:.2f} dB"}
    return {name: value for name, value in before.items() if name != "loss"}
