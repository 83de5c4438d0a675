"""What long work tells of itself, stage by stage; only the command line draws it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class StageProgress:
    """How far one stage of a run has come."""

    stage: str  # what is being done, as shown: "download", "train iGAN"
    done: int
    total: int | None  # None: not known
    unit: str  # what is counted, plural: "frames", "steps"
    elapsed_s: float  # since this stage began here (what an earlier run did not counted)
    begun_at: int = 0  # `done` when this run took the stage up: speed and ETA count from here
    facts: Mapping[str, float | str] = field(default_factory=dict)  # figures to show beside it: {"loss": 0.021}


def runtime_text(runtime: str) -> str:
    """What the networks ran on, in words; "identity" is said where none ran."""
    return "no network: with strength 0 nothing is deblurred" if runtime == "identity" else runtime


def speed_text(rate_fps: float) -> str:
    """Frames a second, or seconds a frame where that reads better."""
    return f"{rate_fps:.1f} frames/s" if rate_fps >= 1 or rate_fps <= 0 else f"{1 / rate_fps:.1f} s a frame"


def duration_text(seconds: float) -> str:
    """A time span: 4.2 s, 3:05 min or 2:03:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"
