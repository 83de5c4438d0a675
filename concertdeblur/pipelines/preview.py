"""`concertdeblur video --preview`: one second, or one frame, before and after, and how long the whole would take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from concertdeblur.errors import TargetError, UsageError
from concertdeblur.frame import Pixels, StreamInfo
from concertdeblur.media.backends import open_reader
from concertdeblur.media.comparison import side_by_side
from concertdeblur.media.output_file import OutputFile, target_error
from concertdeblur.pipelines.kept_networks import load_deblurrer
from concertdeblur.pipelines.video_frames import reader_options
from concertdeblur.pipelines.video_job import Progress, VideoJob
from concertdeblur.pipelines.video_opening import expected_frames
from concertdeblur.progress import duration_text

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurredFrame

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SECOND = Fraction(1)
_AROUND_S = Fraction(1, 6)  # before and after a frame
_ONE_FRAME_S = Fraction(1, 1000)  # the frame on screen then, and no other
_UNTIMED_FRAMES = 3
_MOST_STRETCH = 4  # a header that says more is broken, and its picture would fill the memory
_DEEP = 257  # levels of 16 bits in one of 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewSummary:
    """What was tried, and what the whole would take."""

    source: Path
    target: Path
    time_s: float  # of the frame that is shown, counted from the first frame
    num_frames: int  # that were deblurred
    frame_s: float  # seconds a frame, without loading the networks
    total_frames: int | None  # of the whole; None: the clip does not say
    estimate_s: float | None  # for the whole
    runtime: str

    def text(self) -> str:
        """In words."""
        rows = [("shows", f"the frame at {self.time_s:.2f} s, before and after")]
        if self.estimate_s is not None:
            rows.append(
                ("the whole", f"would take about {duration_text(self.estimate_s)} ({self.total_frames} frames)")
            )
        else:
            rows.append(
                ("the whole", f"would take {duration_text(self.frame_s)} a frame; the clip does not say how many")
            )
        rows.append(("ran on", self.runtime))
        return "\n".join([f"{self.target} is written.", *(f"  {name:<9} {text}" for name, text in rows)])


def preview_target(source: Path, target: Path | None) -> Path:
    """The picture's name: beside the clip's output, or the clip, with `.preview.png` at the end."""
    if target is not None and target.suffix.lower() in _SUFFIXES:
        return target
    if target is not None and target.is_dir():
        return target / f"{source.stem}.preview.png"
    beside = target or source
    return beside.with_name(f"{beside.stem}.preview.png")


def preview(
    source: Path,
    target: Path,
    job: VideoJob,
    *,
    time_s: Fraction | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> PreviewSummary:
    """Deblur a little of a clip.

    Args:
        source: The clip.
        target: A png or jpg: before on the left, after on the right, upright and in their true shape.
        job: The user's choices; a start and an end say what the whole is.
        time_s: The frame to show, counted from the first one; None: a second in the middle of the whole.
        on_progress: Called after every frame.
        on_warning: Called once for each thing that the user should know.

    Raises:
        ConcertDeblurError: One of its kinds, with one sentence for the user; no output is left.

    """
    if job.is_identity:
        raise UsageError("with strength 0 no network runs: there is nothing to preview")
    from concertdeblur.deblurring.deblurrer import DeblurOptions

    output = OutputFile(target, overwrite=job.overwrite, sources=(source,))
    whole = replace(reader_options(job), start_s=None, end_s=None)
    with open_reader(source, whole, backend=job.reader, on_warning=on_warning) as reader:
        info = reader.info
    total = expected_frames(info, job)
    begin_s, end_s = _span(job, total, info.rate, time_s)
    deblurrer = load_deblurrer(job, info, num_frames=total, on_warning=on_warning)
    options = DeblurOptions(strength=job.strength, refine=job.refine, refine_share=job.refine_share)
    while True:
        part = replace(whole, start_s=begin_s, end_s=end_s)
        try:
            with open_reader(source, part, backend=job.reader) as reader:
                decoded, origin_s = reader.frames(), reader.origin_s
                first = list(islice(decoded, _UNTIMED_FRAMES))
                stamps = [frame.pts for frame in (*first, *decoded)]
            break
        except UsageError:  # a clip that is cut off has less than its header promises
            first_s = job.start_s or Fraction(0)
            if time_s is not None or begin_s <= first_s:
                raise
            begin_s = first_s + (begin_s - first_s) / 2 if begin_s - first_s > _SECOND else first_s
            end_s = begin_s + _SECOND
    list(deblurrer.stream(first, options))  # they compile and fill caches
    times_s = [pts * info.time_base - origin_s for pts in stamps]
    place = len(stamps) // 2 if time_s is None else max(0, sum(time <= time_s for time in times_s) - 1)
    shown: DeblurredFrame | None = None  # a second of slow motion has gigabytes, so no other frame is kept
    with open_reader(source, part, backend=job.reader) as reader:
        started_s = time.monotonic()
        for number, made in enumerate(deblurrer.stream(reader.frames(), options)):
            if number == place:
                shown = made
            elapsed_s = time.monotonic() - started_s
            on_progress(Progress(num_frames=number + 1, total_frames=len(stamps), elapsed_s=elapsed_s))
        frame_s = (time.monotonic() - started_s) / len(stamps)
    assert shown is not None
    assert shown.source.pixels is not None
    assert shown.frame.pixels is not None
    before, after = (_in_true_shape(pixels, info) for pixels in (shown.source.pixels, shown.frame.pixels))
    _write(output, info.orientation.of(side_by_side(before, after, orientation=info.orientation)))
    return PreviewSummary(
        source=source,
        target=target,
        time_s=float(shown.source.pts * info.time_base - origin_s),
        num_frames=len(stamps) if time_s is None else 1,
        frame_s=round(frame_s, 4),
        total_frames=total,
        estimate_s=None if total is None else round(total * frame_s, 1),
        runtime=str(deblurrer.runtime),
    )


def _span(
    job: VideoJob, num_frames: int | None, rate: Fraction | None, time_s: Fraction | None
) -> tuple[Fraction, Fraction]:
    """From when to when frames are deblurred: a second, or about a time, since neighbours say how a frame moves."""
    if time_s is None:
        begin_s = _middle_s(job, num_frames, rate)
        return begin_s, begin_s + _SECOND
    return max(Fraction(0), time_s - _AROUND_S), time_s + _ONE_FRAME_S + _AROUND_S


def _middle_s(job: VideoJob, num_frames: int | None, rate: Fraction | None) -> Fraction:
    """When a second in the middle of the whole begins; the beginning of a clip whose length is not known."""
    begin_s = job.start_s or Fraction(0)
    if num_frames is None or not rate:
        return begin_s
    return begin_s + max(Fraction(0), (num_frames / rate - _SECOND) / 2)


def _in_true_shape(pixels: Pixels, info: StreamInfo) -> Pixels:
    """A frame as coded, with as many columns as it has square pixels across."""
    height, width = pixels.shape[:2]
    ratio = info.sample_aspect_ratio or Fraction(1)
    if not 1 / _MOST_STRETCH <= ratio <= _MOST_STRETCH:
        return pixels
    shown_width = max(1, round(width * ratio))
    return pixels if shown_width == width else np.asarray(cv2.resize(pixels, (shown_width, height)), pixels.dtype)


def _write(output: OutputFile, upright: Pixels) -> None:
    if upright.dtype == np.uint16:
        upright = (upright // _DEEP).astype(np.uint8)
    is_encoded, data = cv2.imencode(output.target.suffix, np.ascontiguousarray(upright[:, :, ::-1]))
    if not is_encoded:
        raise TargetError(f"{output.target}: the picture cannot be encoded")
    with output as part:
        try:
            part.write_bytes(data.tobytes())
        except OSError as error:
            raise target_error(output.target, error) from error
