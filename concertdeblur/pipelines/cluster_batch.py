"""Clips on a cluster: every clip's segments on whatever worker is free; a clip that fails stops no other.

The driver reads each clip once to plan its segments, and joins them; between these, workers do the work. Several clips
are in hand at once, so that no worker waits for the end of one.
"""

import csv
import io
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from concertdeblur.cluster import Need, Shelf, WorkerPool, connected
from concertdeblur.errors import ClusterError, Interrupted, MissingDependencyError, UsageError, WeightsError
from concertdeblur.media.output_file import is_disk_full, target_error
from concertdeblur.pipelines.batch import BatchCount, Item, folder_of_all, make_folder
from concertdeblur.pipelines.deblur_video import VideoRun
from concertdeblur.pipelines.segments.identity import NetworkFacts, versions
from concertdeblur.pipelines.segments.remote import ClipOnCluster, ClipRecord
from concertdeblur.pipelines.video_batch import BatchSummary, batch_failure, naming
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary
from concertdeblur.progress import duration_text

REPORT = "cluster-report"  # .csv and .html
_CPUS_A_WORKER = 4  # or all that a smaller node has
LEAST_CLIPS, MOST_CLIPS = 2, 64  # in hand at once
_TELL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterOptions:
    """What a user decides about the cluster."""

    address: str = "auto"
    ships_source: bool = False
    num_retries: int = 3

    def __post_init__(self) -> None:
        if self.num_retries < 0:
            raise UsageError(f"--retries must not be negative, but it is {self.num_retries}")


@dataclass(kw_only=True, slots=True)
class _Clip:
    """A clip on its way."""

    item: Item
    record: ClipRecord = field(default_factory=ClipRecord)
    progress: Progress = field(default_factory=Progress)
    summary: VideoSummary | None = None
    error: Exception | None = None
    elapsed_s: float = 0.0
    was_there: bool = False


def deblur_on_cluster(
    items: Sequence[Item],
    job: VideoJob,
    options: ClusterOptions,
    *,
    is_batch: bool,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    on_failure: Callable[[Path, Exception], str] = lambda _source, error: str(error),
    stop: threading.Event | None = None,
) -> Iterator[VideoSummary | BatchSummary]:
    """Deblur clips on a cluster, and report on each.

    Args:
        items: What to do.
        job: The user's choices, for every clip.
        options: The cluster.
        is_batch: Whether the outputs are several in a folder: what exists is done, and dates are kept.
        on_progress: Called now and then, with the sum over all clips.
        on_warning: As for `deblur_batch`; maybe from another thread.
        on_note: As for `deblur_batch`; maybe from another thread.
        on_failure: Called with a clip and what went wrong with it; gives the sentence for the report.
        stop: When set, the run ends with `Interrupted`; the same call goes on from there.

    Yields:
        A summary after each clip, in the order in which they are done, and at last one of the batch.

    Raises:
        SourceError: At the end, if some clips failed.
        ClusterError: If there is no cluster, or nobody in it who can do this.
        MissingDependencyError: If Ray is not installed.
        UsageError: If options do not go together.
        Interrupted: If `stop` is set.

    """
    _check(items, job, is_batch=is_batch)
    if is_batch:
        job = replace(job, fits_sound=True, keep_date=job.keep_date is not False)
    if job.weights is not None and Path(job.weights).is_dir():
        job = replace(job, weights=str(Path(job.weights).absolute()))
    clips = [_Clip(item=item, was_there=is_batch and item.target.is_file() and not job.overwrite) for item in items]
    folder = folder_of_all(items)
    make_folder(folder)
    run = _ClusterRun(
        clips=clips, job=job, options=options, on_progress=on_progress, on_warning=on_warning, on_note=on_note,
        stop=stop or threading.Event(),
    )  # fmt: skip
    count = BatchCount(num_items=len(items), num_there=sum(clip.was_there for clip in clips))
    sentences: dict[Path, str] = {}
    try:
        for clip in run.ended():
            if clip.error is not None:
                count.failed.append(clip.item.source)
                sentences[clip.item.source] = on_failure(clip.item.source, clip.error)
            else:
                assert clip.summary is not None
                count.num_made += 1
                yield clip.summary
    except Interrupted as error:
        raise Interrupted(f"{count.num_made + count.num_there} of {len(items)} clips are done; {error}") from error
    finally:
        if run.has_begun:
            name = REPORT if is_batch else f"{items[0].target.name}.{REPORT}"
            write_report(folder / name, clips, sentences)
            on_note(f"{folder / name}.html says what each clip cost")
    if count.failed:
        raise batch_failure(count)
    yield BatchSummary(num_done=count.num_made, num_done_before=count.num_there, failed=())


