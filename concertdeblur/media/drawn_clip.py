"""Drawn pictures as a video stream: H.264 in BT.709, 4:2:0, constant rate. Filmed clips are written by `writer`."""

from collections.abc import Iterable

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.stream import VideoStream

_BT709 = 1
_LIMITED, _FULL = 1, 2  # range


def add_video(
    output: OutputContainer, *, height: int, width: int, rate_fps: int, options: dict[str, str]
) -> VideoStream:
    """A stream for such pictures; the sides must be even.

    Args:
        output: Open, nothing muxed yet.
        height: Of the pictures.
        width: Of the pictures.
        rate_fps: Pictures a second.
        options: Of libx264.
    """
    video = output.add_stream("libx264", rate=rate_fps, options=options)
    video.width, video.height, video.pix_fmt = width, height, "yuv420p"
    context = video.codec_context
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return video


def write_pictures(output: OutputContainer, video: VideoStream, pictures: Iterable[npt.NDArray[np.uint8]]) -> None:
    """Fill a stream by `add_video` to its end with pictures (height, width, 3) RGB."""
    step_s = 1 / video.codec_context.framerate
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        native = frame.reformat(
            format="yuv420p", dst_colorspace=_BT709, src_color_range=_FULL, dst_color_range=_LIMITED
        )
        native.pts, native.time_base = number, step_s
        output.mux(video.encode(native))
    output.mux(video.encode(None))
