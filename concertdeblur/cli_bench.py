"""The command `bench`: options -> a job -> one pipeline call."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from concertdeblur import __version__
from concertdeblur.console_stages import stage_display
from concertdeblur.exits import stop_on_signals
from concertdeblur.options import DEVICE, FILE, GroupedCommand, option, refuse_both, reporting, together


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A frame's size: WIDTHxHEIGHT."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(width, height); a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        width, sign, height = str(value).partition("x")
        if not sign or not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
            self.fail(f"{value!r} is no size; write WIDTHxHEIGHT, as 1280x720", param, ctx)
        return int(width), int(height)


@click.command(cls=GroupedCommand)
@together(
    option("Work", "--size", type=_Size(), default="1280x720", show_default=True, metavar="WxH", help="Of the frames."),
    option("Work", "--frames", type=int, default=8, show_default=True, metavar="N", help="Of each run."),
    option(
        "Work", "--rounds", type=int, default=3, show_default=True, metavar="N",
        help="File to file, network alone and codecs alone take turns so often; medians count.",
    ),
    option(
        "Work", "--weights", default="concert", show_default=True, metavar="NAME|FOLDER",
        help="A shipped weight set, or the folder of your own.",
    ),
    option(
        "Work", "--device", type=DEVICE, default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N",
        help="What the networks run on; auto takes a CUDA GPU if there is one.",
    ),
    option(
        "Work", "--backend", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True,
        help="auto takes OpenVINO on a CPU if it is installed.",
    ),
    option("Work", "--compare-backends", is_flag=True, help="Time eager torch, torch.compile and OpenVINO, too."),
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
