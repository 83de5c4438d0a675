"""The command `bench`: options -> a job -> one pipeline call."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from concertdeblur import __version__
from concertdeblur.cli.exits import stop_on_signals
from concertdeblur.cli.options import (
    FILE,
    GroupedCommand,
    Pair,
    backend_option,
    device_option,
    option,
    refuse_both,
    reporting,
    together,
    weights_option,
)
from concertdeblur.cli.stages import stage_display

_SIZE = Pair(
    "WIDTHxHEIGHT",
    "([0-9]+)x([0-9]+)",
    lambda width, height: (int(width), int(height)),
    noun="size",
    example="1280x720",
)


@click.command(cls=GroupedCommand)
@together(
    option("Work", "--size", type=_SIZE, default="1280x720", show_default=True, metavar="WxH", help="Of the frames."),
    option("Work", "--frames", type=int, default=8, show_default=True, metavar="N", help="Of each run."),
    option(
        "Work", "--rounds", type=int, default=3, show_default=True, metavar="N",
        help="File to file, network alone and codecs alone take turns so often; medians count.",
    ),
    weights_option("Work"),
    device_option("Work"),
    backend_option("Work"),
    option("Work", "--compare-backends", is_flag=True,
           help="Time eager torch, torch.compile and OpenVINO, and say what the default loses against the first."),
)  # fmt: skip
@together(
    option("Output", "--plot", type=FILE, metavar="FILE.png", help="Draw when each stage ran."),
    option("Output", "--overwrite", is_flag=True, help="Replace a plot that exists already."),
)
@reporting
def bench(*, size: tuple[int, int], plot: Path | None, as_json: bool, quiet: bool, **choices: Any) -> None:
    """Measure how fast this machine deblurs, as ratios of runs of one process.

    A clip is generated, deblurred file to file, and taken apart: the networks alone, the codecs alone, the machine's
    matrix product, the paper's networks. Let the machine do nothing else meanwhile; on two cores it takes minutes.
    """
    refuse_both(as_json, quiet)
    with (
        stop_on_signals(silent=as_json or quiet, piece="part", lost="nothing is measured") as stop,
        stage_display(as_json=as_json, quiet=quiet) as shown,
    ):
        from concertdeblur.pipelines.bench import BenchJob
        from concertdeblur.pipelines.bench import bench as run_bench

        job = BenchJob(width=size[0], height=size[1], plot=plot, **choices)
        shown.start({"command": "bench", "version": __version__, "options": asdict(job)})
        shown.done(run_bench(job, on_progress=shown.progress, stop=stop))
