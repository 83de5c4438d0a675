"""Peak signal-to-noise ratio; every figure of this project is computed with this one."""

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_DB = 100.0


def psnr_db(picture: npt.NDArray[Any], reference: npt.NDArray[Any], *, full_scale: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all values of two arrays of one shape; `MOST_DB` where they are equal.

    Args:
        picture: The picture that is judged.
        reference: The picture that it should be.
        full_scale: The value of white in both.
    """
    error = float(np.mean((picture.astype(np.float64) - reference) ** 2)) / full_scale**2
    return min(MOST_DB, -10 * float(np.log10(max(error, 1e-12))))
