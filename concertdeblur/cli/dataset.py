"""`concertdeblur build-dataset`: options -> a job -> the pipeline."""

from pathlib import Path
from typing import Any

import click

from concertdeblur.cli.display import run_facts
from concertdeblur.cli.exits import show_traceback
from concertdeblur.cli.options import FILE, GroupedCommand, cluster_option, is_debugging, option, reporting, together
from concertdeblur.cli.runs import shown_run

_LIST_HELP = """\b
The list has one source a line: a URL, a file or a folder; then, if you like, a title and a licence, parted by
tabs or ' | ':
  https://example.org/watch?v=1 | Rehearsal | CC-BY-4.0
  clips/encore.mp4              | Encore
  "clips/song | band # 1.mp4"   | quotes keep what a name holds
  # a comment
"""


@click.command("build-dataset", cls=GroupedCommand, epilog=_LIST_HELP)
@together(
    option("Sources", "--urls", type=FILE, required=True, metavar="FILE", help="The list of clips."),
    option(
        "Sources", "--limit", type=int, default=50, show_default=True, metavar="N",
        help="The most clips of a playlist.",
    ),
    option(
        "Sources", "--list-again", is_flag=True,
        help="List playlists again, and fetch the clips that were added since.",
    ),
    option("Sources", "--cookies", type=FILE, metavar="FILE", help="Cookies for downloads, in Netscape's format."),
    option("Sources", "--rate-limit", "rate_limit_mb_s", type=float, metavar="MB/S", help="Download no faster."),
)  # fmt: skip
@together(
    option(
        "Frames", "--size", type=int, default=256, show_default=True, metavar="PX",
        help="Side of the crops, 256 or more to train with; smaller frames are skipped, none is enlarged.",
    ),
    option("Frames", "--full", is_flag=True, help="Keep whole frames instead of crops."),
    option("Frames", "--crops", type=int, default=1, show_default=True, metavar="N", help="The most crops of a frame."),
    option(
        "Frames", "--max-frames", type=int, default=40, show_default=True, metavar="N",
        help="The most frames of a source.",
    ),
    option(
        "Frames", "--min-sharpness", type=float, default=0.75, show_default=True, metavar="0..2",
        help="Frames must be this sharp: 1 is a good photograph; less takes softer clips.",
    ),
    option(
        "Frames", "--shots", type=click.Choice(["auto", "scenedetect", "transnetv2"]), default="auto",
        show_default=True, help="What finds the shots; auto takes TransNetV2 if its package is installed.",
    ),
)  # fmt: skip
@together(
    option(
        "Blur", "--levels", default="0.5", show_default=True, metavar="0..1,...|random",
        help="Strength of the seven blurs; each further level makes further pairs.",
    ),
    option(
        "Blur", "--capture", type=int, default=0, show_default=True, metavar="N",
        help="Further pairs of each crop, blurred as a real camera does it.",
    ),
    option("Blur", "--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of all random choices."),
)  # fmt: skip
@together(
    option(
        "Output", "--out", "target", type=FILE, default=Path("dataset"), show_default=True, metavar="DIR",
        help="The data set's folder; a run that was stopped goes on there.",
    ),
    cluster_option,
)  # fmt: skip
@reporting
def build_dataset(*, urls: Path, target: Path, levels: str, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Build a training set from a list of clips.

    Finds the shots of each clip and their sharpest frames, crops them, and blurs each crop with the seven kernels of
    the paper. Look at DIR/summary.html; review the frames with 'concertdeblur annotate DIR'; a second run applies the
    review.
    """
    with shown_run(as_json=as_json, quiet=quiet) as (shown, stop):
        from concertdeblur.pipelines.build_dataset import build_dataset as build
        from concertdeblur.pipelines.dataset_job import DatasetJob, parse_levels

        job = DatasetJob(levels=parse_levels(levels), **choices)
        shown.start(run_facts("build-dataset", job, source=urls, target=target))
        shown.done(
            build(
                urls, target, job, on_progress=shown.progress, on_warning=shown.warning,
                on_failure=show_traceback if is_debugging() else lambda _: None, stop=stop,
            )
        )  # fmt: skip
