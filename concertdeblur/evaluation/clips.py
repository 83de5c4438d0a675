"""Steadiness in time of a real clip: the warping error of the result beside that of the input."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.errors import DatasetError
from concertdeblur.evaluation.metrics import as_float, warp
from concertdeblur.evaluation.stages import Stages, Step
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.frame import Frame as VideoFrame
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.media.sequences import as_8_bits

MOST_FRAMES = 60
BLOCK_FRAMES = 6  # frames that are resampled together, because neighbours have the same motion


@dataclass(frozen=True, kw_only=True, slots=True)
class RealClipReport:
    """Warping errors of one clip, mean square of RGB in [0, 1], over its pairs of frames.

    They are None if no pair shows the same thing twice.
    """

    clip: str
    given: Estimate | None
    deblurred: Estimate | None
    ratio: float | None  # of the two means
    num_frames: int


def frames_of(clip: Path, most: int = MOST_FRAMES) -> list[Picture]:
    """The first frames of a clip, 8 bits.

    Raises:
        SourceError: If it cannot be read.
        DatasetError: If it has one frame only.
    """
    with open_reader(clip, ReaderOptions()) as reader:
        found = [as_8_bits(frame.pixels) for frame in islice(reader.frames(), most) if frame.pixels is not None]
    if len(found) < 2:
        raise DatasetError(f"{clip}: warping errors are between frames, but it has {len(found)}")
    return found


def judge_real_clips(
    deblurrer: Deblurrer, clips: Sequence[Path], *, seed: int, stages: Stages
) -> tuple[RealClipReport, ...]:
    """Warping errors of clips, deblurred as `video` does it; `seed` is that of the bootstrap."""
    found = []
    for clip in clips:
        frames = frames_of(clip)
        step = stages.begin(f"deblur {clip.name}", len(frames), "frames")
        found.append(_judge_real_clip(deblurrer, clip.name, frames, seed=seed, step=step))
    return tuple(found)


def _judge_real_clip(
    deblurrer: Deblurrer, clip: str, frames: list[Picture], *, seed: int, step: Step
) -> RealClipReport:
    """Deblur a clip of at least two frames, and compare; the motion is that of the input."""

    def given() -> Iterator[VideoFrame]:
        for number, pixels in enumerate(frames):
            yield VideoFrame(pts=number, pixels=pixels)

    errors: list[tuple[float, float]] = []
    groups: list[str] = []
    before: Picture | None = None
    for number, made in enumerate(deblurrer.stream(given(), DeblurOptions())):
        after = np.asarray(made.frame.pixels, dtype=np.uint8)
        if before is not None:
            originals = as_float(frames[number - 1]), as_float(frames[number])
            moved = warp(*originals)
            pair = moved.error(*originals), moved.error(as_float(before), as_float(after))
            if pair[0] is not None and pair[1] is not None:
                errors.append((pair[0], pair[1]))
                groups.append(str((number - 1) // BLOCK_FRAMES))
        before = after
        step({})
    if not errors:
        return RealClipReport(clip=clip, given=None, deblurred=None, ratio=None, num_frames=len(frames))
    of_given, of_deblurred = (estimate([pair[n] for pair in errors], groups, seed=seed) for n in (0, 1))
    return RealClipReport(
        clip=clip, given=of_given, deblurred=of_deblurred, ratio=of_deblurred.mean / max(of_given.mean, 1e-9),
        num_frames=len(frames),
    )  # fmt: skip
