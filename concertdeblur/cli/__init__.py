"""The command line: what users type, see and are told."""

from concertdeblur.cli.program import main

__all__ = ["main"]
