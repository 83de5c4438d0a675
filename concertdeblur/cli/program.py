"""The command line: options -> a job -> one pipeline call -> an exit code.

Torch, OpenCV and PyAV are imported by the commands that need them: `--help` and completion answer at once.
"""

import contextlib
import errno
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from concertdeblur import __version__
from concertdeblur.cli.annotate import annotate
from concertdeblur.cli.bench import bench
from concertdeblur.cli.console import write_event
from concertdeblur.cli.dataset import build_dataset
from concertdeblur.cli.display import display, run_facts
from concertdeblur.cli.doctor_table import show_report
from concertdeblur.cli.evaluate import evaluate
from concertdeblur.cli.exits import flush_output, open_missing_streams, report_error, warn_of_failure
from concertdeblur.cli.options import (
    FILE,
    LOCAL_FILE,
    GroupedCommand,
    backend_option,
    command_for,
    deblurring_options,
    debugging,
    device_option,
    is_debugging,
    option,
    overwrite_option,
    refuse_both,
    reporting,
    together,
    weights_option,
)
from concertdeblur.cli.signals import interrupt_on_signals
from concertdeblur.cli.studio import studio
from concertdeblur.cli.train import train
from concertdeblur.cli.video import video
from concertdeblur.cli.watch import watch

# "\b" keeps click from filling the paragraph
_COMPLETION_FILES = """\b
bash: concertdeblur completion bash > ~/.local/share/bash-completion/completions/concertdeblur
zsh:  concertdeblur completion zsh > _concertdeblur, in a folder of $fpath
fish: concertdeblur completion fish > ~/.config/fish/completions/concertdeblur.fish
"""

_MOST_NAMED = 10  # of files in one line


class Program(click.Group):
    """The group of commands; whatever ends it is one sentence and an exit code."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run a command line and exit."""
        given = sys.argv[1:] if args is None else list(args)
        flags = given[: given.index("--")] if "--" in given else given
        try:
            extra["standalone_mode"] = False
            code = super().main(given, prog_name or "concertdeblur", **extra) or 0
            flush_output()
        except Exception as error:
            if isinstance(error, BrokenPipeError) or getattr(error, "errno", None) == errno.EPIPE:
                sys.exit(1)  # who reads standard output has gone: nobody to tell
            code = report_error(error, as_json="--json" in flags, debug="--debug" in flags)
            # what a full disk refused stays in the buffer; Python's own last flush would end with code 120
            with contextlib.suppress(OSError):
                flush_output()
        sys.exit(code)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command; a file's name in its place is answered with the command that was meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and (meant := command_for(name)):
            given = " ".join(shlex.quote(arg) for arg in args)
            raise click.UsageError(f"{name!r} is no command. Did you mean 'concertdeblur {meant} {given}'?", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="concertdeblur")
def cli() -> None:
    """Turn blurry concert footage into sharper footage, its sound and timing untouched."""


@cli.command(cls=GroupedCommand)
@click.argument("paths", metavar="IN... [OUT]", type=LOCAL_FILE, nargs=-1, required=True)
@deblurring_options
@together(
    option("Input", "--recursive", is_flag=True, help="Search folders with their subfolders."),
    option(
        "Output", "--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, metavar="1..100",
        help="Quality, and so size, of JPEG files; --quality chooses the networks.",
    ),
    option(
        "Output", "--strip-metadata", is_flag=True,
        help="Leave out EXIF, place, XMP, text and resolution; the colour profile stays, or colours would change.",
    ),
    option(
        "Output", "--keep-date/--no-keep-date", default=None,
        help="Give the output the file date of the input.  [default: for the pictures of folders]",
    ),
    option(
        "Output", "--skip-existing", is_flag=True,
        help="Skip pictures whose output exists; in folders this is always so.",
    ),
    option(
        "Output", "--heatmap", type=FILE, metavar="FILE.png",
        help="Write a second picture that shows in colours what is still blurred.",
    ),
    option(
        "Output", "--compare", type=FILE, metavar="FILE",
        help="Write another picture with before and after side by side.",
    ),
    overwrite_option,
)  # fmt: skip
@reporting
def image(paths: tuple[Path, ...], *, no_refine: bool, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Deblur pictures, or folders of pictures.

    IN is a picture (jpg, png, webp, tif, avif, heic, gif, bmp) or a folder, OUT the file to write: jpg, png, webp, tif,
    avif or bmp, by its name; or a folder. Without OUT, photo.jpg becomes photo.deblurred.jpg beside it. Colour profile,
    EXIF, XMP, bits and transparency are kept; every picture of an animation or of pages is deblurred. In a folder,
    pictures whose output exists are done already, and one that fails does not stop the others.
    """
    refuse_both(as_json, quiet)
    with interrupt_on_signals(), display(as_json=as_json, quiet=quiet) as shown:
        from concertdeblur.pipelines.batch import BatchCount
        from concertdeblur.pipelines.deblur_image import ImageJob, deblur_image
        from concertdeblur.pipelines.image_batch import batch_text, deblur_images, passed_over, plan_images

        job = ImageJob(refine=not no_refine, **choices)
        tasks = plan_images(paths, job)
        if others := passed_over(paths[:1] if len(paths) == 1 else paths[:-1], job):
            names = ", ".join(path.name for path in others[:_MOST_NAMED]) + (
                ", ..." if len(others) > _MOST_NAMED else ""
            )
            shown.warning(f"{len(others)} pictures of kinds that are not supported are passed over: {names}")
        if len(tasks) == 1 and not (tasks[0].is_of_folder or job.skip_existing):
            source, target = tasks[0].source, tasks[0].target
            tasks[0].make_folder()
            shown.start(run_facts("image", job, source=source, target=target))
            shown.done(deblur_image(source, target, job, on_warning=shown.warning))
            return
        shown.start(run_facts("image", job, source=paths[0], target=tasks[0].target.parent))
        count, debug = BatchCount(), is_debugging()
        made = deblur_images(
            tasks, job, count=count, on_warning=shown.warning,
            on_failure=lambda path, error: warn_of_failure(shown, path, error, debug=debug),
        )  # fmt: skip
        for summary in made:
            shown.done(summary)
        if not as_json:
            shown.note(batch_text(count) + ".")


@cli.command(cls=GroupedCommand)
@together(
    weights_option("Trial", "The weight set to time."),
    device_option("Trial", "What to time it on."),
    backend_option("Trial", "What to time it with."),
    option("Reporting", "--json", "as_json", is_flag=True, help="Write the report as one JSON object."),
    debugging,
)
@click.pass_context
def doctor(ctx: click.Context, *, weights: str, device: str, backend: str, as_json: bool) -> None:
    """Say what is installed, what would run, and how fast.

    Times a few frames of 1280x720, which takes some seconds. Exits with 1 if something needed is broken.
    """
    with interrupt_on_signals():
        from concertdeblur.pipelines.doctor import diagnose

        report = diagnose(weights=weights, device=device, backend=backend)
    if as_json:
        write_event("report", asdict(report))
    else:
        show_report(report)
    ctx.exit(1 if report.problems else 0)


@cli.command(cls=GroupedCommand, epilog=_COMPLETION_FILES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(cli, {}, "concertdeblur", "_CONCERTDEBLUR_COMPLETE").source())


cli.add_command(video)
cli.add_command(watch)
cli.add_command(studio)
cli.add_command(train)
cli.add_command(build_dataset)
cli.add_command(evaluate)
cli.add_command(annotate)
cli.add_command(bench)


def main() -> None:
    """Run the command line: the console script `concertdeblur`."""
    open_missing_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn their developers; users get our own warnings
    cli.main()
