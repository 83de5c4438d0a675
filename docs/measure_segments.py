"""Measures what segments cost: `python docs/measure_segments.py [--frames 1500] [--weights concert-fast]`.

A drawn clip is deblurred in one piece and in segments, in turns, each time in a process of its own; then one of twice
the length. It tells seconds of all processors and the most memory. The machine must be idle.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from measure_scale import draw  # beside this script

_CHILD = """
import json, resource, sys, time
from pathlib import Path
from concertdeblur.pipelines import deblur_video
from concertdeblur.pipelines.video_job import VideoJob
source, target, weights, in_one = sys.argv[1:]
if in_one == "True":
    deblur_video.is_segmented = lambda *_: False
job = VideoJob(weights=weights, overwrite=True)
began_s = time.perf_counter()
deblur_video.deblur_video(Path(source), Path(target), job)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - began_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def measured(source: Path, target: Path, weights: str, *, in_one: bool) -> tuple[float, float, float]:
    """Seconds, seconds of processors, and the most MiB of a run."""
    args = [sys.executable, "-c", _CHILD, str(source), str(target), weights, str(in_one)]
    told = subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    seconds, cpu_s, peak_mib = json.loads(told)
    return seconds, cpu_s, peak_mib


@click.command()
@click.option("--frames", "num_frames", default=1500, show_default=True, help="Of the shorter clip.")
@click.option("--height", "height_px", default=96, show_default=True, help="Of the clips.")
@click.option("--width", "width_px", default=160, show_default=True, help="Of the clips.")
@click.option("--weights", default="concert-fast", show_default=True, help="The weight set.")
@click.option("--rounds", default=2, show_default=True, help="The least of so many counts.")
def main(num_frames: int, height_px: int, width_px: int, weights: str, rounds: int) -> None:
    """Write a table to standard output."""
    click.echo("| frames | | seconds | of processors | most memory |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (num_frames, 2 * num_frames):
            clip = draw(folder / f"{count}.mp4", count, height_px=height_px, width_px=width_px)
            runs: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
            for _ in range(rounds):
                for in_one, made in runs.items():
                    made.append(measured(clip, folder / "out.mp4", weights, in_one=in_one))
            best = {in_one: tuple(min(figures) for figures in zip(*made, strict=True)) for in_one, made in runs.items()}
            for in_one, (seconds, cpu_s, peak_mib) in best.items():
                kind = "in one piece" if in_one else "in segments"
                click.echo(f"| {count:,} | {kind} | {seconds:.1f} | {cpu_s:.1f} | {peak_mib:.0f} MiB |")
            click.echo(f"| | in segments more | {best[False][0] / best[True][0] - 1:+.1%} | | |")


if __name__ == "__main__":
    main()
