"""Steadiness in time of a real clip: warping error of what comes out beside that of what went in."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.errors import DatasetError
from concertdeblur.evaluation.metrics import as_float, warping_error
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.frame import Frame as VideoFrame
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions

MOST_FRAMES = 60
_BLOCK = 6  # frames that are resampled together: neighbours have the same motion


@dataclass(frozen=True, kw_only=True, slots=True)
class RealClipReport:
    """Warping errors of one clip, mean square of RGB in [0, 1], over its pairs of frames."""

    clip: str
    given: Estimate
    deblurred: Estimate
    ratio: float  # of the two means
    num_frames: int


def frames_of(clip: Path, most: int = MOST_FRAMES) -> list[Picture]:
    """The first frames of a clip, 8 bits.

    Raises:
        SourceError: If it cannot be read.
        DatasetError: If it has one frame only.
    """
    with open_reader(clip, ReaderOptions()) as reader:
        found = [_as_u8(np.asarray(frame.pixels)) for frame in islice(reader.frames(), most)]
    if len(found) < 2:
        raise DatasetError(f"{clip}: warping errors are between frames, but it has {len(found)}")
    return found


def judge_real_clip(
    deblurrer: Deblurrer, clip: str, frames: list[Picture], *, seed: int, on_frame: Callable[[], None] = lambda: None
) -> RealClipReport:
    """Deblur a clip as `video` does, and compare; motion is that of the clip as it was given.

    Args:
        deblurrer: Of the weight set.
        clip: Its name.
        frames: At least two.
        seed: Of the bootstrap.
        on_frame: Called after every frame.

    """

    def given() -> Iterator[VideoFrame]:
        for number, pixels in enumerate(frames):
            yield VideoFrame(pts=number, pixels=pixels)

    errors: list[tuple[float, float]] = []
    before: Picture | None = None
    for number, made in enumerate(deblurrer.stream(given(), DeblurOptions())):
        after = np.asarray(made.frame.pixels, dtype=np.uint8)
        if before is not None:
            originals = [as_float(frames[number - 1]), as_float(frames[number])]
            deblurred = [as_float(before), as_float(after)]
            errors.append((warping_error(originals, originals), warping_error(deblurred, originals)))
        before = after
        on_frame()
    groups = [str(number // _BLOCK) for number in range(len(errors))]
    of_given, of_deblurred = (estimate([pair[n] for pair in errors], groups, seed=seed) for n in (0, 1))
    return RealClipReport(
        clip=clip, given=of_given, deblurred=of_deblurred, ratio=of_deblurred.mean / max(of_given.mean, 1e-9),
        num_frames=len(frames),
    )  # fmt: skip


def _as_u8(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16 | np.float32]]) -> Picture:
    return np.asarray(pixels // 257 if pixels.dtype == np.uint16 else pixels, dtype=np.uint8)
