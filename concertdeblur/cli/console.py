"""The terminal: words go to standard error, and standard output carries nothing but JSON lines and `doctor`'s table."""

import errno
import json
import threading
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import click


def printable(text: str) -> str:
    """One line without control characters: a file name cannot move the cursor or fake a message."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def say(message: str) -> None:
    """Write one line on standard error.

    Nothing happens if its terminal was closed, which ends the run anyway, or if it goes to a full disk: a log that
    cannot grow must not end hours of work.
    """
    try:
        click.echo(printable(message), err=True)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


_EVENTS = threading.Lock()  # warnings come from other threads than progress


def write_event(event: str, facts: Mapping[str, Any]) -> None:
    """Write one JSON object as one line on standard output, at once."""
    line = json.dumps({"event": event, **facts}, default=_plain)
    with _EVENTS:
        click.echo(line)


def _plain(value: object) -> str | float:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for {value!r}")