def _check(items: Sequence[Item], job: VideoJob, *, is_batch: bool) -> None:
    if is_batch and (job.heatmap or job.compare):
        raise UsageError("heatmap and compare name one file; use them with one clip, not with a folder")
    if job.writer != "pyav":
        raise UsageError("a cluster encodes with the writer pyav; leave out --writer")
    if job.device.startswith("cuda:"):
        raise UsageError(f"on a cluster each worker has its own GPU: --device cuda instead of {job.device}")
    if len({item.target.resolve() for item in items}) < len(items):
        raise UsageError("two clips would get the same output name; rename one")


@dataclass(kw_only=True, slots=True)
class _ClusterRun:
    """All clips of one call."""

    clips: list[_Clip]
    job: VideoJob
    options: ClusterOptions
    on_progress: Callable[[Progress], None]
    on_warning: Callable[[str], None]
    on_note: Callable[[str], None]
    stop: threading.Event
    has_begun: bool = False
    num_told: int = -1  # frames that were told of
    _over: threading.Event = field(default_factory=threading.Event, init=False)  # also where an error ends the run
    _done: "queue.SimpleQueue[_Clip]" = field(default_factory=queue.SimpleQueue, init=False)
    _chosen: dict[str | None, NetworkFacts] = field(default_factory=dict, init=False)
    _choosing: threading.Lock = field(default_factory=threading.Lock, init=False)
    _started_s: float = field(default_factory=time.monotonic, init=False)

    def ended(self) -> Iterator[_Clip]:
        """Every clip that had to be done, as it ends."""
        todo = [clip for clip in self.clips if not clip.was_there]
        if not todo:
            return
        with ExitStack() as stack:
            ray = stack.enter_context(connected(self.options.address))
            job, need = self._fitted(ray)
            pool = stack.enter_context(self._pool(ray, job, need))
            shelf = self._shelf(ray) if self.options.ships_source else None
            self.has_begun = True
            executor = ThreadPoolExecutor(min(len(todo), MOST_CLIPS, max(LEAST_CLIPS, 2 * _seats(ray, need))), "clip")
            stack.callback(executor.shutdown, wait=True, cancel_futures=True)
            stack.callback(self._over.set)
            for clip in todo:
                executor.submit(self._run, clip, job, pool, shelf)
            yield from self._as_they_end(len(todo), pool)

    def _as_they_end(self, number: int, pool: WorkerPool) -> Iterator[_Clip]:
        while number:
            self._tell(pool)
            if self.stop.is_set():
                self._over.set()
            try:
                clip = self._done.get(timeout=_TELL_S)
            except queue.Empty:
                continue
            number -= 1
            if clip.error is not None and _ends_all(clip.error):
                raise clip.error
            yield clip
        self._tell(pool)

    def _run(self, clip: _Clip, job: VideoJob, pool: WorkerPool, shelf: Any) -> None:
        """One clip, in a thread of its own."""
        began_s, item = time.monotonic(), clip.item
        named = partial(naming, item.source) if len(self.clips) > 1 else lambda heard: heard
        try:
            make_folder(item.target.parent)
            run = VideoRun(
                source=item.source, target=item.target, job=job, on_progress=partial(setattr, clip, "progress"),
                on_warning=named(self.on_warning), on_note=named(self.on_note), stop=self._over,
            )  # fmt: skip
            run.num_clips = len(self.clips)
            run.cluster = ClipOnCluster(
                pool=pool, shelf=shelf, chosen=self._chosen, lock=self._choosing, stop=self._over, record=clip.record
            )
            clip.summary = run.guarded()
        except Exception as error:
            clip.error = error
        clip.elapsed_s = time.monotonic() - began_s
        self._done.put(clip)

    def _fitted(self, ray: Any) -> tuple[VideoJob, Need]:
        """The job with the device that workers have, and what a worker takes."""
        nodes = [row["Resources"] for row in ray.nodes() if row["Alive"]]
        has_gpu = any(row.get("GPU", 0) >= 1 for row in nodes)
        if not self.job.is_identity and (self.job.device == "cuda" or (self.job.device == "auto" and has_gpu)):
            if not has_gpu:
                raise ClusterError("no node of the cluster has a GPU; leave out --device cuda")
            return replace(self.job, device="cuda"), Need(num_cpus=1, num_gpus=1)
        cpus = [int(row.get("CPU", 0)) for row in nodes if row.get("CPU", 0) >= 1]
        if not cpus:
            raise ClusterError("no node of the cluster has a CPU to lend; start one with `ray start --num-cpus`")
        return replace(self.job, device="cpu"), Need(num_cpus=min(_CPUS_A_WORKER, *cpus))

    def _pool(self, ray: Any, job: VideoJob, need: Need) -> WorkerPool:
        return WorkerPool(
            ray, need, greeting=partial(_greeting, job), wanted=versions(), num_retries=self.options.num_retries,
            on_warning=self.on_warning,
        )  # fmt: skip

    def _shelf(self, ray: Any) -> Any:
        """Reads and writes the driver's files for workers, on the driver's machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(Shelf).options(num_cpus=0, scheduling_strategy=here).remote()

    def _tell(self, pool: WorkerPool) -> None:
        """Progress over all clips; of clips that were not opened yet, the mean of the others is expected."""
        left = [clip for clip in self.clips if not clip.was_there]
        num_frames = sum(clip.progress.num_frames for clip in left)
        if num_frames <= self.num_told:
            return
        self.num_told = num_frames
        known = [clip.progress.total_frames for clip in left if clip.progress.total_frames]
        total = round(sum(known) / len(known) * len(left)) if known else None
        elapsed_s = time.monotonic() - self._started_s
        self.on_progress(
            Progress(
                num_frames=num_frames,
                total_frames=total,
                windows_tried=sum(clip.progress.windows_tried for clip in left),
                windows_accepted=sum(clip.progress.windows_accepted for clip in left),
                elapsed_s=elapsed_s,
                num_workers=pool.num_workers,
                segments_a_minute=60 * sum(clip.record.num_segments for clip in left) / max(elapsed_s, 1e-9),
            )
        )


def _seats(ray: Any, need: Need) -> int:
    return int(ray.cluster_resources().get("GPU" if need.num_gpus else "CPU", 0)) // (need.num_gpus or need.num_cpus)


def _greeting(job: VideoJob) -> dict[str, str]:
    """What must be the same on every worker."""
    if job.is_identity:
        return versions()
    from concertdeblur.runtime import choose_runtime

    return versions() | {"what the networks run on": str(choose_runtime(job.device, job.backend))}


def _ends_all(error: Exception) -> bool:
    """Whether every other clip would fail alike."""
    return isinstance(error, (Interrupted, ClusterError, WeightsError, MissingDependencyError)) or is_disk_full(error)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRow:
    """What a clip cost, as the report tells it."""

    clip: str
    state: str  # done, done before, failed, not done
    frames: int
    frames_done_before: int
    segments: int
    retries: int
    seconds: float  # from its first frame's plan to its output
    worker_seconds: float
    failure: str


def write_report(path: Path, clips: Sequence[_Clip], sentences: dict[Path, str]) -> None:
    """Write the report on all clips as `path`.csv and `path`.html.

    Raises:
        TargetError: If it cannot be written.

    """
    rows = [_row(clip, sentences.get(clip.item.source, "")) for clip in clips]
    text = io.StringIO()
    table = csv.DictWriter(text, list(ReportRow.__dataclass_fields__), lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    for suffix, content in ((".csv", text.getvalue()), (".html", report_page(rows))):
        target = path.with_name(path.name + suffix)
        part = target.with_name(f".{target.name}.part")
        try:
            part.write_text(content, encoding="utf-8", errors="backslashreplace")
            part.replace(target)
        except OSError as error:
            raise target_error(target, error) from error


def _row(clip: _Clip, sentence: str) -> ReportRow:
    made, record = clip.summary, clip.record
    state = "done before" if clip.was_there else "done" if made else "failed" if sentence else "not done"
    return ReportRow(
        clip=str(clip.item.source), state=state, frames=made.num_frames if made else clip.progress.num_frames,
        frames_done_before=made.num_frames_before if made else 0, segments=record.num_segments,
        retries=record.num_retries, seconds=round(clip.elapsed_s, 1), worker_seconds=round(record.worker_s, 1),
        failure=sentence,
    )  # fmt: skip


# no script, nothing from elsewhere: file names come from anywhere
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Clips on a cluster: concertdeblur</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
body { color: #1c1c1e; background: #fff; } th { text-align: left; } td.n { text-align: right; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem .2rem 0; vertical-align: top; }
tr + tr td { border-top: 1px solid #ddd; } .failed { color: #b00020; } .wide { overflow-x: auto; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161618; } .failed { color: #ff8a80; }
tr + tr td { border-color: #333; } }
</style></head><body>
"""


