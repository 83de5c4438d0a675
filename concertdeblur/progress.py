"""The progress that long work reports, stage by stage; only the command line draws it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Progress(Protocol):
    """How far a run is, as a display takes it: stages tell it, and so does the clip that is deblurred."""

    def as_stage(self) -> "StageProgress":
        """The same as the progress of a stage, which is shown in words."""

    def event(self, *, num_counts: int, rate: float | None, left_s: float | None) -> dict[str, Any]:
        """The fields of the `progress` event for programs.

        Args:
            num_counts: How many times counting has begun, this time included.
            rate: Pieces a second; None while it is not known.
            left_s: Seconds until the end; None while they are not known.

        """


@dataclass(frozen=True, kw_only=True, slots=True)
class StageProgress:
    """How far one stage of a run is."""

    stage: str  # what is being done, as shown: "download", "train iGAN"; empty in a run of one stage
    done: int
    total: int | None  # None: not known
    unit: str  # what is counted, plural: "frames", "steps"
    elapsed_s: float  # since this stage began in this run; the time of an earlier run is left out
    begun_at: int | None = 0  # `done` when this run took it up; speed counts from here; None: from the first told
    facts: Mapping[str, float | str] = field(default_factory=dict)  # figures to show beside it: {"loss": 0.021}
    remark: str = ""  # words to show beside it
    pace_s: float = 15.0  # speed is that of so many last seconds; more where pieces come in groups

    def as_stage(self) -> "StageProgress":
        """A stage is told as it is."""
        return self

    def event(self, *, num_counts: int, rate: float | None, left_s: float | None) -> dict[str, Any]:
        """Every field, with speed and time left."""
        del num_counts  # the name of the stage says it
        fields = {**asdict(self), "facts": dict(self.facts), "rate": rate, "left_s": left_s}
        del fields["remark"], fields["pace_s"]  # they are for words only
        return fields


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
