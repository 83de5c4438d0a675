"""The heatmap and compare videos beside the main one; they have its timing, and no other streams."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from concertdeblur.frame import Frame, Orientation, StreamInfo
from concertdeblur.media.comparison import doubled_size, side_by_side
from concertdeblur.media.containers import output_format
from concertdeblur.media.encoders import EncoderSettings
from concertdeblur.media.encoding import Encoding, plan_encoding
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.pipelines.segments.making import Made, Picture
from concertdeblur.pipelines.segments.segmented_run import Outlet
from concertdeblur.pipelines.video_job import VideoJob


class ExtraVideos:
    """The heatmap and compare videos that the job asks for."""

    def __init__(self, job: VideoJob, parts: list[Path], info: StreamInfo, stack: ExitStack) -> None:
        self.outlets: list[Outlet] = []
        left = iter(parts)
        if job.heatmap:
            self._add("heatmap", next(left), job.heatmap, info, info, stack)
        if job.compare:
            height, width = doubled_size(info)
            doubled = replace(info, height=height, width=width)
            self._add("compare", next(left), job.compare, doubled, info, stack)

    def _add(
        self, name: str, part: Path, target: Path, info: StreamInfo, source_info: StreamInfo, stack: ExitStack
    ) -> None:
        encoding = _encoding_of(target, info)
        writer = stack.enter_context(PyavWriter(part, info, encoding))
        picture = picture_of(name, source_info)
        self.outlets.append(Outlet(name=name, part=part, info=info, encoding=encoding, writer=writer, picture=picture))

    def write(self, made: Made) -> None:
        """Write one frame to each."""
        for outlet in self.outlets:
            frame = outlet.picture(made)
            if frame is not None:
                outlet.writer.write(frame)

    def finish(self) -> None:
        """Complete the files."""
        for outlet in self.outlets:
            outlet.writer.finish()


def picture_of(name: str, info: StreamInfo) -> Picture:
    """What of a deblurred frame an output shows: "video", "heatmap" or "compare".

    Args:
        name: Of the output.
        info: The source's video stream.

    """
    if name == "heatmap":
        return _heated
    return partial(_compared, info.orientation) if name == "compare" else _deblurred


def _deblurred(made: Made) -> Frame:
    return made.frame


def _heated(made: Made) -> Frame | None:
    new = made.frame.pixels
    if new is None or made.heatmap is None:
        return None
    from concertdeblur.deblurring.cam import heat_overlay  # imports torch

    return made.source.with_pixels(heat_overlay(new, made.heatmap))


def _compared(orientation: Orientation, made: Made) -> Frame | None:
    old, new = made.source.pixels, made.frame.pixels
    if old is None or new is None:
        return None
    return made.source.with_pixels(side_by_side(old, new, orientation=orientation))


def _encoding_of(target: Path, info: StreamInfo) -> Encoding:
    format_name = output_format(target)
    settings = EncoderSettings(codec="av1" if format_name == "webm" else "h264", num_threads=1)
    return plan_encoding(info, format_name, settings)
