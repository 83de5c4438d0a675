"""The heatmap and compare videos beside the main one: the same timing, no other streams."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from concertdeblur.frame import StreamInfo
from concertdeblur.media.comparison import doubled_size, side_by_side
from concertdeblur.media.containers import output_format
from concertdeblur.media.encoders import EncoderSettings
from concertdeblur.media.encoding import plan_encoding
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.pipelines.video_job import Unchanged, VideoJob

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurredFrame


class ExtraVideos:
    """The heatmap and compare videos, where they are asked for."""

    def __init__(self, job: VideoJob, parts: list[Path], info: StreamInfo, stack: ExitStack) -> None:
        self._rotation_deg = info.rotation_deg
        left = iter(parts)
        self._heatmap = self._open(next(left), job.heatmap, info, stack) if job.heatmap else None
        self._compare = None
        if job.compare:
            height, width = doubled_size(info)
            self._compare = self._open(next(left), job.compare, replace(info, height=height, width=width), stack)

    @staticmethod
    def _open(part: Path, target: Path, info: StreamInfo, stack: ExitStack) -> PyavWriter:
        format_name = output_format(target)
        settings = EncoderSettings(codec="av1" if format_name == "webm" else "h264", num_threads=1)
        return stack.enter_context(PyavWriter(part, info, plan_encoding(info, format_name, settings)))

    def write(self, made: "DeblurredFrame | Unchanged") -> None:
        """Write one frame to each."""
        before = made.source
        old, new = before.pixels, made.frame.pixels
        if old is None or new is None:
            return
        if self._heatmap and made.heatmap is not None:
            from concertdeblur.deblurring.cam import heat_overlay  # imports torch

            self._heatmap.write(before.with_pixels(heat_overlay(new, made.heatmap)))
        if self._compare:
            self._compare.write(before.with_pixels(side_by_side(old, new, rotation_deg=self._rotation_deg)))

    def finish(self) -> None:
        """Complete the files."""
        for writer in (self._heatmap, self._compare):
            if writer:
                writer.finish()
