"""A clip is opened for a video job, and everything that can fail is checked before anything is written."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from concertdeblur.errors import UsageError
from concertdeblur.frame import StreamInfo
from concertdeblur.media.backends import open_reader, supported_by
from concertdeblur.media.clip import Clip, open_clip
from concertdeblur.media.containers import check_source, output_format
from concertdeblur.media.copier import Companions
from concertdeblur.media.encoders import EncoderSettings, canonical_codec
from concertdeblur.media.encoding import COMPATIBLE_FORMAT, Encoding, plan_encoding
from concertdeblur.media.output_file import OutputFile
from concertdeblur.media.reader import VideoReader
from concertdeblur.media.streams import StreamChoices, StreamPlan, plan_streams
from concertdeblur.pipelines.segments.cutting import is_long
from concertdeblur.pipelines.video_frames import codec_threads, reader_options
from concertdeblur.pipelines.video_job import VideoJob

# The fewest bytes that an encoded pixel takes
_LEAST_PIXEL_BYTES = {"ffv1": 0.3, "prores": 0.3}
_LEAST_LOSSY_PIXEL_BYTES = 0.002


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedVideo:
    """A clip that was opened for a job, and how its outputs are made."""

    reader: VideoReader
    encoding: Encoding
    companions: Companions
    outputs: list[OutputFile]  # of the main video, then of the heatmap and compare videos; not entered yet


def open_video(
    source: Path, target: Path, job: VideoJob, stack: ExitStack, *, makes_pixels: bool,
    on_warning: Callable[[str], None],
) -> OpenedVideo:  # fmt: skip
    """Open a clip and check the whole job.

    Args:
        source: The clip.
        target: The output.
        job: The user's choices.
        stack: Closes the clip.
        makes_pixels: Whether the frames are deblurred in this process; a cluster's workers read the clip themselves.
        on_warning: Called once for each thing that is not kept as it was.

    Raises:
        ConcertDeblurError: One of its kinds, if the job cannot be done.

    """
    format_name = output_format(target)
    if job.compatible and format_name != "mp4":
        raise UsageError(f"{target.name}: --compatible writes mp4; let the output's name end in .mp4")
    check_source(source)
    outputs = _outputs(source, target, job)
    settings = _encoder_settings(job, format_name)
    options = reader_options(job)
    if not makes_pixels:
        options = replace(options, wants_pixels=False, num_threads=0)
    reader = stack.enter_context(open_reader(source, options, backend=job.reader, on_warning=on_warning))
    encoding = _encoding(job, reader.info, format_name, settings)
    clip = stack.enter_context(open_clip(source, reader.timeline))
    plans, lost = plan_streams(clip, reader.info.index, format_name, _stream_choices(job))
    for message in (*lost, *encoding.losses):
        on_warning(message)
    companions = _companions(job, reader, clip, plans, on_warning)
    return OpenedVideo(reader=reader, encoding=encoding, companions=companions, outputs=outputs)


def expected_frames(info: StreamInfo, job: VideoJob) -> int | None:
    """How many frames there are between the job's start and end, according to the header; None if it does not say."""
    if info.num_frames_hint is None or (job.start_s is None and job.end_s is None):
        return info.num_frames_hint
    if info.rate is None:
        return None
    whole_s = info.num_frames_hint / info.rate
    length_s = min(job.end_s or whole_s, whole_s) - (job.start_s or 0)
    return max(1, round(length_s * info.rate))


def is_segmented(info: StreamInfo, job: VideoJob) -> bool:
    """Whether a clip is done in segments, because it is longer than one; the writer ffmpeg makes one piece."""
    return job.writer == "pyav" and is_long(expected_frames(info, job))


def least_bytes(info: StreamInfo, codec: str, num_frames: int) -> float:
    """The fewest bytes that the frames take when they are encoded."""
    return info.height * info.width * num_frames * _LEAST_PIXEL_BYTES.get(codec, _LEAST_LOSSY_PIXEL_BYTES)


def _outputs(source: Path, target: Path, job: VideoJob) -> list[OutputFile]:
    paths = [target, *(path for path in (job.heatmap, job.compare) if path is not None)]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("output, heatmap and compare must be different files")
    for path in paths[1:]:
        output_format(path)
    return [OutputFile(path, overwrite=job.overwrite, sources=(source,)) for path in paths]


def _encoder_settings(job: VideoJob, format_name: str) -> EncoderSettings:
    codec = canonical_codec(job.codec or ("av1" if format_name == "webm" else "h264"))
    return EncoderSettings(codec=codec, crf=job.crf, preset=job.preset, num_threads=codec_threads(job))


def _encoding(job: VideoJob, info: StreamInfo, format_name: str, settings: EncoderSettings) -> Encoding:
    supported = supported_by(job.writer, settings.encoder)
    if job.compatible:
        supported = (COMPATIBLE_FORMAT,)
    is_default = job.codec is None and format_name != "webm"
    return plan_encoding(info, format_name, settings, supported=supported, is_default=is_default)


def _stream_choices(job: VideoJob) -> StreamChoices:
    audio = "aac" if job.compatible and job.audio == "copy" else job.audio
    return StreamChoices(audio=audio, converts_unfit=job.fits_sound, drops_unfit=job.drop_streams)


def _companions(
    job: VideoJob, reader: VideoReader, clip: Clip, plans: tuple[StreamPlan, ...], on_warning: Callable[[str], None]
) -> Companions:
    """The other streams, cut where the video is cut; a cut clip begins at 0 with its first frame."""
    begin_s = end_s = None
    if job.start_s is not None or job.end_s is not None:
        begin_s = reader.first_pts * reader.info.time_base
    if job.end_s is not None:
        end_s = reader.origin_s + job.end_s
    return Companions(clip=clip, plans=plans, begin_s=begin_s, end_s=end_s, on_warning=on_warning)
