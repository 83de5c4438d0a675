"""Segments of clips on the workers of a cluster: what a worker does, and how a clip's driver has it done."""

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concertdeblur.cluster import (
    Ended,
    File,
    Folder,
    SharedFile,
    SharedFolder,
    ShippedFile,
    ShippedFolder,
    WorkerPool,
    WorkerState,
)
from concertdeblur.errors import Interrupted, SourceError, TargetError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.encoding import Encoding
from concertdeblur.media.output_file import is_disk_full
from concertdeblur.media.reader import VideoReader
from concertdeblur.pipelines.extra_videos import picture_of
from concertdeblur.pipelines.kept_networks import load_deblurrer
from concertdeblur.pipelines.segments.identity import SOURCE, NetworkFacts
from concertdeblur.pipelines.segments.making import SegmentMaker, View
from concertdeblur.pipelines.segments.planning import PlannedSegment, plan, segment_frames
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder
from concertdeblur.pipelines.video_frames import beside, deblurred, reader_options
from concertdeblur.pipelines.video_job import VideoJob

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer

_POLL_S = 0.2
_MOST_AHEAD = 4000  # segments of one clip that wait for a worker; each takes some kilobytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SentView:
    """A `View` on its way to a worker."""

    name: str
    target: Path
    info: StreamInfo
    encoding: Encoding


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDiskFull:
    """What a worker gives where the outputs' disk has no room: no other worker would find more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentTask:
    """A segment to be computed.

    Args:
        source: The clip.
        folder: The work folder, where its files go.
        job: The user's choices; `weights` is what was chosen.
        info: The source's video stream.
        origin_s: The reader's.
        segment: Which frames.
        views: What is written.

    """

    source: File
    folder: Folder
    job: VideoJob
    info: StreamInfo
    origin_s: Fraction
    segment: PlannedSegment
    views: tuple[SentView, ...]

    def run(self, worker: WorkerState) -> DoneSegment | OutputDiskFull:
        """Compute it.

        Raises:
            SourceError: If the clip cannot be read here, or is another one.
            WeightsError: If the weights are not here.

        """
        source, segment = self.source.local(worker), self.segment
        deblurrer = None if self.job.is_identity else networks(worker, self.job)
        place = _WorkerPlace(worker.folder)
        with ExitStack() as stack:
            decoded = stack.enter_context(
                segment_frames(source, reader_options(self.job), self.job.reader, segment, self.info, self.origin_s)
            )
            frames, hand_over, finish = beside(decoded, deblurrer, stack)
            maker = SegmentMaker(
                views=[_view(each, self.info) for each in self.views], place=place,
                deblur=lambda given: deblurred(given, deblurrer, self.job), on_made=lambda _: None, hand_over=hand_over,
            )  # fmt: skip
            stack.callback(maker.close)
            end = segment.start + segment.num_frames

            def check(following: int) -> None:
                if following != end:
                    raise SourceError(f"{source}: ends after {following} frames, but was cut into segments up to {end}")

            maker.make(
                segment.number, segment.start, iter(frames), begin=segment.begin,
                is_end=lambda following: following == end, check=check,
            )  # fmt: skip
            finish()
        assert place.done is not None
        return self._delivered(place, place.done)

    def _delivered(self, place: "_WorkerPlace", done: DoneSegment) -> DoneSegment | OutputDiskFull:
        try:
            for view in self.views:
                path = place.file(self.segment.number, view.name)
                self.folder.take(path, path.name)
        except OSError as error:
            if is_disk_full(error) or is_disk_full(getattr(error, "cause", error)):
                return OutputDiskFull()
            raise
        return done


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworksTask:
    """Which weight set a job gets: loaded, and tried if the quality asks for it."""

    job: VideoJob
    info: StreamInfo
    num_frames: int | None  # that a worker will have to do

    def run(self, worker: WorkerState) -> tuple[NetworkFacts, list[str]]:
        """What was chosen, and what is to be said of it."""
        if self.job.weights is not None:
            return _facts(networks(worker, self.job)), []
        told: list[str] = []
        made = load_deblurrer(self.job, self.info, num_frames=self.num_frames, on_warning=told.append)
        return _facts(made), told


def networks(worker: WorkerState, job: VideoJob) -> "Deblurrer":
    """The job's networks, loaded once a worker."""
    from concertdeblur import pretrained

    assert job.weights is not None
    weights = job.weights
    return worker.kept(
        "networks",
        (weights, job.device, job.backend),
        lambda: pretrained.load(weights, device=job.device, backend=job.backend),
    )


