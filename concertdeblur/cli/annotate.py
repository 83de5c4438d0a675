"""`concertdeblur annotate`: options -> the review page."""

from pathlib import Path

import click

from concertdeblur import __version__
from concertdeblur.cli.console import say
from concertdeblur.cli.display import display
from concertdeblur.cli.options import FILE, GroupedCommand, option, refuse_both, reporting
from concertdeblur.cli.signals import stop_on_signals


@click.command("annotate", cls=GroupedCommand)
@click.argument("dataset", metavar="DATASET", type=FILE)
@option("Page", "--no-open", is_flag=True, help="Do not open a browser; the address is written anyway.")
@reporting
def annotate(dataset: Path, *, no_open: bool, as_json: bool, quiet: bool) -> None:
    """Review the frames of a data set in a browser.

    DATASET is a folder made by build-dataset. Keys 1 to 8 name the shot type, Enter keeps the suggestion, X drops the
    frame, and U undoes the last decision. Every decision is saved at once; Ctrl-C ends. The page can be opened on this
    machine only.
    """
    refuse_both(as_json, quiet)
    with (
        stop_on_signals(silent=True, lost="every decision is saved") as stop,
        display(as_json=as_json, quiet=quiet) as shown,
    ):
        from concertdeblur.pipelines.annotate import annotate as serve

        def on_ready(address: str) -> None:
            shown.start({"command": "annotate", "version": __version__, "source": dataset, "address": address})
            if not as_json:
                say(f"Review page: {address}")
                say("Ctrl-C ends; every decision is saved at once.")

        shown.done(serve(dataset, stop=stop, on_ready=on_ready, open_browser=not no_open))
