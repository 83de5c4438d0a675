"""Interlaced frames to progressive ones, one for one, with FFmpeg's bwdif."""

from collections.abc import Iterator

import av
import av.error
from av.filter import Graph

from concertdeblur.media.repair import Decoded


class Deinterlacer:
    """bwdif in the mode that gives one frame for each frame, at the same moments."""

    def __init__(self, stream: av.VideoStream, first: av.VideoFrame) -> None:
        self._graph = Graph()
        self._time_base = stream.time_base
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=stream.time_base
        )
        # a container may say "interlaced" where its frames do not
        scope = "interlaced" if first.interlaced_frame else "all"
        bwdif = self._graph.add("bwdif", f"mode=send_frame:parity=auto:deint={scope}")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def run(self, decoded: Iterator[Decoded]) -> Iterator[Decoded]:
        """Give deinterlaced pictures under the same time stamps; two frames are held back."""
        waiting: list[Decoded] = []
        for item in decoded:
            item.picture.pts = item.pts
            item.picture.time_base = self._time_base
            waiting.append(item)
            self._graph.vpush(item.picture)
            yield from self._ready(waiting)
        self._graph.vpush(None)
        yield from self._ready(waiting)

    def _ready(self, waiting: list[Decoded]) -> Iterator[Decoded]:
        while True:
            try:
                picture = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            item = waiting.pop(0)
            yield Decoded(item.pts, picture, item.is_repeated, item.duration)