class _WorkerPlace:
    """A worker's own folder as the place of one segment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.done: DoneSegment | None = None
        for left in folder.glob("*.packets"):  # of a task that failed
            left.unlink()

    def file(self, number: int, name: str) -> Path:
        """As in a work folder."""
        return self._folder / WorkFolder.file_name(number, name)

    def add(self, number: int, segment: DoneSegment) -> None:
        """Take the segment."""
        del number
        self.done = segment

    def full_disk(self) -> TargetError:
        """What to say."""
        return TargetError(f"{self._folder}: no space left on the device of a node for temporary files")


def _view(sent: SentView, info: StreamInfo) -> View:
    return View(
        name=sent.name, part=sent.target, info=sent.info, encoding=sent.encoding, picture=picture_of(sent.name, info)
    )


def _facts(deblurrer: "Deblurrer") -> NetworkFacts:
    return NetworkFacts(name=deblurrer.name, digest=deblurrer.digest, runtime=str(deblurrer.runtime))


@dataclass(kw_only=True, slots=True)
class ClipRecord:
    """What a clip cost."""

    num_segments: int = 0  # that this run computed
    num_retries: int = 0
    worker_s: float = 0.0  # of workers, for the tries that went well


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipOnCluster:
    """How one clip's segments are computed.

    Args:
        pool: Of all clips.
        shelf: The handle of the actor through which files go; None: workers see the driver's folders.
        chosen: Networks by what was asked for, of all clips.
        lock: Of `chosen`.
        stop: Ends the run.
        record: Filled.

    """

    pool: WorkerPool
    shelf: Any | None
    chosen: dict[str | None, NetworkFacts]
    lock: threading.Lock
    stop: threading.Event
    record: ClipRecord = field(default_factory=ClipRecord)

    def networks(
        self, job: VideoJob, info: StreamInfo, *, num_frames: int | None, on_warning: Callable[[str], None]
    ) -> NetworkFacts:
        """The networks of a job, loaded on some worker; all clips of a run get those of the first."""
        with self.lock:
            if job.weights not in self.chosen:
                share = None if num_frames is None else num_frames // max(1, self.pool.num_workers)
                ended = self._waited(self.pool.submit(NetworksTask(job=job, info=info, num_frames=share)))
                self.chosen[job.weights], told = ended.value
                for message in told:
                    on_warning(message)
            return self.chosen[job.weights]

    def compute(
        self, frames: Iterable[Frame], task: Callable[..., SegmentTask], work: WorkFolder, *, warm_up: int,
        in_one: bool, on_done: Callable[[DoneSegment, bool], None],
    ) -> None:  # fmt: skip
        """Have every segment made that is not there yet.

        Args:
            frames: Of the clip; pixels are not needed.
            task: Makes the task of a segment.
            work: Where they go.
            warm_up: As for `plan`.
            in_one: As for `plan`.
            on_done: Called with each segment that is there, and whether it was before, in any order.

        """
        running: dict[Future[Ended], PlannedSegment] = {}
        failure: Exception | None = None
        with _cancelling(running):
            try:
                for segment in plan(frames, warm_up, in_one=in_one):
                    done = work.done(segment.number)
                    if done is not None and done.start == segment.start:
                        on_done(done, True)
                        continue
                    running[self.pool.submit(task(segment=segment))] = segment
                    self._collect(running, work, on_done, wait_s=_POLL_S if len(running) >= _MOST_AHEAD else 0)
            except Interrupted:
                raise
            except Exception as error:  # of the source: what lies before it is done all the same
                failure = error
            while running:
                self._collect(running, work, on_done, wait_s=_POLL_S)
        if failure is not None:
            raise failure

    def task(
        self, source: Path, job: VideoJob, reader: VideoReader, views: Sequence[View], work: WorkFolder
    ) -> Callable[..., SegmentTask]:
        """What makes tasks of a clip's segments; the work folder has begun."""
        sent = tuple(SentView(name=v.name, target=v.part, info=v.info, encoding=v.encoding) for v in views)
        return partial(
            SegmentTask, source=self._source(source, work), folder=self._folder(work), job=job, info=reader.info,
            origin_s=reader.origin_s, views=sent,
        )  # fmt: skip

    def _source(self, path: Path, work: WorkFolder) -> File:
        path = path.absolute()
        if self.shelf is None:
            return SharedFile(path=path, num_bytes=path.stat().st_size)
        return ShippedFile(path=path, digest=work.asked[SOURCE], shelf=self.shelf)

    def _folder(self, work: WorkFolder) -> Folder:
        path = work.path.absolute()
        return SharedFolder(path=path) if self.shelf is None else ShippedFolder(path=path, shelf=self.shelf)

    def _collect(
        self, running: dict[Future[Ended], PlannedSegment], work: WorkFolder,
        on_done: Callable[[DoneSegment, bool], None], *, wait_s: float,
    ) -> None:  # fmt: skip
        """List what has come back."""
        if self.stop.is_set():
            raise Interrupted("stopped")
        ended, _ = concurrent.futures.wait(running, wait_s, concurrent.futures.FIRST_COMPLETED)
        for future in ended:
            segment, told = running.pop(future), future.result()
            if isinstance(told.value, OutputDiskFull):
                raise work.full_disk()
            work.add(segment.number, told.value)
            self.record.num_segments += 1
            self.record.num_retries += told.num_retries
            self.record.worker_s += told.elapsed_s
            on_done(told.value, False)

    def _waited(self, future: Future[Ended]) -> Ended:
        while not self.stop.is_set():
            try:
                return future.result(timeout=_POLL_S)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
        raise Interrupted("stopped")


@contextmanager
def _cancelling(running: Mapping[Future[Ended], PlannedSegment]) -> Iterator[None]:
    """Take back what waits if it is not wanted any more."""
    try:
        yield
    finally:
        for future in running:
            future.cancel()
