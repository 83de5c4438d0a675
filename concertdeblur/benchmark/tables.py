"""The results of `concertdeblur bench --peers` and `--sizes` as Markdown tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The time of one network with one backend."""

    seconds_per_frame: float
    ratio: float | None  # divided by the time of `concert` with the same backend; None if that did not run
    peak_rss_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerRow:
    """One network of the comparison."""

    name: str
    gopro_psnr_db: float | None  # published
    source: str
    parameters_m: float | None  # None if it ran nowhere
    gmacs: float | None  # a frame
    timings: dict[str, Timing | None]  # by backend; None if it does not run


@dataclass(frozen=True, kw_only=True, slots=True)
class PeersSummary:
    """The comparison of a run."""

    resolution: str
    frames: int  # number of timed frames of our networks
    cores: int
    runtimes: dict[str, str]  # by backend: what it ran on
    rows: tuple[PeerRow, ...]
    drift: float | None  # time of `concert` at the end, divided by that at the beginning
    elapsed_s: float

    def text(self) -> str:
        """A table to paste, and one line on how it was made."""
        header = ["network", "GOPRO, dB (published)", "from", "parameters, M", "multiply-adds, G a frame"]
        header += [f"{backend}: {figure}" for backend in self.runtimes for figure in ("s a frame", "ratio", "MB")]
        lines = _table(header, [self._cells(row) for row in self.rows])
        drift = "" if self.drift is None else f"; concert at the end took {self.drift:.2f} of its time at the beginning"
        ran = ", ".join(self.runtimes.values())
        return "\n".join([*lines, "", f"{self.resolution}, {self.cores} cores, {ran}{drift}."])

    def _cells(self, row: PeerRow) -> list[str]:
        cells = [row.name, _figure(row.gopro_psnr_db, 2), row.source, _figure(row.parameters_m, 2), _figure(row.gmacs)]
        for backend in self.runtimes:
            timing = row.timings.get(backend)
            if timing is None:
                cells += ["does not run", "", ""]
            else:
                cells += [
                    _figure(timing.seconds_per_frame, 2),
                    _figure(timing.ratio, 2),
                    _figure(timing.peak_rss_mb, 0),
                ]
        return cells


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRow:
    """One frame size on so many cores."""

    width: int
    height: int
    threads: int
    seconds_per_frame: float | None  # file to file; None where it did not run
    peak_rss_mb: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SizesSummary:
    """How cost grows with the frame."""

    weights: str
    backend: str
    rows: tuple[SizeRow, ...]
    plot: Path | None
    elapsed_s: float

    def text(self) -> str:
        """A table to paste."""
        threads = sorted({row.threads for row in self.rows})
        found = {(row.width, row.height, row.threads): row for row in self.rows}
        header = ["frame"]
        header += [f"{_threads(number)}: {figure}" for number in threads for figure in ("s a frame", "MB")]
        body = []
        for width, height in dict.fromkeys((row.width, row.height) for row in self.rows):
            cells = [f"{width}x{height}"]
            for number in threads:
                row = found[width, height, number]
                cells += [_figure(row.seconds_per_frame, 3), _figure(row.peak_rss_mb, 0)]
            body.append(cells)
        told = f"Weights {self.weights}, file to file, {self.backend}."
        return "\n".join([*_table(header, body), "", told if self.plot is None else f"{told} Plot: {self.plot}"])


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *body)]


def _figure(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
