"""What a moment of a clip will become, and how long frames take here: a few frames through the networks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from concertdeblur import pretrained
from concertdeblur.deblurring.cam import Area, heat_overlay
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.errors import Interrupted, SourceError, UsageError
from concertdeblur.frame import Colour, Frame, Orientation, Pixels
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.pictures.reading import open_picture
from concertdeblur.studio.views import Box, in_8_bits, turned, write_view

Quality = Literal["best", "fast"]
Picture = npt.NDArray[np.uint8]  # (height, width, 3), sRGB

_LOOK_BACK_S = Fraction(1, 5)  # before the moment, the frame before the one that is shown then is found
# The first frames fill caches and pipelines; the others are timed.
_UNTIMED_FRAMES, _TIMED_FRAMES = 3, 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """What deblurs: a user's own weights, or the shipped sets."""

    weights: str | None = None
    device: str = "auto"
    backend: str = "auto"
    _loaded: dict[str, Deblurrer] = field(default_factory=dict)

    def of(self, quality: Quality) -> Deblurrer:
        """The deblurrer of a quality, loaded once."""
        name = self.weights or pretrained.weights_of(quality)
        if name not in self._loaded:
            self._loaded[name] = pretrained.load(name, device=self.device, backend=self.backend)
        return self._loaded[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One frame before and after, with where it was refined."""

    time_s: float  # of the frame that was shown then
    before: Picture
    after: Picture
    heat: Picture  # the result under the colours of what is still blurred
    boxes: tuple[Box, ...]  # windows that refining kept, as coded
    orientation: Orientation  # of the pictures, which are as coded
    elapsed_s: float  # of the networks

    def write(self, stem: Path) -> None:
        """Write `STEM.before.jpg`, `STEM.after.jpg` and `STEM.heat.jpg`.

        Raises:
            TargetError: If one cannot be written.

        """
        for name in ("before", "after", "heat"):
            write_view(stem.with_name(f"{stem.name}.{name}.jpg"), getattr(self, name), orientation=self.orientation)

    def shown_boxes(self) -> list[list[float]]:
        """The boxes upright, as shares of the picture: left, top, width, height."""
        height, width = self.before.shape[:2]
        made = []
        for box in self.boxes:
            y, x, box_height, box_width = turned(box, height=height, width=width, orientation=self.orientation)
            across, down = (height, width) if self.orientation.swaps_sides else (width, height)
            made.append([x / across, y / down, box_width / across, box_height / down])
        return made


def clip_moment(path: Path, time_s: float, deblurrer: Deblurrer, *, deinterlace: bool) -> Moment:
    """The frame of a clip that is on the screen at a time, in full strength.

    It is deblurred with the frame before and the frame after it, from which its motion is known. The video itself
    looks further back, so its pixels may differ a little.

    Args:
        path: The clip.
        time_s: From the first frame; behind the end: the last frame.
        deblurrer: What deblurs.
        deinterlace: Whether the clip is interlaced.

    Raises:
        SourceError: If the clip cannot be read, or has no frame.

    """
    moment_s = max(Fraction(0), Fraction(time_s))
    start_s = max(Fraction(0), moment_s - _LOOK_BACK_S)
    while True:
        try:
            with open_reader(path, ReaderOptions(start_s=start_s, deinterlace=deinterlace)) as reader:
                info, origin_s = reader.info, reader.origin_s
                frames, place = _around(reader.frames(), float((moment_s + origin_s) / info.time_base))
            break
        except UsageError:  # the header promises more than there is
            if not start_s:
                raise
            start_s = Fraction(0) if start_s < _LOOK_BACK_S else start_s / 2
    started_s = time.monotonic()
    with closing(deblurrer.stream(frames, DeblurOptions(heatmap=True))) as stream:
        made = next(islice(stream, place, None))
    elapsed_s = time.monotonic() - started_s
    assert made.source.pixels is not None
    assert made.frame.pixels is not None
    before, after = (in_8_bits(pixels, info.colour) for pixels in (made.source.pixels, made.frame.pixels))
    return Moment(
        time_s=float(made.source.pts * info.time_base - origin_s), before=before, after=after,
        heat=_heated(after, made.heatmap), boxes=_boxes(made.windows_kept), orientation=info.orientation,
        elapsed_s=elapsed_s,
    )  # fmt: skip


def picture_moment(path: Path, deblurrer: Deblurrer) -> Moment:
    """A picture, or the first of several in one file, in full strength.

    Raises:
        SourceError: If it cannot be read.

    """
    pixels = open_picture(path).still().rgb
    started_s = time.monotonic()
    made = deblurrer.deblur_picture(pixels, DeblurOptions(heatmap=True))
    elapsed_s = time.monotonic() - started_s
    before, after = (in_8_bits(each, Colour()) for each in (pixels, made.pixels))
    return Moment(
        time_s=0.0, before=before, after=after, heat=_heated(after, made.heatmap), boxes=_boxes(made.windows_kept),
        orientation=Orientation(), elapsed_s=elapsed_s,
    )  # fmt: skip


def seconds_a_frame(
    path: Path, deblurrer: Deblurrer, *, deinterlace: bool, is_wanted: Callable[[], bool] = lambda: True
) -> float:
    """How long a frame of this clip takes here, by its first ones that differ.

    Args:
        path: The clip.
        deblurrer: What deblurs.
        deinterlace: Whether the clip is interlaced.
        is_wanted: Asked after each frame; once it says no, `Interrupted` is raised.

    Raises:
        SourceError: If the clip cannot be read, or has no frame.

    """
    with open_reader(path, ReaderOptions(deinterlace=deinterlace)) as reader:
        frames = list(islice(_differing(reader.frames()), _UNTIMED_FRAMES + _TIMED_FRAMES))
    ends_s = [time.monotonic()]
    for _ in deblurrer.stream(frames, DeblurOptions()):
        ends_s.append(time.monotonic())
        if not is_wanted():
            raise Interrupted("something else is wanted first")
    if not frames:
        raise SourceError(f"{path}: has no frame")
    skipped = min(_UNTIMED_FRAMES, len(frames) // 2)
    return (ends_s[-1] - ends_s[skipped]) / (len(frames) - skipped)


def _around(frames: Iterator[Frame], moment: float) -> tuple[list[Frame], int]:
    """The frame that is on the screen at a moment (in units of the time base) with its neighbours, and its place."""
    found: list[Frame] = []
    for frame in frames:
        found.append(frame)
        if frame.pts > moment and len(found) > 1:
            break
        del found[:-2]
    if not found:
        raise SourceError("no frame is there")
    is_after = found[-1].pts > moment and len(found) > 1
    return found, len(found) - 1 - is_after


def _differing(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Without those that show what the one before shows: these are not computed again."""
    last: Pixels | None = None
    for frame in frames:
        if last is None or frame.pixels is None or not np.array_equal(frame.pixels, last):
            yield frame
        last = frame.pixels


def _heated(after: Picture, heatmap_HW: npt.NDArray[np.float32] | None) -> Picture:
    return after if heatmap_HW is None else np.asarray(heat_overlay(after, heatmap_HW), dtype=np.uint8)


def _boxes(areas: Sequence[Area]) -> tuple[Box, ...]:
    return tuple((area.y, area.x, area.height, area.width) for area in areas)
