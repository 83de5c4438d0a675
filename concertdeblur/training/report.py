"""The reports that a training stage gives its caller now and then."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Progress of one stage."""

    stage: str
    step: int
    steps: int
    objective: float  # the loss that the network minimises
    figures: dict[str, float]  # of the step, for the curves
    held_out: dict[str, float]  # gain in dB by kernel on held-out pictures; empty between evaluations
    elapsed_s: float
    waited_s: float  # the part of it that was spent waiting for data
