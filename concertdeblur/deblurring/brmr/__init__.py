"""Adversarial blurred region mining and refining: the paper's Algorithm 1."""

from concertdeblur.deblurring.brmr.loop import Brmr, BrmrSettings, Decisions, Refinement, Refinements, read_steps

__all__ = ["Brmr", "BrmrSettings", "Decisions", "Refinement", "Refinements", "read_steps"]
