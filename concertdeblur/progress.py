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
