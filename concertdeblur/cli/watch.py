"""The command `watch`: a folder whose clips are deblurred as they come."""

from pathlib import Path
from typing import Any

import click

from concertdeblur.cli.display import run_facts
from concertdeblur.cli.exits import describe_error, show_traceback
from concertdeblur.cli.options import (
    CODEC,
    LOCAL_FILE,
    GroupedCommand,
    deblurring_options,
    is_debugging,
    option,
    reporting,
    together,
)
from concertdeblur.cli.runs import shown_run


@click.command(cls=GroupedCommand)
@click.argument("source", metavar="IN", type=LOCAL_FILE)
@click.argument("target", metavar="OUT", type=LOCAL_FILE)
@deblurring_options
@together(
    option(
        "Input", "--settle", "settle_s", type=float, default=10, show_default=True, metavar="SECONDS",
        help="A clip is taken when its size and date have not changed for so long.",
    ),
    option("Input", "--recursive", is_flag=True, help="Take the clips of subfolders, too."),
    option("Input", "--deinterlace", is_flag=True, help="Take interlaced clips, which fail otherwise."),
    option("Output", "--codec", type=CODEC, metavar="h264|hevc|av1|ffv1|prores|...", help="As for 'video'."),
    option("Output", "--crf", type=float, metavar="N", help="As for 'video'."),
    option("Output", "--preset", metavar="NAME", help="As for 'video'."),
    option("Output", "--compatible", is_flag=True, help="As for 'video': write files that play everywhere."),
)  # fmt: skip
@reporting
def watch(
    source: Path, target: Path, *, settle_s: float, recursive: bool, no_refine: bool, as_json: bool, quiet: bool,
    **choices: Any,
) -> None:  # fmt: skip
    """Deblur clips as they appear in the folder IN, one after the other, into the folder OUT.

    A clip that has its output is done. One that fails is named in OUT/watch.log, and tried again when its file changes.
    One that changes after it was taken is named there, too.
    Ctrl-C or SIGTERM ends the watch; the next watch goes on with a long clip that was stopped.
    """
    debugging = is_debugging()
    with shown_run(as_json=as_json, quiet=quiet) as (shown, stop):
        from concertdeblur.pipelines.video_job import VideoJob
        from concertdeblur.pipelines.watch_folder import WatchedFolder, watch_folder

        def on_failure(path: Path, error: Exception) -> str:
            if debugging:
                show_traceback(error)
            sentence, _ = describe_error(error)
            shown.warning(sentence if path.name in sentence else f"{path}: {sentence}")
            return sentence

        job = VideoJob(refine=not no_refine, **choices)
        watched = WatchedFolder(
            source=source, target=target, settle_s=settle_s, recursive=recursive, as_mp4=job.compatible
        )
        shown.start(run_facts("watch", job, source=source, target=target))
        shown.note(f"watches {source}; what went well or wrong is in {target / 'watch.log'}")
        for made in watch_folder(
            watched, job, stop=stop, on_progress=shown.progress, on_warning=shown.warning, on_note=shown.note,
            on_failure=on_failure,
        ):  # fmt: skip
            shown.done(made)
