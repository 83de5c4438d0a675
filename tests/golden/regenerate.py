"""Writes the golden figures again: `python -m tests.golden.regenerate`, after weights changed on purpose."""

import json
from pathlib import Path

import numpy as np

import concertdeblur
from concertdeblur.blur import Kernel, blur
from concertdeblur.deblurring.deblurrer import Deblurrer
from tests.pictures import photograph

GOLDEN_FILE = Path(__file__).with_name("concert.json")


def golden_figures(deblurrer: Deblurrer) -> dict[str, list[float]]:
    """Means of 8x8 blocks of each channel of deblurred photographs, in grey levels."""
    figures: dict[str, list[float]] = {}
    for kernel in (Kernel.AVERAGING, Kernel.VERTICAL, Kernel.MEDIAN):
        made = deblurrer.deblur(blur(photograph(128, 160), kernel, 0.5), refine=False).astype(np.float64)
        blocks = made.reshape(16, 8, 20, 8, 3).mean((1, 3))
        figures[kernel.value] = blocks.reshape(-1).round(2).tolist()
    return figures


if __name__ == "__main__":
    deblurrer = concertdeblur.load("concert", device="cpu", backend="torch")
    GOLDEN_FILE.write_text(json.dumps(golden_figures(deblurrer)) + "\n")
