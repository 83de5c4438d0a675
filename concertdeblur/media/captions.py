"""Closed captions (CEA-608/708, ATSC A/53): they travel inside the pictures, and are moved to the changed ones here.

PyAV can read the side data of a frame, but it cannot attach any. A conversion of a frame keeps its side data, though.
So a picture of a few pixels is kept as the bearer of the captions; it is then enlarged, and filled with the changed
planes.
"""

import av
import numpy as np
from av.video.reformatter import Interpolation

from concertdeblur.media.side_data import side_data_of

_A53 = "A53_CC"
_BEARER_PX = 16
_ENCODERS = frozenset({"libx264", "libx265", "h264_nvenc", "hevc_nvenc"})  # the others cannot write captions
# libx265 writes captions only when told to
ENCODER_OPTIONS = {"libx265": {"a53cc": "1"}}


def keeps_captions(encoder: str) -> bool:
    """Whether an encoder of PyAV's writes the captions of the frames that it gets."""
    return encoder in _ENCODERS


def caption_bearer(picture: av.VideoFrame) -> av.VideoFrame | None:
    """A tiny picture with the captions of a decoded one; None if it has none."""
    if not any(each.type.name == _A53 for each in side_data_of(picture)):
        return None
    return picture.reformat(width=_BEARER_PX, height=_BEARER_PX, format="yuv420p", interpolation=Interpolation.POINT)


def captioned(planes: av.VideoFrame, bearer: av.VideoFrame) -> av.VideoFrame:
    """A picture with the same planes and the bearer's captions."""
    made = bearer.reformat(
        width=planes.width, height=planes.height, format=planes.format.name, interpolation=Interpolation.POINT
    )
    if made is bearer:  # same size and format: the bearer itself must stay as it is
        made = bearer.reformat(format="gbrp").reformat(format=planes.format.name)
    for target, source in zip(made.planes, planes.planes, strict=True):
        rows = (
            np.frombuffer(memoryview(plane), dtype=np.uint8)[: plane.height * plane.line_size]
            for plane in (target, source)
        )
        into, given = (each.reshape(target.height, -1) for each in rows)
        used = min(into.shape[1], given.shape[1])
        into[:, :used] = given[:, :used]
    return made
