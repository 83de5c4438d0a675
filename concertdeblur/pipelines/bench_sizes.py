"""`concertdeblur bench --sizes`: how time and memory grow with the frame, on one core and on two.

Each size is `concertdeblur video` over a generated clip, file to file, in a process that is held to so many cores.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concertdeblur import pretrained
from concertdeblur.benchmark.growth_plot import plot_growth
from concertdeblur.benchmark.scene import write_clip
from concertdeblur.benchmark.tables import SizeRow, SizesSummary
from concertdeblur.cpus import available_cpus
from concertdeblur.errors import UsageError
from concertdeblur.media.output_file import OutputFile
from concertdeblur.pipelines.bench_part import PartFailed, run_part
from concertdeblur.progress import StageProgress
from concertdeblur.runtime import choose_runtime

SIZES = ((160, 90), (320, 180), (640, 360), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))  # width, height
_THREADS = (1, 2)
_FULL_PX = 1280 * 720  # fewer frames are timed of larger sizes
_LEAST_FRAMES = 3  # as many frames as overlap


@dataclass(frozen=True, kw_only=True, slots=True)
class SizesJob:
    """What a user decides about the growth of cost."""

    weights: str = pretrained.DEFAULT_WEIGHTS
    frames: int = 8  # frames of each size up to 1280x720; larger sizes get fewer, but at least three
    backend: str = "auto"
    plot: Path | None = None  # a PNG to write
    overwrite: bool = False
    sizes: tuple[tuple[int, int], ...] = SIZES

    def __post_init__(self) -> None:
        if self.frames < _LEAST_FRAMES:
            raise UsageError(f"sizes need {_LEAST_FRAMES} frames at least, not {self.frames}")
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise UsageError(f"the plot is a PNG; {self.plot} does not end in .png")


def bench_sizes(
    job: SizesJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> SizesSummary:
    """Measure every size; takes minutes on a small machine, which should do nothing else meanwhile.

    Args:
        job: The user's choices.
        on_progress: Called before each size.
        on_warning: Called for each that does not run here, with the reason, and where there is one core only.
        stop: When set, the run ends.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; nothing is written then.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("this system cannot hold a process to some cores; --sizes runs on Linux")
    runtime = choose_runtime("cpu", job.backend)
    pretrained.check_files(folder := pretrained.find_weights(job.weights), pretrained.read_manifest(folder))
    threads = [number for number in _THREADS if number <= available_cpus()]
    if len(threads) < len(_THREADS):
        on_warning("this process may use one core only; two threads are not measured")
    started_s, rows = time.monotonic(), list[SizeRow]()
    with ExitStack() as stack:
        plot = stack.enter_context(OutputFile(job.plot, overwrite=job.overwrite)) if job.plot else None
        for width, height in job.sizes:
            clips = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="concertdeblur-bench-")))
            _write_clips(clips, width, height, job.frames)
            for number in threads:
                total, elapsed_s = len(job.sizes) * len(threads), time.monotonic() - started_s
                facts = {"size": f"{width}x{height}", "threads": str(number)}
                on_progress(
                    StageProgress(
                        stage="sizes", done=len(rows), total=total, unit="runs", elapsed_s=elapsed_s, facts=facts
                    )
                )
                what = {"part": "clips", "folder": str(clips), "weights": job.weights, "backend": runtime.backend}
                try:
                    found = run_part(what, stop or threading.Event(), cores=number)
                except PartFailed as error:
                    on_warning(f"{width}x{height} does not run with threads={number}: {error}")
                    found = {}
                rows.append(_row(width, height, number, found))
        if plot is not None:
            plot_growth(plot, rows)
    return SizesSummary(
        weights=job.weights,
        backend=str(runtime),
        rows=tuple(rows),
        plot=job.plot,
        elapsed_s=time.monotonic() - started_s,
    )


def _row(width: int, height: int, threads: int, found: dict[str, Any]) -> SizeRow:
    return SizeRow(
        width=width,
        height=height,
        threads=threads,
        seconds_per_frame=found.get("seconds_per_frame"),
        peak_rss_mb=found.get("peak_rss_mb"),
    )


def _write_clips(folder: Path, width: int, height: int, most: int) -> None:
    """Write a clip of one frame, after which everything is ready, and the clip that is timed."""
    (folder / "in").mkdir()
    num_frames = max(_LEAST_FRAMES, min(most, round(most * _FULL_PX / (width * height))))
    for name, number in (("0-warm.mp4", 1), ("1-timed.mp4", num_frames)):
        write_clip(folder / "in" / name, height=height, width=width, num_frames=number)
