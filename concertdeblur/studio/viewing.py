"""A small copy of a clip that every browser plays, for looking only: H.264 in 8 bits, AAC, the same time stamps.

A clip in HDR is copied in ordinary brightness.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from concertdeblur.errors import Interrupted
from concertdeblur.frame import Colour, Frame, StreamInfo
from concertdeblur.media.backends import open_reader, open_writer
from concertdeblur.media.clip import open_clip
from concertdeblur.media.colour import coefficients, effective_range
from concertdeblur.media.copier import Companions
from concertdeblur.media.encoders import EncoderSettings
from concertdeblur.media.encoding import COMPATIBLE_FORMAT, plan_encoding
from concertdeblur.media.output_file import OutputFile
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.media.streams import StreamChoices, plan_streams
from concertdeblur.studio.brightness import in_ordinary_light

_MOST_PX = 1280  # of the longest side
_CRF, _PRESET = 23, "veryfast"
_ORDINARY = Colour(primaries=1, transfer=1, matrix=1, range=1)  # BT.709
_FULL_RANGE = 2  # FFmpeg's number


def write_viewing_copy(
    source: Path, target: Path, *, deinterlace: bool, stop: threading.Event,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> None:  # fmt: skip
    """Write the copy; it appears under its name when it is complete.

    Args:
        source: A clip.
        target: An mp4; one that exists is replaced.
        deinterlace: Whether the clip is interlaced.
        stop: When set, the copy ends, and `Interrupted` is raised.
        on_progress: Told how many frames are done, of how many.

    Raises:
        ConcertDeblurError: One of its kinds, with a sentence for the user.

    """
    options = ReaderOptions(wants_pixels=False, deinterlace=deinterlace)
    with open_reader(source, options) as reader, open_clip(source, reader.timeline) as clip:
        info = reader.info
        height, width = small_size(info)
        small = replace(info, height=height, width=width, pixel_format=COMPATIBLE_FORMAT, bit_depth=8, hdr=None)
        if info.colour.is_hdr:
            small = replace(small, colour=_ORDINARY)
        made_small = _Small(info, small)
        encoding = plan_encoding(
            small, "mp4", EncoderSettings(crf=_CRF, preset=_PRESET), supported=(COMPATIBLE_FORMAT,)
        )
        choices = StreamChoices(audio="aac", converts_unfit=True, drops_unfit=True)
        plans, _ = plan_streams(clip, info.index, "mp4", choices)
        sound = tuple(plan for plan in plans if plan.kind == "audio" or plan.index == info.index)
        companions = Companions(clip=clip, plans=sound, begin_s=None, end_s=None)
        with (
            OutputFile(target, overwrite=True, sources=(source,)) as part,
            open_writer(part, small, encoding, companions, backend="pyav") as writer,
        ):
            for number, frame in enumerate(reader.frames(), 1):
                if stop.is_set():
                    raise Interrupted("the viewing copy is not written")
                writer.write(made_small.of(frame))
                on_progress(number, info.num_frames_hint)
            writer.finish()


def small_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of the copy of a stream: even sides, the longest at most 1280 px."""
    share = min(1.0, _MOST_PX / max(info.height, info.width))
    height, width = (max(2, 2 * round(side * share / 2)) for side in (info.height, info.width))
    return height, width


class _Small:
    """Frames of a stream made small."""

    def __init__(self, info: StreamInfo, small: StreamInfo) -> None:
        self._info, self._size = info, {"height": small.height, "width": small.width}
        self._reformatter = VideoReformatter()

    def of(self, frame: Frame) -> Frame:
        """The frame made small; in HDR it is given in RGB, in ordinary brightness."""
        assert frame.native is not None
        if not self._info.colour.is_hdr:
            native = self._reformatter.reformat(frame.native, format=COMPATIBLE_FORMAT, **self._size)
            return replace(frame, native=native, captions=None)
        rgb = self._reformatter.reformat(
            frame.native, format="rgb48le", src_colorspace=coefficients(self._info),
            src_color_range=effective_range(self._info), dst_color_range=_FULL_RANGE, **self._size,
        )  # fmt: skip
        shown = in_ordinary_light(np.asarray(rgb.to_ndarray(), dtype=np.uint16), self._info.colour)
        return replace(frame, native=None, pixels=shown, captions=None)
