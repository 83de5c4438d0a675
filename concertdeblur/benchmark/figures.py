"""Computes the figures of `concertdeblur bench` from measured seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

GENERATE = ("generate", "describe", "filter", "restore")  # the spans of the stage
REFINE = ("search results", "mine", "refine")
PAPER_ITERATIONS = 2.3  # a tile (paper, section 4.4)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperCost:
    """The cost of a call of each of the paper's networks on a 256-px tile: seconds, or multiply-adds."""

    generator: float
    discriminator: float
    patch_generator: float  # on a 128-px window

    def of_frame(self, num_tiles: int) -> float:
        """Cost of Algorithm 1 on so many tiles: G_i and D_i once, then G_p and D_i for each iteration."""
        step = self.patch_generator + self.discriminator
        return num_tiles * (self.generator + self.discriminator + PAPER_ITERATIONS * step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One file-to-file run and the runs beside it, over the same frames; in seconds."""

    measured: float  # file to file, with the networks ready
    network: float  # the deblurrer alone, frames in memory
    codec_cpu: float  # CPU seconds of decoding and encoding alone, over all threads


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSummary:
    """The measured ratios and medians. Seconds are those of one frame, unless a comment says otherwise."""

    resolution: str
    frames: int
    backend: str
    weights: str
    cores: int
    seconds_per_frame: float  # file to file
    network_seconds_per_frame: float
    codec_cpu_seconds_per_frame: float
    iterations_mean: float  # windows tried a frame
    end_to_end_ratio: float  # 1: perfect overlap, no waste
    refine_ratio: float
    gemm_ratio: float | None  # None: no convolutions counted
    gemm_gflops: float
    network_gmacs: float  # convolutions of the generate stage, a frame
    paper_ratio: float
    paper_seconds_per_frame: float  # from one tile, times the tiles
    peak_rss_mb: float  # of the process after a whole file-to-file run
    start_seconds: float  # from the start of a job to its first frame; Python and torch are loaded before
    stage_seconds: dict[str, float]
    synchronisations_per_batch: float
    rounds: int
    backends: dict[str, float | None] | None  # seconds to restore a frame; None if the backend does not run
    lost_db: float | None  # PSNR that the default loses against eager torch; None if backends were not compared
    plot: Path | None
    elapsed_s: float

    def text(self) -> str:
        """A table for people."""
        gemm = "not counted" if self.gemm_ratio is None else f"{self.gemm_ratio:.2f}  of {self.gemm_gflops:.0f} GFLOP/s"
        rows = [
            ("frames", f"{self.frames} of {self.resolution}, weights {self.weights}"),
            ("runtime", f"{self.backend}, {self.cores} cores"),
            ("file to file", f"{self.seconds_per_frame:.3f} s a frame"),
            ("network alone", f"{self.network_seconds_per_frame:.3f} s a frame"),
            ("codecs alone", f"{self.codec_cpu_seconds_per_frame:.3f} CPU s a frame"),
            ("end_to_end_ratio", f"{self.end_to_end_ratio:.3f}"),
            ("refine_ratio", f"{self.refine_ratio:.3f}  at {self.iterations_mean:.2f} windows a frame"),
            ("gemm_ratio", gemm),
            ("paper_ratio", f"{self.paper_ratio:.2f}  the paper's: {self.paper_seconds_per_frame:.2f} s a frame"),
            ("memory", f"{self.peak_rss_mb:.0f} MB at most"),
            ("to first frame", f"{self.start_seconds:.2f} s"),
            ("synchronisations", f"{self.synchronisations_per_batch:.1f} a frame"),
            *((f"  {name}", f"{seconds:.4f} s a frame") for name, seconds in self.stage_seconds.items()),
        ]
        for name, seconds in (self.backends or {}).items():
            told = "does not run here" if seconds is None else f"{seconds:.3f} s to restore a frame"
            rows.append((f"  {name}", told))
        if self.lost_db is not None:
            rows.append(("lost", f"{self.lost_db:.4f} dB against the plain path"))
        if self.plot is not None:
            rows.append(("timeline", str(self.plot)))
        return "\n".join(f"{name:<18}{text}" for name, text in rows)


def end_to_end_ratio(rounds: Sequence[Round], cores: int) -> float:
    """Median over the rounds: the least time that the work needs, divided by the time it took."""
    return median((one.network + one.codec_cpu / cores) / one.measured for one in rounds)


def refine_ratio(stages: Mapping[str, float]) -> float:
    """Seconds of mining and refining, with the search of flow between results, divided by those of generating."""
    return _total(stages, REFINE) / _total(stages, GENERATE)


def gemm_ratio(macs: int, stages: Mapping[str, float], gemm_flops: float) -> float | None:
    """FLOP/s of the convolutions over the whole generate stage, divided by those of a matrix product."""
    return 2 * macs / _total(stages, GENERATE) / gemm_flops if macs else None


def _total(stages: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(stages.get(name, 0.0) for name in names)
