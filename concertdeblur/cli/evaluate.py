"""The command `evaluate`: options -> a job -> one pipeline call."""

from pathlib import Path
from typing import Any

import click

from concertdeblur.cli.display import run_facts
from concertdeblur.cli.options import (
    FILE,
    GroupedCommand,
    Pair,
    backend_option,
    device_option,
    option,
    reporting,
    together,
    weights_option,
)
from concertdeblur.cli.runs import shown_run

_BASELINE = Pair(
    "NAME=FOLDER",
    r"([^=]*[^\s=][^=]*)=(.+)",
    lambda name, folder: (name.strip(), Path(folder)),
    noun="baseline",
    example="deblurgan=runs/deblurgan",
)


@click.command(cls=GroupedCommand)
@together(
    option(
        "Data", "--data", type=FILE, metavar="DIR",
        help="Sharp pictures, which are blurred on the fly, or pairs as build-dataset, GOPRO or REDS lay them out.",
    ),
    option(
        "Data", "--all", "is_all", is_flag=True,
        help="Take all pictures.  [default: those that training holds out]",
    ),
    option(
        "Data", "--real", type=FILE, metavar="DIR",
        help="Real pairs, measured as videos: clips NAME_blurred.EXT and NAME_sharp.EXT, or folders of consecutive"
        " frames as GOPRO or REDS lay them out.",
    ),
    option(
        "Data", "--max-frames", type=int, metavar="N",
        help="The most frames of each real clip, from its start.  [default: all]",
    ),
    option(
        "Data", "--picture-by-picture", is_flag=True,
        help="Deblur the frames of --real as single pictures, too, as a further column.",
    ),
    option(
        "Data", "--clip", "clips", type=FILE, multiple=True, metavar="FILE",
        help="A clip without sharp truth, whose warping error is measured, too; may be repeated.",
    ),
    option("Data", "--limit", type=int, metavar="N", help="The most pictures, evenly chosen.  [default: no limit]"),
    option(
        "Data", "--level", type=float, default=0.5, show_default=True, metavar="0..1",
        help="Strength of the seven blurs; 0.5 is the protocol's.",
    ),
)  # fmt: skip
@together(
    weights_option("Contenders"),
    option(
        "Contenders", "--baseline", "baselines", type=_BASELINE, multiple=True, metavar="NAME=FOLDER",
        help="Another contender: the folder of a baseline, or of another weight set; may be repeated.",
    ),
    device_option("Contenders"),
    backend_option("Contenders"),
)  # fmt: skip
@together(
    option(
        "Output", "--out", "target", type=FILE, required=True, metavar="DIR",
        help="The report's folder: report.html, report.md and report.json.",
    ),
    option("Output", "--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of all random choices."),
    option("Output", "--overwrite", is_flag=True, help="Replace a report that exists already."),
)  # fmt: skip
@reporting
def evaluate(*, data: Path | None, target: Path, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Measure what a weight set is worth.

    With --data it makes the paper's tables of your pictures: PSNR and SSIM by kernel and shot type, for the blurred
    input, baselines, iGAN alone and adversarial BRMR; what refining and blur detection did; and what became of sharp
    pictures. With --real it measures real pairs as videos: the gain of iGAN alone and of BRMR in each clip, the worst
    frame, how steady it is, how long a frame takes, and the windows that were kept. Each figure has its 95 % bootstrap
    interval. Nothing is written before everything is done.
    """
    lost = "no report is written"
    with shown_run(as_json=as_json, quiet=quiet, piece="picture", lost=lost) as (shown, stop):
        from concertdeblur.pipelines.evaluate import EvaluateJob
        from concertdeblur.pipelines.evaluate import evaluate as run_evaluation

        job = EvaluateJob(**choices)
        shown.start(run_facts("evaluate", job, source=data or job.real, target=target))
        made = run_evaluation(data, target, job, on_progress=shown.progress, on_warning=shown.warning, stop=stop)
        shown.done(made)
