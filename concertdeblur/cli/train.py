"""The command `train`: options -> a job -> one pipeline call."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from concertdeblur.cli.display import run_facts
from concertdeblur.cli.options import (
    FILE,
    GroupedCommand,
    OpenChoice,
    device_option,
    option,
    reporting,
    together,
)
from concertdeblur.cli.runs import shown_run

_RECIPE = OpenChoice("recipe", ("concert", "concert-fast", "concert-video", "gopro", "paper", "tiny"))
_STAGE = click.Choice(["analysis", "igan", "mining", "pgan", "video-igan", "smear", "video-pgan"])

# "\b" keeps click from filling the paragraph
_SEVERAL = """\b
Several GPUs: torchrun --nproc-per-node 4 -m concertdeblur train ...
"""


@click.command(cls=GroupedCommand, epilog=_SEVERAL)
@together(
    option(
        "Training", "--recipe", default="concert", show_default=True, metavar="NAME|FILE.toml",
        help="A shipped parameter set (concert, concert-fast, concert-video, gopro, paper, tiny), or your own: "
        "base = \"concert\" and what differs.",
    ),
    option(
        "Training", "--data", type=FILE, default=Path("dataset"), show_default=True, metavar="DIR",
        help="Sharp pictures, or pairs as build-dataset, GOPRO or REDS lay them out.",
    ),
    option(
        "Training", "--real", type=FILE, metavar="DIR",
        help="Real pairs as videos: clips NAME_blurred.mkv and NAME_sharp.mkv, or folders of frames as GOPRO and REDS "
        "have them. The blur of your own camera is learned from these.",
    ),
    option(
        "Training", "--clips", type=FILE, metavar="DIR",
        help="Clips, best sharp ones with motion: it blurs your pictures, and averages of frames give more pairs.",
    ),
    option(
        "Training", "--start-from", default="", metavar="NAME|FOLDER",
        help="Begin with the networks of a weight set, to adapt them to your own footage; they grow where the recipe's "
        "are larger.  [default: fresh networks]",
    ),
    option(
        "Training", "--out", type=FILE, metavar="DIR",
        help="Checkpoints, curves and the weight set go here.  [default: runs/<recipe>]",
    ),
    option(
        "Training", "--stage", type=_STAGE,
        help="Stop after this stage.  [default: all that the recipe has]",
    ),
    option(
        "Training", "--minutes", type=float, metavar="N",
        help="Save and stop after this time; the same command goes on.  [default: when the recipe is done]",
    ),
    device_option("Training", "What to train on; auto takes a CUDA GPU if there is one."),
)  # fmt: skip
@together(
    option("Going on", "--resume", is_flag=True, help="Fail unless DIR holds a run to go on with."),
    option(
        "Going on", "--restart", is_flag=True,
        help="Delete what the run in DIR has made; with --stage, from that stage on.",
    ),
)  # fmt: skip
@reporting
def train(*, recipe: str, start_from: str, out: Path | None, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Train a weight set on your own pictures.

    Runs the stages one after the other: iGAN, mining of the windows that stay blurred, pGAN; then iGAN and pGAN of
    videos, along the motion. If DIR already holds a run, it goes on exactly where it stopped; Ctrl-C saves first.
    'concertdeblur video --weights DIR/weights' uses the weight set that is made.
    """
    if choices["resume"] and choices["restart"]:
        raise click.UsageError("--resume and --restart do not go together.")
    lost = "the last checkpoint is kept, and the same command goes on from there"
    from concertdeblur.training.distributed import is_first_process

    is_shown = is_first_process()
    with shown_run(as_json=as_json and is_shown, quiet=quiet or not is_shown, piece="step", lost=lost) as (shown, stop):
        from concertdeblur.pipelines.train import TrainJob
        from concertdeblur.pipelines.train import train as run_stages
        from concertdeblur.training.recipe import read_recipe

        chosen = read_recipe(recipe)
        chosen = replace(chosen, start_from=start_from or chosen.start_from)
        job = TrainJob(recipe=chosen, out=out or Path("runs") / chosen.name, **choices)
        shown.start(run_facts("train", job))
        shown.done(run_stages(job, on_progress=shown.progress, on_warning=shown.warning, stop=stop))
