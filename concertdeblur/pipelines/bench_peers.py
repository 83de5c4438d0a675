"""`concertdeblur bench --peers`: our networks beside those that people use for deblurring, in one run.

Every contender restores the same frames, from pixels to pixels, with the same engines (eager torch and OpenVINO on the
CPU), each in its own process. Our network is timed again at the end, to see how far the machine has become slower.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from concertdeblur.benchmark.contenders import CONTENDERS, REFERENCE, Contender, Measured
from concertdeblur.benchmark.tables import PeerRow, PeersSummary, Timing
from concertdeblur.cpus import available_cpus
from concertdeblur.errors import UsageError
from concertdeblur.pipelines.bench_part import PartFailed, run_part
from concertdeblur.progress import StageProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class PeersJob:
    """What a user decides about the comparison."""

    height: int = 720
    width: int = 1280
    frames: int = 8  # timed frames of our networks; others get two at most

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise UsageError(f"a benchmark needs 2 frames at least, not {self.frames}")
        if min(self.height, self.width) < 64:
            raise UsageError(f"the size must be 64 px at least, but it is {self.width}x{self.height}")


def bench_peers(
    job: PeersJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> PeersSummary:
    """Measure all contenders; takes minutes on a small machine, which should do nothing else meanwhile.

    Args:
        job: The user's choices.
        on_progress: Called before each contender.
        on_warning: Called for each that does not run here, with the reason.
        stop: When set, the run ends.

    Raises:
        Interrupted: If `stop` is set.
    """
    started_s, stop = time.monotonic(), stop or threading.Event()
    backends = [name for name in ("torch", "openvino") if name == "torch" or find_spec("openvino") is not None]
    total, num_done = len(backends) * len(CONTENDERS) + 1, 0

    def measured(name: str, backend: str) -> Measured | None:
        nonlocal num_done
        elapsed_s = time.monotonic() - started_s
        facts = {"network": name, "backend": backend}
        on_progress(
            StageProgress(stage="peers", done=num_done, total=total, unit="networks", elapsed_s=elapsed_s, facts=facts)
        )
        num_done += 1
        what = {"part": "contender", "name": name, "backend": backend, "num_frames": job.frames}
        try:
            return Measured(**run_part({**what, "height": job.height, "width": job.width}, stop))
        except PartFailed as error:
            on_warning(f"{name} does not run with {backend}: {error}")
            return None

    found = {one.name: {backend: measured(one.name, backend) for backend in backends} for one in CONTENDERS}
    last = backends[-1]
    first, again = found[REFERENCE][last], measured(REFERENCE, last)
    return PeersSummary(
        resolution=f"{job.width}x{job.height}",
        frames=job.frames,
        cores=available_cpus(),
        runtimes={backend: _runtime(found, backend) for backend in backends},
        rows=tuple(_row(one, found) for one in CONTENDERS),
        drift=None if first is None or again is None else again.seconds_per_frame / first.seconds_per_frame,
        elapsed_s=time.monotonic() - started_s,
    )


def _runtime(found: dict[str, dict[str, Measured | None]], backend: str) -> str:
    return next((one.runtime for by in found.values() if (one := by[backend]) is not None), f"{backend} does not run")


def _row(contender: Contender, found: dict[str, dict[str, Measured | None]]) -> PeerRow:
    measured = found[contender.name]
    ran = [one for one in measured.values() if one is not None]
    return PeerRow(
        name=contender.name,
        gopro_psnr_db=contender.gopro_psnr_db,
        source=contender.source,
        parameters_m=ran[0].parameters_m if ran else None,
        gmacs=next((one.gmacs for one in ran if one.gmacs is not None), None),
        timings={backend: _timing(one, found[REFERENCE][backend]) for backend, one in measured.items()},
    )


def _timing(one: Measured | None, reference: Measured | None) -> Timing | None:
    if one is None:
        return None
    return Timing(
        seconds_per_frame=one.seconds_per_frame,
        ratio=None if reference is None else one.seconds_per_frame / reference.seconds_per_frame,
        peak_rss_mb=one.peak_rss_mb,
    )
