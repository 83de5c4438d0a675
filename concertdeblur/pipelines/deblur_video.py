"""`concertdeblur video`: decode, deblur, encode; everything else in the file passes by untouched.

Read `VideoRun.run` from top to bottom to see the whole job.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av.error

from concertdeblur.errors import Interrupted, SourceError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.backends import open_writer
from concertdeblur.media.captions import keeps_captions
from concertdeblur.media.containers import error_text
from concertdeblur.media.encoding import Encoding
from concertdeblur.media.output_file import keep_date
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.media.reader import VideoReader
from concertdeblur.media.tags import losses
from concertdeblur.media.writer import VideoWriter
from concertdeblur.pipelines.extra_videos import ExtraVideos, picture_of
from concertdeblur.pipelines.kept_networks import SHIPPED_SETS, KeptNetworks, load_deblurrer
from concertdeblur.pipelines.segments.identity import WEIGHT_SET, NetworkFacts, asked, difference
from concertdeblur.pipelines.segments.making import Made
from concertdeblur.pipelines.segments.segmented_run import WARM_UP_FRAMES, Outlet, SegmentedRun
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder
from concertdeblur.pipelines.video_frames import beside, deblurred
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary
from concertdeblur.pipelines.video_opening import expected_frames, is_segmented, least_bytes, open_video

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer
    from concertdeblur.pipelines.segments.remote import ClipOnCluster

__all__ = ["Progress", "VideoJob", "VideoRun", "VideoSummary", "deblur_video"]


def _ignore(_: object) -> None:
    """Take anything, do nothing."""


def deblur_video(
    source: Path,
    target: Path,
    job: VideoJob,
    *,
    on_progress: Callable[[Progress], None] = _ignore,
    on_warning: Callable[[str], None] = _ignore,
    on_note: Callable[[str], None] = _ignore,
    on_made: Callable[[Made], None] = _ignore,
    stop: threading.Event | None = None,
) -> VideoSummary:
    """Deblur one clip; the output appears under its name only when it is complete.

    Long clips are done in segments that are kept beside the output until all are there, so that the same call goes on
    where the last one ended, however that was.

    Args:
        source: The clip.
        target: The output; its suffix chooses the container.
        job: The user's choices.
        on_progress: Called after every frame, in the caller's thread.
        on_warning: Called once for each thing that is not kept as it was, maybe from another thread.
        on_note: Told what of an earlier run is used.
        on_made: Given every new frame with the one it was made of, in the caller's thread, before `on_progress`.
        stop: When set, the run ends: nothing but finished segments is left, and `Interrupted` says how far it got.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; no output is left.

    """
    run = VideoRun(
        source=source, target=target, job=job, on_progress=on_progress, on_warning=on_warning, on_note=on_note,
        on_made=on_made, stop=stop,
    )  # fmt: skip
    return run.guarded()


@dataclass(kw_only=True, slots=True)
class VideoRun:
    """One clip's way through the pipeline."""

    source: Path
    target: Path
    job: VideoJob
    on_progress: Callable[[Progress], None]
    on_warning: Callable[[str], None]
    stop: threading.Event | None
    on_note: Callable[[str], None] = _ignore
    on_made: Callable[[Made], None] = _ignore
    deblurrer: "Deblurrer | None" = None
    kept: KeptNetworks = field(default_factory=KeptNetworks)
    cluster: "ClipOnCluster | None" = None  # None: this process computes
    networks: NetworkFacts | None = None  # None for identity
    encoder: str = ""  # FFmpeg's name
    num_clips: int = 1  # of a folder: they all get one weight set
    progress: Progress = field(default_factory=Progress)
    num_frames_before: int = 0  # of the progress, done by an earlier run
    work: WorkFolder | None = None  # of a clip that is done in segments
    warnings: list[str] = field(default_factory=list)
    is_rounded: bool = False  # whether some time stamp is no whole number of milliseconds
    started_s: float = field(default_factory=time.monotonic)

    def guarded(self) -> VideoSummary:
        """Run, and turn what FFmpeg did not expect of this clip into one sentence."""
        try:
            return self.run()
        except av.error.FFmpegError as error:
            raise SourceError(f"{self.source}: FFmpeg cannot process it ({error_text(error)})") from error

    def run(self) -> VideoSummary:
        """Check, open, stream, close: in this order, so that nothing is written before all is checked."""
        job = self.job
        with ExitStack() as stack:
            opened = open_video(
                self.source, self.target, job, stack, makes_pixels=self.cluster is None, on_warning=self._warn
            )
            reader, encoding, companions = opened.reader, opened.encoding, opened.companions
            self.encoder = encoding.settings.encoder
            if self.cluster is not None or is_segmented(reader.info, job):
                self.work = stack.enter_context(WorkFolder(self.target))
            self._ready_networks(reader.info)
            parts = [stack.enter_context(output) for output in opened.outputs]
            writer = stack.enter_context(open_writer(parts[0], reader.info, encoding, companions, backend=job.writer))
            extras = ExtraVideos(job, parts[1:], reader.info, stack)
            self.progress = Progress(total_frames=expected_frames(reader.info, job))
            if self.work is None:
                self._stream(reader, writer, extras, stack)
            else:
                assert isinstance(writer, PyavWriter)
                main = Outlet(
                    name="video", part=parts[0], info=reader.info, encoding=encoding, writer=writer,
                    picture=picture_of("video", reader.info),
                )  # fmt: skip
                self.work.total_frames = self.progress.total_frames
                self._in_segments(reader, [main, *extras.outlets], self.work, stack)
            if reader.num_broken:
                self._warn(f"{reader.num_broken} broken frames are replaced by the last good one before them")
            start_s = reader.first_pts * reader.info.time_base - (companions.begin_s or 0)
            for message in losses(
                companions.clip, parts[0], companions.plans, start_s=start_s, is_rounded=self.is_rounded,
                is_cut=companions.is_cut,
            ):  # fmt: skip
                self._warn(message)
            num_broken = reader.num_broken
        if job.keep_date and (told := keep_date(self.source, self.target)):
            self._warn(told)
        return VideoSummary(
            source=self.source,
            target=self.target,
            num_frames=self.progress.num_frames,
            num_broken=num_broken,
            num_frames_before=self.num_frames_before,
            windows_tried=self.progress.windows_tried,
            windows_accepted=self.progress.windows_accepted,
            elapsed_s=time.monotonic() - self.started_s,
            runtime=self.networks.runtime if self.networks else "identity",
            warnings=tuple(self.warnings),
        )

    def _load(self, info: StreamInfo) -> "Deblurrer":
        return load_deblurrer(
            self.job, info, num_frames=self._frames_of_all(info), on_warning=self._warn, kept=self.kept
        )

    def _frames_of_all(self, info: StreamInfo) -> int | None:
        """How many frames all clips have, if they are like this one."""
        num_frames = expected_frames(info, self.job)
        return None if num_frames is None else num_frames * self.num_clips

    def _ready_networks(self, info: StreamInfo) -> None:
        """Load the weight set, unless a run before has; one that auto chose for the segments that are there stays."""
        if self.job.is_identity:
            return
        chosen = self._chosen_before()
        if chosen and (self.deblurrer is None or chosen != self.deblurrer.name):
            self.job, self.deblurrer = replace(self.job, weights=chosen), None
        if self.cluster is not None:
            self.networks = self.cluster.networks(
                self.job, info, num_frames=self._frames_of_all(info), on_warning=self._warn
            )
            if self.job.weights is None:
                self.job = replace(self.job, weights=self.networks.name, quality="auto")
            return
        if self.deblurrer is None:
            self.deblurrer = self._load(info)
        made = self.deblurrer
        self.networks = NetworkFacts(name=made.name, digest=made.digest, runtime=str(made.runtime))

    def _chosen_before(self) -> str:
        """The shipped set with which an earlier run began, where this one may choose; empty if there is none."""
        if self.work is None or self.job.weights is not None or self.job.quality != "auto" or self.job.restart:
            return ""
        name = self.work.asked.get(WEIGHT_SET, "")
        return name if name in SHIPPED_SETS else ""

    def _stream(self, reader: VideoReader, writer: VideoWriter, extras: ExtraVideos, stack: ExitStack) -> None:
        """Frames from the decode thread, through the networks in this one, to the encode thread."""
        frames, hand_over, finish = beside(reader.frames(), self.deblurrer, stack)
        made = stack.enter_context(closing(deblurred(self._seen(frames, reader.info), self.deblurrer, self.job)))
        for one in made:
            hand_over(partial(writer.write, one.frame))
            extras.write(one)
            self.on_made(one)
            self._advance(one.windows_tried, one.windows_accepted)
        self._raise_if_stopped()
        finish()
        writer.finish()
        extras.finish()

    def _in_segments(self, reader: VideoReader, outlets: list[Outlet], work: WorkFolder, stack: ExitStack) -> None:
        """The same, segment by segment, each on the disk before it counts; those that are there are not done again."""
        self._begin(work, reader.info, {one.name: one.encoding for one in outlets})
        warm_up = 0 if self.job.is_identity else WARM_UP_FRAMES
        run = SegmentedRun(
            outlets=outlets, work=work, warm_up=warm_up,
            deblur=lambda given: deblurred(given, self.deblurrer, self.job), on_made=self._made_new,
            on_done_before=self._skip,
        )  # fmt: skip
        stack.callback(run.close)
        if self.cluster is None:
            frames, run.hand_over, finish = beside(reader.frames(), self.deblurrer, stack)
            run.compute(self._seen(frames, reader.info))
            self._raise_if_stopped()
            finish()
        else:
            self._have_computed(self.cluster, reader, outlets, work, warm_up)
        run.join()

    def _have_computed(
        self, cluster: "ClipOnCluster", reader: VideoReader, outlets: list[Outlet], work: WorkFolder, warm_up: int
    ) -> None:
        """Have a cluster make the segments."""

        def on_done(done: DoneSegment, was_before: bool) -> None:
            if was_before:
                self._skip(done)
            else:
                self._advance(done.windows_tried, done.windows_accepted, num_frames=done.num_frames)

        task = cluster.task(self.source, self.job, reader, outlets, work)
        try:
            cluster.compute(
                self._seen(reader.frames(), reader.info), task, work, warm_up=warm_up,
                in_one=not is_segmented(reader.info, self.job), on_done=on_done,
            )  # fmt: skip
        except Interrupted:
            self._raise_if_stopped()
            raise

    def _begin(self, work: WorkFolder, info: StreamInfo, encodings: dict[str, Encoding]) -> None:
        """Go on with what an earlier run has done, or begin anew, and say which and why."""
        now = asked(self.source, self.job, info, encodings, self.networks)
        done = work.num_frames
        why = "--restart" if self.job.restart else difference(work.asked, now)
        work.begin(now, anew=self.job.restart)
        total = f" of {self.progress.total_frames:,}" if self.progress.total_frames else ""
        if done and why:
            self.on_note(f"begins anew, without the {done:,} frames of an earlier run: {why}")
        elif done:
            self.on_note(f"{done:,}{total} frames were done by an earlier run; this one goes on from there")
        least = least_bytes(info, encodings["video"].settings.codec, self.progress.total_frames or 0)
        work.check_room(least * (1 if work.num_frames else 2))

    def _made_new(self, made: Made) -> None:
        self.on_made(made)
        self._advance(made.windows_tried, made.windows_accepted)

    def _skip(self, done: DoneSegment) -> None:
        self.num_frames_before += done.num_frames
        self._advance(done.windows_tried, done.windows_accepted, num_frames=done.num_frames)

    def _advance(self, windows_tried: int, windows_accepted: int, *, num_frames: int = 1) -> None:
        self.progress = replace(
            self.progress,
            num_frames=self.progress.num_frames + num_frames,
            windows_tried=self.progress.windows_tried + windows_tried,
            windows_accepted=self.progress.windows_accepted + windows_accepted,
            elapsed_s=time.monotonic() - self.started_s,
        )
        self.on_progress(self.progress)

    def _seen(self, frames: Iterable[Frame], info: StreamInfo) -> Iterator[Frame]:
        """The frames until the run is stopped; what will be lost of them is noticed."""
        milliseconds = info.time_base * 1000
        takes_captions = self.job.writer == "pyav" and keeps_captions(self.encoder)
        for frame in frames:
            self._raise_if_stopped()
            if frame.captions is not None and not takes_captions:
                self._warn("closed captions are dropped: only h264 and hevc of the writer pyav keep them")
            self.is_rounded |= frame.pts * milliseconds.numerator % milliseconds.denominator != 0
            yield frame

    def _raise_if_stopped(self) -> None:
        if self.stop is not None and self.stop.is_set():
            total = self.progress.total_frames
            count = f"{self.progress.num_frames} of {total}" if total else str(self.progress.num_frames)
            if self.work is not None and self.work.num_frames:
                kept = f"{self.work.num_frames:,} of them are kept, and the same command goes on from there"
            else:
                kept = f"{self.target} is not written"
            raise Interrupted(f"stopped after {count} frames; {kept}")

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
            self.on_warning(message)
