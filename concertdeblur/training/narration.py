"""The narrator of a training run: it tells how the run goes, and remembers what the summary says."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from concertdeblur.blur.kernels import Kernel
from concertdeblur.errors import Interrupted
from concertdeblur.progress import StageProgress
from concertdeblur.training.curves import Curves
from concertdeblur.training.report import Report

SHOWN = {"analysis": "analysis", "igan": "iGAN", "mining": "mining", "pgan": "pGAN"}  # stages, as users read them
SHOWN |= {"video-igan": "video iGAN", "smear": "smear", "video-pgan": "video pGAN"}
_KEPT = ("guess blur", "deblur frames", "search flow")  # work that goes on where it was stopped; other work begins anew
_JUDGED = ("igan", "video-igan")  # stages whose last figures the summary shows


@dataclass(kw_only=True, slots=True)
class Narrator:
    """Tells how each stage goes. The summary at the end reads `waited_s`, `trained_s` and `held_out`."""

    on_progress: Callable[[StageProgress], None]
    on_warning: Callable[[str], None]
    stop: threading.Event
    curves: Curves | None = None  # None where another process writes them
    waited_s: float = 0.0  # time of waiting for data, in all stages
    trained_s: float = 0.0  # time of training, in all stages
    held_out: dict[str, float] = field(default_factory=dict)  # figures of iGAN's last evaluation
    _begun_at: int = 0
    _before_s: tuple[float, float] = (0.0, 0.0)
    _facts: dict[str, float | str] = field(default_factory=dict)

    def begin(self, stage: str, step: int) -> None:
        """Take note that a stage begins or goes on at a step."""
        self._begun_at = step
        self._before_s = (self.waited_s, self.trained_s)
        self._facts = {}
        if self.curves is not None:
            self.curves.begin(stage, step)

    def report(self, report: Report, *, waited_s: float) -> None:
        """Tell that a stage has come to a step.

        Args:
            report: The report of that step.
            waited_s: How long the stage has waited for data in this call.
        """
        self.waited_s = self._before_s[0] + waited_s
        self.trained_s = self._before_s[1] + report.elapsed_s
        if self.curves is not None:
            self.curves.add(report)
        self._facts = {"loss": report.objective, **_told(dict(report.held_out), self._facts)}
        if report.held_out and report.stage in _JUDGED:
            self.held_out |= report.held_out
        waiting = waited_s / report.elapsed_s if report.elapsed_s else 0.0
        self.on_progress(
            StageProgress(
                stage=f"train {SHOWN[report.stage]}",
                done=report.step,
                total=report.steps,
                unit="steps",
                elapsed_s=report.elapsed_s,
                begun_at=self._begun_at,
                facts={**self._facts, "waiting for data": f"{100 * waiting:.0f} %"},
            )
        )

    def end(self, stage: str) -> None:
        """Take note that a stage has ended; held-out figures of an earlier call are looked up."""
        if stage in _JUDGED and self.curves is not None:
            self.held_out = self.curves.last_held_out(stage) | self.held_out

    def counted(self, stage: str, unit: str) -> Callable[[int, int], None]:
        """A callback (done, total) for work that is not training, such as reading pictures.

        The callback raises `Interrupted` if the user wants to stop.
        """
        started = time.monotonic()
        anew = "" if stage in _KEPT else ", but this part begins anew"
        begun_at: int | None = None

        def tell(done: int, total: int) -> None:
            nonlocal begun_at
            begun_at = done if begun_at is None and stage in _KEPT else begun_at
            now = time.monotonic()
            if done < total and self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {total} {unit}; the same command goes on{anew}")
            self.on_progress(
                StageProgress(
                    stage=stage, done=done, total=total, unit=unit, elapsed_s=now - started, begun_at=begun_at or 0
                )
            )

        return tell

    def telling(self, units: dict[str, str]) -> Callable[[str, int, int], None]:
        """A callback (part, done, total) like that of `counted`, for work whose parts have different units."""
        parts: dict[str, Callable[[int, int], None]] = {}

        def tell(part: str, done: int, total: int) -> None:
            if part not in parts:
                parts[part] = self.counted(part, units[part])
            parts[part](done, total)

        return tell


def mean_gain_db(held_out: dict[str, float]) -> float | None:
    """Mean gain over the seven kernels in dB; None before the first evaluation."""
    gains = [held_out[kernel.value] for kernel in Kernel if kernel.value in held_out]
    return sum(gains) / len(gains) if gains else None


def _told(held_out: dict[str, float], before: dict[str, float | str]) -> dict[str, float | str]:
    """The figures on held-out pictures that are shown; between two evaluations they stay."""
    gain_db = mean_gain_db(held_out)
    if gain_db is not None:
        return {"held-out gain": f"{gain_db:+.2f} dB"}
    if "real" in held_out:
        return {"gain on real frames": f"{held_out['real']:+.2f} dB", "worst": f"{held_out['real, worst']:+.2f} dB"}
    of_windows = [name for name in ("windows", "rendered windows") if name in held_out]
    if of_windows:
        gains: dict[str, float | str] = {f"gain in {name}": f"{held_out[name]:+.2f} dB" for name in of_windows}
        return gains | {"kept": f"{100 * held_out[f'{of_windows[0]}, kept']:.0f} %"}
    if "lost_db" in held_out:
        return {"filter behind the best by": f"{held_out['lost_db']:.2f} dB"}
    return {name: value for name, value in before.items() if name != "loss"}
