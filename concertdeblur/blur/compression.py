"""Lossy compression in memory: a picture as it comes back from a JPEG file or from a frame of H.264."""

from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import MissingDependencyError

_RATE_FPS = 30


def jpeg(picture: Picture, quality: int) -> Picture:
    """One round trip through JPEG.

    Args:
        picture: (height, width, 3) RGB uint8.
        quality: 1 to 100, OpenCV's scale; colour is halved in both directions.

    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def h264(frames: Sequence[Picture], crf: int) -> Picture:
    """The last of a few consecutive frames that pass through H.264 and back (`h264_clip`)."""
    return _pixels(_round_trip(frames, crf)[-1], frames[-1])


def h264_clip(frames: Sequence[Picture], crf: int) -> list[Picture]:
    """Consecutive frames after one round trip through H.264.

    As in a clip, the first frame is coded by itself and the others from their predecessors, in 8-bit 4:2:0, BT.709 and
    limited range. One thread codes them, so the same input gives the same bytes. Two frames of 304x304 take 7 ms on one
    core.

    Args:
        frames: (height, width, 3) RGB uint8, all of one size.
        crf: libx264's quality, 0 to 51; phones write about 18 to 24, shared clips 26 to 36.

    Raises:
        MissingDependencyError: If PyAV was built without libx264.

    """
    return [_pixels(made, frame) for made, frame in zip(_round_trip(frames, crf), frames, strict=True)]


def _round_trip(frames: Sequence[Picture], crf: int) -> list[av.VideoFrame]:
    height, width = frames[0].shape[:2]
    try:
        encoder = av.CodecContext.create("libx264", "w")
    except av.codec.codec.UnknownCodecError as error:
        raise MissingDependencyError("this PyAV lacks libx264, with which footage is imitated") from error
    encoder.width, encoder.height = width + width % 2, height + height % 2
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, _RATE_FPS), Fraction(_RATE_FPS)
    encoder.thread_count = 1
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "crf": str(crf)}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    reformatter = VideoReformatter()
    packets = []
    for number, frame in enumerate(frames):
        packets += encoder.encode(_planes(frame, number, reformatter))
    packets += encoder.encode(None)
    return [frame for packet in [*packets, None] for frame in decoder.decode(packet)]


def _pixels(made: av.VideoFrame, like: Picture) -> Picture:
    rgb = VideoReformatter().reformat(
        made, format="rgb24", threads=1,
        src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
    )  # fmt: skip
    return np.ascontiguousarray(rgb.to_ndarray()[: like.shape[0], : like.shape[1]], dtype=np.uint8)


def _planes(picture: Picture, number: int, reformatter: VideoReformatter) -> av.VideoFrame:
    height, width = picture.shape[:2]
    even = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    frame = reformatter.reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(even, dtype=np.uint8), "rgb24"),
        format="yuv420p", threads=1,
        dst_colorspace=Colorspace.ITU709, src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
    )  # fmt: skip
    frame.pts = number
    return frame
