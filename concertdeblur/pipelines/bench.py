"""`concertdeblur bench`: how fast a weight set is here, and how close it is to what the machine can do.

Read `_Bench.run` from top to bottom to see the whole job. Every ratio is one of runs in the same process. The runs from
file to file, of the network alone and of the codecs alone take turns over the same frames, so that a machine that
becomes slower slows all of them.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from concertdeblur import pretrained
from concertdeblur.benchmark import runs
from concertdeblur.benchmark.counts import generate_macs, paper_tiles
from concertdeblur.benchmark.figures import BenchSummary, Round, end_to_end_ratio, gemm_ratio, refine_ratio
from concertdeblur.benchmark.memory import peak_rss_mb
from concertdeblur.benchmark.scene import sharp_frames, write_clip
from concertdeblur.benchmark.timeline_plot import plot_timeline
from concertdeblur.cpus import available_cpus
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.errors import Interrupted, UsageError
from concertdeblur.frame import Frame
from concertdeblur.media.output_file import OutputFile
from concertdeblur.models import Networks
from concertdeblur.models.prepared import HINT_PX
from concertdeblur.pipelines.video_batch import deblur_batch, find_items
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary
from concertdeblur.progress import StageProgress
from concertdeblur.streaming.timeline import Span, recording

_WARM_FRAMES = 2
_STAGES = (
    "decode", "motion", "sample", "copy in", "describe", "filter", "restore", "generate", "search results", "mine",
    "refine", "guard", "copy out", "steady", "encode",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchJob:
    """What a user decides about a benchmark."""

    weights: str = pretrained.DEFAULT_WEIGHTS
    height: int = 720
    width: int = 1280
    frames: int = 8  # frames of each run
    rounds: int = 3  # rounds; each runs file to file, the network alone and the codecs alone
    device: str = "auto"
    backend: str = "auto"
    compare_backends: bool = False
    plot: Path | None = None  # a PNG to write
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.frames < 2 or self.rounds < 1:
            raise UsageError(f"a benchmark needs 2 frames and 1 round at least, not {self.frames} and {self.rounds}")
        if min(self.height, self.width) < 64 or self.height % 2 or self.width % 2:
            raise UsageError(f"the size must be even and 64 px at least, but it is {self.width}x{self.height}")
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise UsageError(f"the plot is a PNG; {self.plot} does not end in .png")


def bench(
    job: BenchJob,
    *,
    on_progress: Callable[[StageProgress], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> BenchSummary:
    """Measure; this takes minutes on a small machine, which should do nothing else meanwhile.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; nothing is written then.
    """
    pretrained.check_files(folder := pretrained.find_weights(job.weights), pretrained.read_manifest(folder))
    with ExitStack() as stack:
        plot = None
        if job.plot is not None:
            plot = stack.enter_context(OutputFile(job.plot, overwrite=job.overwrite))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="concertdeblur-bench-")))
        return _Bench(job=job, folder=folder, on_progress=on_progress, stop=stop or threading.Event()).run(plot)


@dataclass(kw_only=True, slots=True)
class _Bench:
    job: BenchJob
    folder: Path
    on_progress: Callable[[StageProgress], None]
    stop: threading.Event
    started_s: float = field(default_factory=time.monotonic)
    first_frame_s: float | None = None
    num_done: int = 0

    def run(self, plot: Path | None) -> BenchSummary:
        """Write clips, run the rounds, and then measure everything that needs no frames."""
        job = self.job
        self._tell("clip")
        self._write_clips()
        self._tell("start")
        start_s = time.monotonic()
        file_runs = self._file_runs()
        next(file_runs)  # this run loads weights, compiles networks and fills caches; it is not measured
        start_seconds = (self.first_frame_s or start_s) - start_s
        rounds, inside, tried, peak_mb, shown = [], list[dict[str, float]](), 0, 0.0, list[Span]()
        deblurrer, frames = None, list[Frame]()
        for number in range(job.rounds):
            self._tell("rounds")
            with recording() as timeline:
                summary = next(file_runs)
            if deblurrer is None:
                shown, peak_mb = timeline.spans, peak_rss_mb()
                deblurrer, frames = self._ready()
            network_s, made = runs.network_seconds(deblurrer, frames)
            with recording() as timeline:
                # without overlap, or other work would count in a stage's time
                runs.network_seconds(deblurrer, frames, overlap=False)
                codec_s = runs.codec_cpu_seconds(self._clip(number), self.folder / "codecs.mp4", made)
            rounds.append(Round(measured=summary.elapsed_s, network=network_s, codec_cpu=codec_s))
            inside.append(timeline.own_seconds())
            tried += summary.windows_tried
        assert deblurrer is not None
        if plot is not None:
            plot_timeline(plot, shown)
        stages = {name: median(one.get(name, 0.0) for one in inside) / job.frames for name in _STAGES}
        return self._summary(deblurrer, frames, rounds, stages, (tried, peak_mb, start_seconds))

    def _summary(
        self, deblurrer: Deblurrer, frames: list[Frame], rounds: list[Round], stages: dict[str, float],
        seen: tuple[int, float, float],
    ) -> BenchSummary:  # fmt: skip
        job, runtime = self.job, deblurrer.runtime
        network_s = median(one.network for one in rounds) / job.frames
        self._tell("synchronisations")
        reads = runs.reads_per_frame(deblurrer, frames[:2])
        self._tell("matrix product")
        gemm = runs.gemm_flops(runtime)
        self._tell("paper's networks")
        paper_s = runs.paper_seconds(runtime).of_frame(paper_tiles(job.height, job.width))
        weights = pretrained.find_weights(job.weights)
        networks = pretrained.load_networks(weights, pretrained.read_manifest(weights))
        macs = generate_macs(networks, job.height, job.width)
        backends = lost_db = None
        if job.compare_backends:
            self._tell("backends")
            restoration = networks.image_generator.restoration
            backends = runs.compared_backends(restoration, runtime, self._padded_inputs(networks, runtime.device))
            self._tell("plain path")
            lost_db = self._lost_db(deblurrer, frames)
        return BenchSummary(
            resolution=f"{job.width}x{job.height}",
            frames=job.frames,
            backend=str(runtime),
            weights=job.weights,
            cores=available_cpus(),
            seconds_per_frame=median(one.measured for one in rounds) / job.frames,
            network_seconds_per_frame=network_s,
            codec_cpu_seconds_per_frame=median(one.codec_cpu for one in rounds) / job.frames,
            iterations_mean=seen[0] / (job.frames * job.rounds),
            end_to_end_ratio=end_to_end_ratio(rounds, available_cpus()),
            refine_ratio=refine_ratio(stages),
            gemm_ratio=gemm_ratio(macs, stages, gemm),
            gemm_gflops=gemm / 1e9,
            network_gmacs=macs / 1e9,
            paper_ratio=paper_s / network_s,
            paper_seconds_per_frame=paper_s,
            peak_rss_mb=seen[1],
            start_seconds=seen[2],
            stage_seconds=stages,
            synchronisations_per_batch=reads,
            rounds=job.rounds,
            backends=backends,
            lost_db=lost_db,
            plot=job.plot,
            elapsed_s=time.monotonic() - self.started_s,
        )

    def _lost_db(self, deblurrer: Deblurrer, frames: list[Frame]) -> float:
        """The loss of the default path against eager torch in fp32 with one stage after the other, dB."""
        job = self.job
        plain = pretrained.load(job.weights, device="cpu", backend="torch")
        made, by_plain = (runs.network_seconds(one, frames, overlap=one is deblurrer)[1] for one in (deblurrer, plain))
        return runs.lost_db(made, by_plain, sharp_frames(job.height, job.width, job.frames))

    def _write_clips(self) -> None:
        """Write one clip under as many names as there are rounds, and a short clip that comes before them."""
        (self.folder / "in").mkdir()
        size = {"height": self.job.height, "width": self.job.width}
        write_clip(self.folder / "in" / "0000-warm.mp4", num_frames=_WARM_FRAMES, **size)
        write_clip(self._clip(0), num_frames=self.job.frames, **size)
        for number in range(1, self.job.rounds):
            shutil.copyfile(self._clip(0), self._clip(number))

    def _clip(self, number: int) -> Path:
        return self.folder / "in" / f"{number + 1:04}.mp4"

    def _file_runs(self) -> Iterator[VideoSummary]:
        """Run `concertdeblur video` over the folder; the networks stay from clip to clip."""
        job = VideoJob(weights=self.job.weights, device=self.job.device, backend=self.job.backend)
        source, target = self.folder / "in", self.folder / "out"
        made = deblur_batch(find_items([source], target), job, on_progress=self._note_first, stop=self.stop)
        return (summary for summary in made if isinstance(summary, VideoSummary))

    def _note_first(self, _: Progress) -> None:
        if self.first_frame_s is None:
            self.first_frame_s = time.monotonic()

    def _ready(self) -> tuple[Deblurrer, list[Frame]]:
        """A second deblurrer for runs of the network alone, which has run once, and the frames in memory."""
        deblurrer = pretrained.load(self.job.weights, device=self.job.device, backend=self.job.backend)
        frames = runs.read_frames(self._clip(0))
        runs.network_seconds(deblurrer, frames[:_WARM_FRAMES])
        return deblurrer, frames

    def _padded_inputs(self, networks: Networks, device: torch.device) -> tuple[torch.Tensor, ...]:
        """Inputs of G_i's convolutions for a frame of this size; their values do not matter."""
        restoration = networks.image_generator.restoration
        multiple = max(HINT_PX, restoration.multiple_px)
        high, wide = (length + -length % multiple for length in (self.job.height, self.job.width))
        frame = torch.rand(1, 3, high, wide, device=device)
        with torch.no_grad():
            prepared = networks.image_generator.prepare(frame, networks.image_generator.describe(frame))
        return frame, prepared.guess_NGHW.contiguous(), prepared.hints_NEhw

    def _tell(self, stage: str) -> None:
        if self.stop.is_set():
            raise Interrupted("stopped; nothing is measured to the end")
        self.num_done += 1
        elapsed_s = time.monotonic() - self.started_s
        self.on_progress(StageProgress(stage=stage, done=self.num_done, total=None, unit="parts", elapsed_s=elapsed_s))
