"""Adversarial blurred region mining and refining (BRMR), the paper's Algorithm 1; `loop.py` shows it line by line."""

from concertdeblur.deblurring.brmr.judging import Judge
from concertdeblur.deblurring.brmr.loop import Brmr
from concertdeblur.deblurring.brmr.settings import BrmrSettings, with_present_names
from concertdeblur.deblurring.brmr.state import Decisions, Refinement, Refinements, read_steps
from concertdeblur.deblurring.brmr.windows import PathWindows, windows_at_once

__all__ = [
    "Brmr",
    "BrmrSettings",
    "Decisions",
    "Judge",
    "PathWindows",
    "Refinement",
    "Refinements",
    "read_steps",
    "windows_at_once",
    "with_present_names",
]
