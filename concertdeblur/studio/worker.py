"""The process that does one piece of work, through the functions that the command line calls, too.

`python -m concertdeblur.studio.worker`, by the studio only. The first order is the work; then come `pause` and
`resume`. Whoever closes standard input ends it: finished segments stay, and the same work goes on from there.
"""

import _thread
import contextlib
import fcntl
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concertdeblur.errors import ConcertDeblurError, Interrupted
from concertdeblur.studio.pipes import Message, Studio, stand_back

if TYPE_CHECKING:
    from concertdeblur.frame import StreamInfo
    from concertdeblur.pipelines.segments.making import Made
    from concertdeblur.pipelines.video_job import Progress

_NEWS_S = 0.3  # between two pieces of news
_FRAME_S = 2.0  # between two newest frames
_PACE_S = 15.0  # speed is that of the last seconds
_VIEW_PX = 1280


class Worker:
    """One piece of work, its pauses and its end."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_interruptible = False
        self._paused_s = 0.0
        self._samples: deque[tuple[float, int]] = deque()  # (seconds of work, frames)
        self._next_news_s = self._next_frame_s = 0.0
        self._newest = 0
        self._views = Path()
        self._info: StreamInfo | None = None  # of the clip that is worked on
        self._studio = Studio(self._ordered, self._gone)  # last: orders may come at once

    def run(self) -> None:
        """Do the work, and tell how it ended."""
        order = self._orders.get()
        if self.stop.is_set():
            return
        try:
            with _alone(Path(order["lock"])):
                self._studio.tell("done", summary=self._work(order))
        except (Interrupted, KeyboardInterrupt):
            self._studio.tell("stopped")
        except ConcertDeblurError as error:
            self._studio.tell("failed", error=str(error))
        except MemoryError:
            self._studio.tell("failed", error="there is not enough memory for this clip")
        except Exception as error:  # the page has to say something; the traceback goes to the terminal
            self._studio.tell("failed", error=f"something unexpected happened ({type(error).__name__}: {error})")
            raise

    def _work(self, order: Message) -> dict[str, Any]:
        source, target = Path(order["source"]), Path(order["target"])
        if order["work"] == "copy":
            from concertdeblur.studio.viewing import write_viewing_copy

            write_viewing_copy(
                source, target, deinterlace=order["is_interlaced"], stop=self.stop, on_progress=self._on_count
            )
            return {}
        if order["work"] == "picture":
            return self._picture(source, target, order)
        self._views = Path(order["views"])
        if order["work"] == "trial":
            return self._trial(source, target, order)
        return self._clip(source, target, order)

    def _clip(self, source: Path, target: Path, order: Message) -> dict[str, Any]:
        from concertdeblur.media.backends import open_reader
        from concertdeblur.media.reader import ReaderOptions
        from concertdeblur.pipelines.deblur_video import deblur_video
        from concertdeblur.pipelines.video_job import VideoJob

        job = VideoJob(**order["job"], overwrite=True, fits_sound=True, deinterlace=order["is_interlaced"])
        with open_reader(source, ReaderOptions(wants_pixels=False, deinterlace=job.deinterlace)) as reader:
            self._info = reader.info
        made = deblur_video(
            source, target, job, on_progress=self._on_progress, on_warning=self._warn, on_made=self._on_made,
            stop=self.stop,
        )  # fmt: skip
        return asdict(made) | {"text": made.text()}

    def _trial(self, source: Path, target: Path, order: Message) -> dict[str, Any]:
        """Some seconds as two clips that every browser plays: `TARGET.before.mp4` and `TARGET.after.mp4`."""
        from concertdeblur.pipelines.deblur_video import deblur_video
        from concertdeblur.pipelines.video_job import VideoJob
        from concertdeblur.studio.viewing import write_viewing_copy

        start_s, is_hdr = Fraction(order["start_s"]).limit_denominator(1000), order["is_hdr"]
        part: dict[str, Any] = {
            "overwrite": True, "drop_streams": True, "deinterlace": order["is_interlaced"], "start_s": start_s,
            "end_s": start_s + Fraction(order["length_s"]), "restart": True,
            **({"codec": "ffv1"} if is_hdr else {"compatible": True}),
        }  # fmt: skip
        for name, job in (("before", {"strength": 0}), ("after", order["job"])):
            shown = target.with_name(f"{target.name}.{name}.mp4")
            made = shown.with_suffix(".mkv") if is_hdr else shown  # with its bits, for a copy in ordinary brightness
            on_progress = self._on_progress if name == "after" else (lambda _: None)  # copying takes no time
            deblur_video(source, made, VideoJob(**job, **part), stop=self.stop, on_progress=on_progress)
            if is_hdr:
                write_viewing_copy(made, shown, deinterlace=False, stop=self.stop)
                made.unlink()
        return {"start_s": float(start_s)}

    def _picture(self, source: Path, target: Path, order: Message) -> dict[str, Any]:
        from concertdeblur.pipelines.deblur_image import ImageJob, deblur_image

        self._is_interruptible = True  # there is no frame after which it could be asked
        if self.stop.is_set():
            raise Interrupted("stopped")
        made = deblur_image(source, target, ImageJob(**order["job"], overwrite=True), on_warning=self._warn)
        self._is_interruptible = False
        return asdict(made) | {"text": made.text()}

    def _warn(self, message: str) -> None:
        self._studio.tell("warning", message=message)

    def _on_progress(self, progress: "Progress") -> None:
        self._on_count(progress.num_frames, progress.total_frames)

    def _on_count(self, num_frames: int, total_frames: int | None) -> None:
        """Tell how far the work is, at times; wait here as long as it is paused."""
        now_s = time.monotonic()
        self._samples.append((now_s - self._paused_s, num_frames))
        while len(self._samples) > 2 and self._samples[-1][0] - self._samples[1][0] > _PACE_S:
            self._samples.popleft()
        if now_s >= self._next_news_s or num_frames == total_frames:
            self._next_news_s = now_s + _NEWS_S
            (start_s, first), (end_s, last) = self._samples[0], self._samples[-1]
            rate = (last - first) / (end_s - start_s) if end_s > start_s else None
            left_s = (total_frames - num_frames) / rate if rate and total_frames else None
            self._studio.tell(
                "progress", num_frames=num_frames, total_frames=total_frames, rate_fps=rate, left_s=left_s,
                newest=self._newest,
            )  # fmt: skip
        if not self._may_go_on.is_set():
            self._studio.tell("paused")
            self._may_go_on.wait()
            self._paused_s += time.monotonic() - now_s

    def _on_made(self, made: "Made") -> None:
        """Show the newest frame now and then."""
        now_s = time.monotonic()
        before, after = made.source.pixels, made.frame.pixels
        if now_s < self._next_frame_s or before is None or after is None:
            return
        from concertdeblur.studio.views import write_view

        info = self._info
        assert info is not None
        self._next_frame_s, self._newest = now_s + _FRAME_S, self._newest + 1
        for name, pixels in (("before", before), ("after", after)):
            path = self._views / f"newest.{name}.jpg"
            write_view(path, pixels, orientation=info.orientation, colour=info.colour, most_px=_VIEW_PX)

    def _ordered(self, order: Message) -> None:
        if order["order"] == "pause":
            self._may_go_on.clear()
        elif order["order"] == "resume":
            self._may_go_on.set()
        else:
            self._orders.put(order)

    def _gone(self) -> None:
        self.stop.set()
        self._may_go_on.set()
        self._orders.put({})
        if self._is_interruptible:
            _thread.interrupt_main()


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until the process before has let go of the clip: that of a studio which was killed ends a little later.

    Raises:
        Interrupted: If the clip has been removed meanwhile.

    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        raise Interrupted("the clip has been removed") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> None:
    """Do one piece of work."""
    stand_back()
    Worker().run()


if __name__ == "__main__":
    main()
