"""Makes the picture of the README: `python docs/before_after.py` writes `before_after.png` beside itself.

Photographs: scikit-image's astronaut (NASA), coffee (Rachel Michetti) and chelsea (Stefan van der Walt), public domain.
"""

from pathlib import Path

import cv2
import numpy as np
import skimage.data

import concertdeblur
from concertdeblur.blur import Kernel, blur

SIDE_PX = 256
ROWS = (
    ("astronaut", Kernel.HORIZONTAL, 30, 100),
    ("coffee", Kernel.AVERAGING, 100, 180),
    ("chelsea", Kernel.GAUSSIAN, 20, 90),
)


def main() -> None:
    """Blur, deblur, and put before, after and the original side by side."""
    deblurrer = concertdeblur.load("concert", device="cpu", backend="torch")
    rows = []
    for name, kernel, y, x in ROWS:
        sharp = np.asarray(getattr(skimage.data, name)(), dtype=np.uint8)[y : y + SIDE_PX, x : x + SIDE_PX]
        blurred = blur(np.ascontiguousarray(sharp), kernel, 0.5)
        rows.append(np.concatenate([blurred, deblurrer.deblur(blurred), sharp], axis=1))
    cv2.imwrite(str(Path(__file__).with_name("before_after.png")), np.concatenate(rows)[:, :, ::-1])


if __name__ == "__main__":
    main()
