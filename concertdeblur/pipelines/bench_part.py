"""One part of `concertdeblur bench --peers` or `--sizes`, measured in its own process.

So the memory is that of the part alone, and its cores can be limited before torch starts threads. `run_part` starts
`python -m concertdeblur.pipelines.bench_part` with what to measure as JSON, and reads the answer, one JSON line.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from concertdeblur.errors import Interrupted

_POLL_S = 0.1
_CORES = "CONCERTDEBLUR_BENCH_CORES"  # numbers of the cores of a part


class PartFailed(Exception):
    """A part did not run here; the message says why, for a table."""


def run_part(what: Mapping[str, Any], stop: threading.Event, *, cores: int | None = None) -> dict[str, Any]:
    """Measure one part and wait for it.

    Args:
        what: The keyword arguments of `measure` (a contender) or `time_clips` (sizes), with "part" as its name.
        stop: When set, the part is ended.
        cores: How many of this process's cores it may use; None: all.

    Raises:
        PartFailed: If it ended with an error.
        Interrupted: If `stop` is set.
    """
    command = [sys.executable, "-m", "concertdeblur.pipelines.bench_part", json.dumps(dict(what))]
    environment = dict(os.environ)
    if cores is not None:
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        environment |= {"OMP_NUM_THREADS": str(cores), _CORES: ",".join(map(str, allowed))}
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complained:
        # a new session: Ctrl-C in a terminal then reaches this process only, which ends the part
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=complained, start_new_session=True
        )
        try:
            while process.poll() is None:
                if stop.wait(_POLL_S):
                    raise Interrupted("stopped; nothing is measured to the end")
        finally:
            process.kill()
            process.wait()
        told.seek(0)
        complained.seek(0)
        lines, words = told.read().decode().splitlines(), complained.read().decode(errors="replace").split("\n")
    if process.returncode or not lines:
        raise PartFailed(_why(process.returncode, words))
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _why(code: int, words: Sequence[str]) -> str:
    """The last line of a traceback, or the signal."""
    if code < 0:
        return f"ended by signal {-code}" + (", as where memory runs out" if code == -9 else "")
    return next((line.strip() for line in reversed(words) if line.strip()), f"exit code {code}")


def time_clips(*, folder: str, weights: str, backend: str) -> dict[str, Any]:
    """Run `concertdeblur video` over the two clips of `folder`/in, and time the second.

    Args:
        folder: Where `in` is; a folder for the output is made there, and removed.
        weights: A shipped set, or a folder.
        backend: "torch" or "openvino".

    Returns:
        Seconds a frame file to file, the most memory of the process in MiB, and what the networks ran on.
    """
    from concertdeblur.benchmark.memory import peak_rss_mb
    from concertdeblur.pipelines.video_batch import deblur_batch, find_items
    from concertdeblur.pipelines.video_job import VideoJob, VideoSummary

    job = VideoJob(weights=weights, device="cpu", backend=backend)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        done = deblur_batch(find_items([Path(folder) / "in"], Path(made)), job)
        _, timed = (summary for summary in done if isinstance(summary, VideoSummary))
    return {
        "seconds_per_frame": timed.elapsed_s / timed.num_frames,
        "peak_rss_mb": peak_rss_mb(),
        "runtime": timed.runtime,
    }


def main(argument: str) -> None:
    """Measure what the JSON text says, and write the answer."""
    if _CORES in os.environ:
        os.sched_setaffinity(0, [int(core) for core in os.environ[_CORES].split(",")])
    what = json.loads(argument)
    part = what.pop("part")
    if part == "contender":
        from concertdeblur.benchmark.contenders import measure  # torch is imported after the cores are limited

        answer = asdict(measure(**what))
    else:
        assert part == "clips"
        answer = time_clips(**what)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
