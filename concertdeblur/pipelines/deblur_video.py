"""`concertdeblur video`: decode, deblur, encode; everything else in the file passes by untouched.

Read `VideoRun.run` from top to bottom to see the whole job.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av.error

from concertdeblur.errors import (
    Interrupted,
    SourceError,
    UsageError,
)
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.captions import keeps_captions
from concertdeblur.media.clip import Clip, open_clip
from concertdeblur.media.clip_folder import clips_in
from concertdeblur.media.containers import FORMATS, check_source, error_text, output_format
from concertdeblur.media.copier import Companions
from concertdeblur.media.encoders import EncoderSettings, canonical_codec
from concertdeblur.media.output_file import OutputFile, keep_date
from concertdeblur.media.backends import open_reader, open_writer, supported_by
from concertdeblur.media.reader import VideoReader
from concertdeblur.media.streams import StreamChoices, StreamPlan, plan_streams
from concertdeblur.media.tags import losses
from concertdeblur.media.encoding import COMPATIBLE_FORMAT, Encoding, plan_encoding
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.media.writer import VideoWriter
from concertdeblur.pipelines.extra_videos import ExtraVideos, picture_of
from concertdeblur.pipelines.kept_networks import KeptNetworks
from concertdeblur.pipelines.segments.cutting import is_long
from concertdeblur.pipelines.segments.identity import WEIGHT_SET, NetworkFacts, asked, difference
from concertdeblur.pipelines.segments.making import Made
from concertdeblur.pipelines.segments.segmented_run import WARM_UP_FRAMES, Outlet, SegmentedRun
from concertdeblur.pipelines.segments.work_folder import DoneSegment, WorkFolder
from concertdeblur.pipelines.video_frames import beside, codec_threads, deblurred, reader_options
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer
    from concertdeblur.pipelines.segments.remote import ClipOnCluster

__all__ = ["Progress", "VideoJob", "VideoSummary", "VideoRun", "deblur_video"]

SHIPPED_SETS = ("concert", "concert-fast")  # that the quality auto chooses from
_LEAST_PIXEL_BYTES = {"ffv1": 0.3, "prores": 0.3}
_LEAST_LOSSY_PIXEL_BYTES = 0.002


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
            format_name = output_format(self.target)
            if job.compatible and format_name != "mp4":
                raise UsageError(f"{self.target.name}: --compatible writes mp4; let the output's name end in .mp4")
            check_source(self.source)
            outputs = self._outputs()
            settings = self._encoder_settings(format_name)
            reader = stack.enter_context(self._open_reader())
            encoding = self._plan_encoding(reader.info, format_name, settings)
            clip = stack.enter_context(open_clip(self.source, reader.timeline))
            plans, lost = plan_streams(clip, reader.info.index, format_name, self._stream_choices())
            self._warn_all([*lost, *encoding.losses])
            self.encoder = settings.encoder
            if self.cluster is not None or is_segmented(reader.info, job):
                self.work = stack.enter_context(WorkFolder(self.target))
            self._ready_networks(reader.info)
            companions = self._companions(reader, clip, plans)
            parts = [stack.enter_context(output) for output in outputs]
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
            self._warn_all(
                losses(
                    clip, parts[0], plans, start_s=reader.first_pts * reader.info.time_base - (companions.begin_s or 0),
                    is_rounded=self.is_rounded, is_cut=companions.is_cut,
                )
            )  # fmt: skip
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
            outlets=outlets, work=work, warm_up=warm_up, deblur=lambda given: deblurred(given, self.deblurrer, self.job),
            on_made=self._made_new, on_done_before=self._skip,
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

    def _warn_all(self, messages: Iterable[str]) -> None:
        for message in messages:
            self._warn(message)

    def _outputs(self) -> list[OutputFile]:
        paths = [self.target, *(path for path in (self.job.heatmap, self.job.compare) if path is not None)]
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError("output, heatmap and compare must be different files")
        for path in paths[1:]:
            output_format(path)
        return [OutputFile(path, overwrite=self.job.overwrite, sources=(self.source,)) for path in paths]

    def _encoder_settings(self, format_name: str) -> EncoderSettings:
        codec = canonical_codec(self.job.codec or ("av1" if format_name == "webm" else "h264"))
        return EncoderSettings(
            codec=codec, crf=self.job.crf, preset=self.job.preset, num_threads=codec_threads(self.job)
        )

    def _plan_encoding(self, info: StreamInfo, format_name: str, settings: EncoderSettings) -> Encoding:
        supported = supported_by(self.job.writer, settings.encoder)
        if self.job.compatible:
            supported = (COMPATIBLE_FORMAT,)
        is_default = self.job.codec is None and format_name != "webm"
        return plan_encoding(info, format_name, settings, supported=supported, is_default=is_default)

    def _open_reader(self) -> VideoReader:
        options = reader_options(self.job)
        if self.cluster is not None:  # whose workers make pixels
            options = replace(options, wants_pixels=False, num_threads=0)
        return open_reader(self.source, options, backend=self.job.reader, on_warning=self._warn)

    def _stream_choices(self) -> StreamChoices:
        job = self.job
        audio = "aac" if job.compatible and job.audio == "copy" else job.audio
        return StreamChoices(audio=audio, converts_unfit=job.fits_sound, drops_unfit=job.drop_streams)

    def _companions(self, reader: VideoReader, clip: Clip, plans: tuple[StreamPlan, ...]) -> Companions:
        """The other streams, cut where the video is cut; a cut clip begins at 0 with its first frame."""
        begin_s = end_s = None
        if self.job.start_s is not None or self.job.end_s is not None:
            begin_s = reader.first_pts * reader.info.time_base
        if self.job.end_s is not None:
            end_s = reader.origin_s + self.job.end_s
        return Companions(clip=clip, plans=plans, begin_s=begin_s, end_s=end_s, on_warning=self._warn)


def is_segmented(info: StreamInfo, job: VideoJob) -> bool:
    """Whether a clip is done in segments: one of more than a segment's frames; the writer ffmpeg makes one piece."""
    return job.writer == "pyav" and is_long(expected_frames(info, job))


