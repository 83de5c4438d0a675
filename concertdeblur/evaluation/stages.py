"""The stages of an evaluation: they tell how far it is, and where it may be stopped."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from concertdeblur.errors import Interrupted
from concertdeblur.progress import StageProgress

Step = Callable[[Mapping[str, float | str]], None]  # called after each piece, with figures to show beside it


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """The stages of one evaluation."""

    on_progress: Callable[[StageProgress], None]
    stop: threading.Event

    def begin(self, name: str, total: int, unit: str) -> Step:
        """Begin a stage.

        Args:
            name: The name that is shown.
            total: Number of pieces.
            unit: The noun for the pieces, plural.

        Returns:
            A function to be called after each piece; it raises `Interrupted` if the user wants to stop.
        """
        started_s = time.monotonic()
        done = 0
        self.on_progress(StageProgress(stage=name, done=0, total=total, unit=unit, elapsed_s=0.0))

        def step(facts: Mapping[str, float | str]) -> None:
            nonlocal done
            done += 1
            elapsed_s = time.monotonic() - started_s
            self.on_progress(
                StageProgress(stage=name, done=done, total=total, unit=unit, elapsed_s=elapsed_s, facts=facts)
            )
            if self.stop.is_set():
                raise Interrupted(f"stopped after {done} of {total} {unit} ({name}); no report is written")

        return step
