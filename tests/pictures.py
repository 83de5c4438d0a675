"""Pictures for tests: public-domain photographs that come inside scikit-image."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data


@lru_cache(maxsize=1)
def _astronaut() -> npt.NDArray[np.uint8]:
    """Eileen Collins by NASA, public domain, 512x512 RGB."""
    return np.asarray(skimage.data.astronaut(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def photograph(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A photograph of any size, (height, width, 3) RGB, continued by mirroring where it is too small."""
    full = _astronaut()
    padded = np.pad(full, ((0, max(0, height - 512)), (0, max(0, width - 512)), (0, 0)), mode="reflect")
    return np.ascontiguousarray(padded[:height, :width])


def write_photographs(folder: Path) -> Path:
    """Write four pictures to train on into a folder, which is returned."""
    for number in range(4):
        part = np.roll(photograph(400, 400), 40 * number, axis=1)[:300, :320]
        cv2.imwrite(str(folder / f"p{number}.png"), np.ascontiguousarray(part[:, :, ::-1]))
    return folder
