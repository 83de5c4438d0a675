"""The command line: what users type, and what they read."""

from concertdeblur.cli.program import main

__all__ = ["main"]
