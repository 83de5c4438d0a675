"""What the stages of one run share: the time that is left, the wish to stop, curves, progress, waiting."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from concertdeblur.blur.kernels import Kernel
from concertdeblur.errors import Interrupted
from concertdeblur.progress import StageProgress
from concertdeblur.training.curves import Curves
from concertdeblur.training.report import Report

STAGE_NAMES = {"analysis": "analysis", "igan": "iGAN", "mining": "mining", "pgan": "pGAN"}  # as shown


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of `train`: stages ask it how long they may go on and tell it how they do."""

    out: Path
    curves: Curves | None  # None where another process writes them
    on_progress: Callable[[StageProgress], None]
    stop: threading.Event
    until_s: float  # by time.monotonic()
    waited_s: float = 0.0  # for data, over all stages
    stage_s: float = 0.0  # of all stages
    held_out: dict[str, float] = field(default_factory=dict)  # what the last evaluation of iGAN gave
    _begun_at: int = 0
    _before_s: tuple[float, float] = (0.0, 0.0)
    _facts: dict[str, float | str] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        """Seconds that stages may still take."""
        return self.until_s - time.monotonic()

    def begin(self, stage: str, step: int) -> None:
        """A stage is taken up at a step."""
        self._begun_at = step
        self._before_s = (self.waited_s, self.stage_s)
        self._facts = {}
        if self.curves is not None:
            self.curves.begin(stage, step)

    def check(self, stage: str, step: int, steps: int) -> None:
        """Between two steps: end here if the user asked for it.

        Raises:
            Interrupted: If so; the stage saves on its way out.
        """
        if self.stop.is_set():
            raise Interrupted(
                f"stopped after step {step} of {steps} of {STAGE_NAMES[stage]}, which is saved in {self.out};"
                " the same command goes on from there"
            )

    def report(self, report: Report) -> None:
        """Take a stage's report: curves, and progress with its figures."""
        self.waited_s = self._before_s[0] + report.waited_s
        self.stage_s = self._before_s[1] + report.elapsed_s
        if self.curves is not None:
            self.curves.add(report)
        played = {name: value for name, value in report.losses.items() if name not in ("discriminator", "l1_before")}
        self._facts = {"loss": sum(played.values()), **_told(report.held_out or {}, self._facts)}
        if report.held_out and report.stage == "igan":
            self.held_out = dict(report.held_out)
        waiting = report.waited_s / report.elapsed_s if report.elapsed_s else 0.0
        self.on_progress(
            StageProgress(
                stage=f"train {STAGE_NAMES[report.stage]}",
                done=report.step,
                total=report.steps,
                unit="steps",
                elapsed_s=report.elapsed_s,
                begun_at=self._begun_at,
                facts={**self._facts, "waiting for data": f"{100 * waiting:.0f} %"},
            )
        )

    def counted(self, stage: str, unit: str) -> Callable[[int, int], None]:
        """A callback (done, total) for what is no training: reading pictures, mining.

        It raises `Interrupted` between two pieces if the user asked for it.
        """
        started = time.monotonic()

        def tell(done: int, total: int) -> None:
            if self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {total} {unit}; the same command goes on")
            elapsed_s = time.monotonic() - started
            self.on_progress(StageProgress(stage=stage, done=done, total=total, unit=unit, elapsed_s=elapsed_s))

        return tell


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
        return {"filter misses the best by": f"{held_out['lost_db']:.2f} dB"}
    return {name: value for name, value in before.items() if name != "loss"}
