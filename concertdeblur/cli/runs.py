"""How a long command runs: until it is done or a signal comes, and shown as the user asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from concertdeblur.cli.display import Display, display
from concertdeblur.cli.options import refuse_both
from concertdeblur.cli.signals import stop_on_signals


@contextmanager
def shown_run(
    *, as_json: bool, quiet: bool, piece: str = "frame", lost: str = "the output is not written"
) -> Iterator[tuple[Display, threading.Event]]:
    """What a run tells itself to, and the event that is set when it must end.

    Args:
        as_json: Show events for programs.
        quiet: Show nothing.
        piece: What is finished before the run ends.
        lost: What comes of the work if the run is interrupted at once.

    Raises:
        click.UsageError: If both events and silence are asked for.
        Interrupted: After a second SIGINT.

    """
    refuse_both(as_json, quiet)
    with (
        stop_on_signals(silent=as_json or quiet, piece=piece, lost=lost) as stop,
        display(as_json=as_json, quiet=quiet) as shown,
    ):
        yield shown, stop