def report_page(rows: Sequence[ReportRow]) -> str:
    """The page: what all clips cost together, then each of them, those that failed first."""
    order = {"failed": 0, "not done": 1, "done": 2, "done before": 3}
    states = ", ".join(f"{sum(row.state == state for row in rows)} {state}" for state in order)
    whole = (
        f"{len(rows)} clips: {states}. {sum(row.frames for row in rows):,} frames in"
        f" {sum(row.segments for row in rows):,} segments, {sum(row.retries for row in rows):,} of them tried again;"
        f" {duration_text(sum(row.worker_seconds for row in rows))} of workers."
    )
    names = [name.replace("_", " ") for name in ReportRow.__dataclass_fields__]
    lines = [_HEAD, "<h1>Clips on a cluster</h1>", f"<p>{escape(whole)}</p>", '<div class="wide"><table><tr>']
    lines += [*(f"<th>{escape(name)}</th>" for name in names), "</tr>"]
    for row in sorted(rows, key=lambda row: order[row.state]):
        cells = "".join(
            f'<td class="n">{value:,}</td>' if isinstance(value, (int, float)) else f"<td>{escape(value)}</td>"
            for value in asdict(row).values()
        )
        lines.append(f'<tr class="{row.state.split()[0]}">{cells}</tr>')
    return "\n".join([*lines, "</table></div></body></html>\n"])
