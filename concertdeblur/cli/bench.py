"""The command `bench`: options -> a job -> one pipeline call."""

import threading
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from concertdeblur.cli.display import Display, Summary, run_facts
from concertdeblur.cli.options import (
    FILE,
    GroupedCommand,
    GroupedOption,
    Pair,
    backend_option,
    device_option,
    option,
    reporting,
    together,
    weights_option,
)
from concertdeblur.cli.runs import shown_run

_SIZE = Pair(
    "WIDTHxHEIGHT",
    "([0-9]+)x([0-9]+)",
    lambda width, height: (int(width), int(height)),
    noun="size",
    example="1280x720",
)


@click.command(cls=GroupedCommand)
@together(
    option("Work", "--size", type=_SIZE, default="1280x720", show_default=True, metavar="WxH", help="Frame size."),
    option("Work", "--frames", type=int, default=8, show_default=True, metavar="N", help="Frames of each run."),
    option(
        "Work", "--rounds", type=int, default=3, show_default=True, metavar="N",
        help="Runs from file to file, of the network alone and of the codecs alone take turns so often; medians count.",
    ),
    weights_option("Work"),
    device_option("Work"),
    backend_option("Work"),
    option("Work", "--compare-backends", is_flag=True,
           help="Time eager torch, torch.compile and OpenVINO, and measure the default's loss against the first."),
    option("Work", "--peers", is_flag=True,
           help="Instead, time our networks and others for deblurring, on the CPU, as a table."),
    option("Work", "--sizes", is_flag=True,
           help="Instead, time frames from 160x90 to 3840x2160 on one core and two, as a table and a plot."),
)  # fmt: skip
@together(
    option(
        "Output",
        "--plot",
        type=FILE,
        metavar="FILE.png",
        help="Draw when each stage ran; with --sizes, how cost grows.",
    ),
    option("Output", "--overwrite", is_flag=True, help="Replace a plot that exists already."),
)
@reporting
@click.pass_context
def bench(
    ctx: click.Context,
    /,
    *,
    size: tuple[int, int],
    peers: bool,
    sizes: bool,
    as_json: bool,
    quiet: bool,
    **choices: Any,
) -> None:
    """Measure how fast this machine deblurs, as ratios of runs of one process.

    A generated clip is deblurred from file to file. Then the parts are timed: the networks alone, the codecs alone, the
    machine's matrix product, the paper's networks. Let the machine do nothing else meanwhile; on two cores it takes
    minutes.
    """
    if peers and sizes:
        raise click.UsageError("--peers and --sizes do not go together.")
    mode = "--peers" if peers else "--sizes" if sizes else ""
    _refuse_unused(ctx, mode)
    with shown_run(as_json=as_json, quiet=quiet, piece="part", lost="nothing is measured") as (shown, stop):
        run, job = _planned(mode, size, choices)
        shown.start(run_facts("bench", job))
        shown.done(run(job, shown, stop))


# The options that each mode uses, beside those of reporting
_USED = {"--peers": {"size", "frames"}, "--sizes": {"frames", "weights", "backend", "plot", "overwrite"}}


def _refuse_unused(ctx: click.Context, mode: str) -> None:
    """Refuse an option that the mode does not use."""
    for param in ctx.command.params:
        name = str(param.name)
        is_given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        is_of_work = isinstance(param, GroupedOption) and param.heading in ("Work", "Output")
        if mode and is_given and is_of_work and name not in _USED[mode] and param.opts[0] != mode:
            raise click.UsageError(f"{param.opts[0]} and {mode} do not go together.")


def _planned(
    mode: str, size: tuple[int, int], choices: dict[str, Any]
) -> tuple[Callable[[Any, Display, threading.Event], Summary], Any]:
    """The function that runs, and its job."""
    width, height = size
    used = {name: choices[name] for name in _USED.get(mode, ()) if name in choices}
    if mode == "--peers":
        from concertdeblur.pipelines.bench_peers import PeersJob, bench_peers

        return _warned(bench_peers), PeersJob(width=width, height=height, **used)
    if mode == "--sizes":
        from concertdeblur.pipelines.bench_sizes import SizesJob, bench_sizes

        return _warned(bench_sizes), SizesJob(**used)
    from concertdeblur.pipelines.bench import BenchJob
    from concertdeblur.pipelines.bench import bench as run_bench

    return (
        lambda job, shown, stop: run_bench(job, on_progress=shown.progress, stop=stop),
        BenchJob(width=width, height=height, **choices),
    )


def _warned(run: Callable[..., Summary]) -> Callable[[Any, Display, threading.Event], Summary]:
    return lambda job, shown, stop: run(job, on_progress=shown.progress, on_warning=shown.warning, stop=stop)
