"""Cropping that a container asks for (Matroska's PixelCrop, mp4's clean aperture).

PyAV can neither read nor write it. So the numbers are read from FFmpeg's description of the file, and the
hidden borders are cut off. Every player then shows the picture as it was meant to be shown.
"""

import re
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.filter import Graph

from concertdeblur.media.descriptions import STREAM, described

_CROPPING = re.compile(r"^\s*Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """Borders in px that are not to be shown."""

    left: int
    right: int
    top: int
    bottom: int


def container_crop(container: InputContainer, index: int) -> Crop | None:
    """What the container hides of a stream's pictures; None if nothing."""
    current = None
    for line in described(container).splitlines():
        if match := STREAM.match(line):
            current = int(match[1])
        elif current == index and (match := _CROPPING.match(line)):
            left, right, top, bottom = map(int, match.groups())
            return Crop(left=left, right=right, top=top, bottom=bottom) if left + right + top + bottom else None
    return None


def cropped_to_even(crop: Crop | None, height: int, width: int) -> Crop | None:
    """A crop that leaves even sides, since most encoders take no odd ones in 4:2:0.

    Args:
        crop: What is cut off anyway.
        height: Of the coded picture.
        width: Of the coded picture.

    """
    crop = crop or Crop(left=0, right=0, top=0, bottom=0)
    right = crop.right + (width - crop.left - crop.right) % 2
    bottom = crop.bottom + (height - crop.top - crop.bottom) % 2
    made = Crop(left=crop.left, right=right, top=crop.top, bottom=bottom)
    return made if made.left + made.right + made.top + made.bottom else None


class Cropper:
    """Cuts pictures, without copying or converting them."""

    def __init__(self, crop: Crop) -> None:
        self._crop = crop
        self._graph: Graph | None = None

    def cut(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The part that is to be shown, with everything else of the picture as it was."""
        if self._graph is None:
            self._graph = self._made(picture)
        self._graph.vpush(picture)
        made = self._graph.vpull()
        made.pts, made.duration = picture.pts, picture.duration
        return made

    def _made(self, picture: av.VideoFrame) -> Graph:
        crop, graph = self._crop, Graph()
        width = max(1, picture.width - crop.left - crop.right)
        height = max(1, picture.height - crop.top - crop.bottom)
        source = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
        )
        cut = graph.add("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1")
        graph.link_nodes(source, cut, graph.add("buffersink")).configure()
        return graph
