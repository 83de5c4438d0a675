"""Random numbers that blur is made with."""

from typing import TypeAlias

import numpy as np

Range: TypeAlias = tuple[float, float]  # least and most


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """A number whose logarithm is drawn evenly: from 1 to 2 as often as from 2 to 4."""
    return float(np.exp(rng.uniform(*np.log(limits))))
