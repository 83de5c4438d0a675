"""What `doctor` found, as a table on standard output."""

import sys
from typing import TYPE_CHECKING

import click

from concertdeblur.cli.console import printable

if TYPE_CHECKING:
    from concertdeblur.pipelines.doctor import DoctorReport


def show_report(report: "DoctorReport") -> None:
    """Draw what `doctor` found, on standard output."""
    verdicts = [f"Broken: {problem}" for problem in report.problems]
    verdicts += [f"Missing: {advice}" for advice in report.advice]
    verdicts.append(report.fitness)
    if not sys.stdout.isatty():
        rows = [f"{name:<18} {text}" for name, text in report_rows(report)]
        click.echo("\n".join(printable(line) for line in (*rows, "", *verdicts)))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, text in report_rows(report):
        table.add_row(Text(printable(name)), Text(printable(text)))
    console = Console()
    console.print(table, "", *(Text(printable(verdict)) for verdict in verdicts), sep="\n")


def report_rows(report: "DoctorReport") -> list[tuple[str, str]]:
    """The rows of `doctor`'s table."""
    rows = [(part.name, part.version or "not installed") for part in report.parts]
    usable = [codec.name for codec in report.codecs if codec.is_usable]
    idle = [codec.name for codec in report.codecs if not codec.is_usable]
    rows.append(("encoders", ", ".join(usable) or "none"))
    if idle:
        rows.append(("", f"built in, but their device is not here: {', '.join(idle)}"))
    rows.append(("devices", ", ".join(report.devices)))
    rows.append(("would run on", report.runtime or "nothing"))
    busy = "" if report.busy_cores is None else f", {report.busy_cores:.1f} of them busy with other programs"
    rows.append(("cores", f"{report.num_cores}{busy}"))
    if report.memory_bytes is not None and report.free_memory_bytes is not None:
        rows.append(("memory", f"{report.memory_bytes / 2**30:.1f} GiB, {report.free_memory_bytes / 2**30:.1f} free"))
    for weights in report.weight_sets:
        state = f"checked, {weights.size_bytes / 1e6:.1f} MB" if weights.is_intact else weights.problem
        rows.append((f"weights '{weights.name}'", state))
    speed = report.frame_720p_s
    trust = "not reliable: the machine is busy" if report.is_busy else "estimate"
    rows.append(("at 1280x720", f"{speed:.2f} s a frame ({trust})" if speed is not None else report.no_speed_reason))
    return rows
