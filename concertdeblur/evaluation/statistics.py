"""Means with their 95 % bootstrap interval. Pictures are resampled, since versions of one are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_RESAMPLES = 2000
_CONFIDENCE_PERCENT = 95


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean and its 95 % interval. With one group alone the interval has no width, and says nothing."""

    mean: float
    low: float
    high: float
    num: int  # number of values
    num_groups: int  # number of groups that were resampled: pictures, or their clips

    def text(self, digits: int = 2, *, sign: bool = False) -> str:
        """The mean and the interval: `31.20 (30.85 to 31.62)`."""
        form = f"{'+' if sign else ''}.{digits}f"
        mean, low, high = (f"{round(value, digits) + 0.0:{form}}" for value in (self.mean, self.low, self.high))
        return mean if self.num_groups < 2 else f"{mean} ({low} to {high})"


def estimate(values: Sequence[float], groups: Sequence[str], *, seed: int = 0) -> Estimate:
    """The mean of all values and its percentile bootstrap interval (Efron 1979).

    Args:
        values: At least one value; all count alike.
        groups: The group of each value; whole groups are drawn, with replacement.
        seed: Seed of the draws, which makes the figures reproducible.
    """
    assert len(values) == len(groups) > 0
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(member, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(member)
    drawn = np.random.default_rng(seed).integers(len(names), size=(NUM_RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    tail = (100 - _CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(
        mean=float(sums.sum() / counts.sum()), low=float(low), high=float(high), num=len(values), num_groups=len(names)
    )
