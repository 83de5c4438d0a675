"""`concertdeblur studio`: options -> the studio's page."""

from pathlib import Path

import click

from concertdeblur import __version__
from concertdeblur.cli.console import say
from concertdeblur.cli.display import display
from concertdeblur.cli.options import (
    FILE,
    LOCAL_FILE,
    GroupedCommand,
    backend_option,
    device_option,
    option,
    refuse_both,
    reporting,
    together,
)
from concertdeblur.cli.signals import stop_on_signals


@click.command("studio", cls=GroupedCommand)
@click.argument("names", metavar="[IN...]", type=LOCAL_FILE, nargs=-1)
@together(
    option(
        "Deblurring", "--weights", metavar="NAME|FOLDER",
        help="A shipped weight set, or the folder of your own.  [default: the page offers best and fast]",
    ),
    device_option("Deblurring"),
    backend_option("Deblurring"),
    option(
        "Page", "--folder", type=FILE, metavar="FOLDER",
        help="Where uploaded clips and results are kept.  [default: ~/.local/state/concertdeblur/studio]",
    ),
    option("Page", "--no-open", is_flag=True, help="Do not open a browser; the address is written anyway."),
)  # fmt: skip
@reporting
def studio(
    names: tuple[Path, ...], *, weights: str | None, device: str, backend: str, folder: Path | None, no_open: bool,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Deblur clips and pictures on a page in the browser.

    Drop clips into the page, look at a moment before and after, and start. IN are clips or pictures to begin with; they
    are read where they lie. Ctrl-C ends; work that was going on goes on at the next start. The page is for this machine
    only, and nothing leaves it.
    """
    refuse_both(as_json, quiet)
    with (
        stop_on_signals(silent=True, lost="the next start goes on") as stop,
        display(as_json=as_json, quiet=quiet) as shown,
    ):
        from concertdeblur.studio.session import open_studio
        from concertdeblur.studio.workspace import default_folder

        def on_ready(address: str) -> None:
            facts = {"command": "studio", "version": __version__, "source": list(names), "address": address}
            shown.start(facts)
            if not as_json:
                say(f"The studio: {address}")
                say("Ctrl-C ends it; work that is going on then goes on at the next start.")

        networks = {"weights": weights, "device": device, "backend": backend}
        made = open_studio(
            names, folder or default_folder(), networks, stop=stop, on_ready=on_ready, on_warning=shown.warning,
            open_browser=not no_open,
        )  # fmt: skip
        if made is not None:
            shown.done(made)
        elif not as_json:
            say("It was open already; what you named is there now.")