def least_bytes(info: StreamInfo, codec: str, num_frames: int) -> float:
    """What the frames take at the very least once they are encoded."""
    return info.height * info.width * num_frames * _LEAST_PIXEL_BYTES.get(codec, _LEAST_LOSSY_PIXEL_BYTES)


def load_deblurrer(
    job: VideoJob, info: StreamInfo, *, num_frames: int | None, on_warning: Callable[[str], None],
    kept: KeptNetworks | None = None,
) -> "Deblurrer":  # fmt: skip
    """The networks of a job.

    Args:
        job: Its weights, or its quality and the size of the work, decide.
        info: The stream to deblur.
        num_frames: Of all that is to be deblurred; None: not known.
        on_warning: Told if the fast weight set is taken.
        kept: What was loaded before.

    Raises:
        WeightsError: If a set is missing or altered.
        UsageError: If device or backend cannot be used here.

    """
    from concertdeblur.pipelines.quality import load_for_clip  # torch takes seconds to import; identity does without

    kept = kept or KeptNetworks()
    if job.weights is not None:
        return kept.load(job.weights, device=job.device, backend=job.backend)
    return load_for_clip(
        job.quality, device=job.device, backend=job.backend, num_pixels=info.height * info.width,
        num_frames=num_frames, on_warning=on_warning, kept=kept,
    )  # fmt: skip


def expected_frames(info: StreamInfo, job: VideoJob) -> int | None:
    """How many frames there are between the job's start and end, as far as the header tells."""
    if info.num_frames_hint is None or (job.start_s is None and job.end_s is None):
        return info.num_frames_hint
    if info.rate is None:
        return None
    whole_s = info.num_frames_hint / info.rate
    length_s = min(job.end_s or whole_s, whole_s) - (job.start_s or 0)
    return max(1, round(length_s * info.rate))
