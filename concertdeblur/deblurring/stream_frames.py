"""What the host finds out about a frame before the networks see it: its motion, and the path of its pixels.

Shape suffixes: R rows and Q columns of the blur's cells.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from concertdeblur.deblurring.motion import Motion, MotionSearch, in_unit_range
from concertdeblur.deblurring.working_size import at_working_size, working_size
from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, Pixels
from concertdeblur.models.exposure_share import ExposureSearch
from concertdeblur.models.path_search import Luma, PathSearch, reduced_luma, with_beliefs
from concertdeblur.models.path_taps import Flow, Path, Samples

_LONGEST_SIDE_PX = 32000  # of a picture at its working size; OpenCV samples none of 32767 px
_LEAST_SMEAR_PX = 0.5  # of a picture, at its working size; what is smeared less anywhere is not restored along it


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The frames beside one in a stream, as taps are sampled from them, and the path of its pixels."""

    before: Samples | None  # (h, w, 3) at the working size, uint8, or float32 in [0, 1]
    frame: Samples
    after: Samples | None
    path: Path  # in px of the frame's own size


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFrame:
    """A frame and what the host knows of it. Each stage hands it on beside what the stage makes of the frame."""

    frame: Frame
    pixels: Pixels  # of the frame
    motion: Motion | None = None  # since the frame before; None where that shows another scene, or there is none
    neighbours: Neighbours | None = None  # None where neither of them shows the same scene

    @property
    def is_reduced(self) -> bool:
        """Whether the working size is smaller than the frame."""
        return working_size(*self.pixels.shape[:2]) != self.pixels.shape[:2]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A frame, with what the host finds out before the next frame comes."""

    frame: Frame
    pixels: Pixels
    motion: Motion | None
    samples: Samples  # at the working size
    luma: Luma
    from_before: Flow | None  # flow to it from the frame before; None where that shows another scene
    to_before: Flow | None  # flow back


class StreamSearch:
    """Looks at the frames of one stream, in order; not thread-safe. Keeps two frames."""

    def __init__(self) -> None:
        self._motion = MotionSearch()
        self._path = PathSearch()
        self._exposure = ExposureSearch()
        self._before: _Known | None = None
        self._now: _Known | None = None

    def next(self, frame: Frame, after: Frame | None) -> StreamFrame:
        """The next frame with its motion and its neighbours.

        Args:
            frame: The one that was `after` in the call before.
            after: The frame after it; None at the end.

        Raises:
            UsageError: If a frame has no pixels, or not of a kind that can be deblurred.
        """
        before = self._before
        now = self._now if self._now is not None and self._now.frame is frame else self._looked_at(frame, None)
        following = None if after is None else self._looked_at(after, now)
        self._before, self._now = now, following
        return StreamFrame(
            frame=frame,
            pixels=now.pixels,
            motion=now.motion,
            neighbours=self._neighbours(before, now, following),
        )

    def _looked_at(self, frame: Frame, before: _Known | None) -> _Known:
        if frame.pixels is None:
            raise UsageError("frames without RGB pixels cannot be deblurred; ask the reader for pixels")
        check_pixels(frame.pixels)
        motion = self._motion.next(frame.pixels)
        samples = _as_samples(frame.pixels)
        luma = reduced_luma(samples)
        height, width = frame.pixels.shape[:2]
        flows = None
        if before is not None and motion is not None:
            flows = self._path.flows(before.luma, luma, height, width)
        return _Known(
            frame=frame, pixels=frame.pixels, motion=motion, samples=at_working_size(samples), luma=luma,
            from_before=None if flows is None else flows[0], to_before=None if flows is None else flows[1],
        )  # fmt: skip

    def _neighbours(self, before: _Known | None, now: _Known, following: _Known | None) -> Neighbours | None:
        height, width = now.pixels.shape[:2]
        to_after = None if following is None else following.from_before
        if now.to_before is None:
            self._exposure.begin_anew()
            if to_after is None:
                return None
        gaps = (
            _gap(before, now) if now.to_before is not None else None,
            _gap(now, following) if to_after is not None else None,
        )
        path = Path(to_before=now.to_before, to_after=to_after, gaps=gaps)
        lumas = (None if before is None else before.luma, now.luma, None if following is None else following.luma)
        small_height, small_width = now.samples.shape[:2]
        exposure = self._exposure.next(now.samples, path.scaled(small_width / width, small_height / height))
        return Neighbours(
            before=None if before is None or now.to_before is None else before.samples,
            frame=now.samples,
            after=None if following is None or to_after is None else following.samples,
            path=with_beliefs(replace(path, exposure=exposure), *lumas, height, width),
        )


def with_following(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one after it, None with the last; an error of `frames` comes after the frames before it."""
    source = iter(frames)
    before: Frame | None = None
    while True:
        try:
            frame = next(source)
        except StopIteration:
            break
        except Exception:
            if before is not None:
                yield before, None
            raise
        if before is not None:
            yield before, frame
        before = frame
    if before is not None:
        yield before, None


def _gap(first: _Known | None, second: _Known | None) -> int | None:
    """Ticks from one frame to the next; None where the next has the same time stamp, or an earlier one."""
    if first is None or second is None:
        return None
    ticks = second.frame.pts - first.frame.pts
    return ticks if ticks > 0 else None


def _as_samples(pixels: Pixels) -> Samples:
    """The pixels as taps are sampled from them: 8 bits as they are, all else as float32 in [0, 1]."""
    return pixels if pixels.dtype == np.uint8 else in_unit_range(pixels)


def lone_frame(pixels: Pixels, smear_of: Callable[[Samples], Flow] | None = None) -> StreamFrame:
    """A picture. Its path is the smear that its blur shows, and it has no neighbours.

    Args:
        pixels: Of the picture.
        smear_of: The smear of a picture (h, w, 2), px of what it is given: a `SmearSearch`; None: none is known.

    Raises:
        UsageError: If it is not of a kind that can be deblurred.
    """
    check_pixels(pixels)
    return StreamFrame(
        frame=Frame(pts=0, pixels=pixels),
        pixels=pixels,
        neighbours=None if smear_of is None else _itself_alone(pixels, smear_of),
    )


def _itself_alone(pixels: Pixels, smear_of: Callable[[Samples], Flow]) -> Neighbours | None:
    """A picture at its working size with its path; None where it is hardly smeared anywhere, or too long for a path."""
    samples = at_working_size(_as_samples(pixels))
    if max(samples.shape) > _LONGEST_SIDE_PX:
        return None
    smear = smear_of(samples)
    if np.square(smear).sum(-1).max() < _LEAST_SMEAR_PX**2:
        return None
    (height, width), (small_height, small_width) = pixels.shape[:2], samples.shape[:2]
    path = Path(to_before=None, to_after=smear).scaled(width / small_width, height / small_height)
    return Neighbours(before=None, frame=samples, after=None, path=path)


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is no RGB picture.

    Raises:
        UsageError: If shape or type is not one that can be deblurred.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(f"a frame must be (height, width, 3) RGB, but {pixels.shape = }")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise UsageError(f"a frame must be uint8, uint16 or float32, but {pixels.dtype = }")
