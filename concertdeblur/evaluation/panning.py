"""Steadiness in time: warping error on clips made by panning over sharp pictures, blurred and grainy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.metrics import as_float, psnr_db, warping_error
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.frame import Frame as VideoFrame

NUM_FRAMES = 8
STEP_PX = 2.5  # to the right, a frame; half pixels, so that no frame is a copy
_HEIGHT_PX, _WIDTH_PX = 256, 384
_GRAIN = 1.0  # standard deviation of the noise, grey levels of 255: new in every frame
KERNELS = (Kernel.GAUSSIAN, Kernel.HORIZONTAL, Kernel.RESIZING)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFigures:
    """What became of one clip."""

    group: str
    blurred_error: float  # warping error, mean square of RGB in [0, 1]
    deblurred_error: float
    sharp_error: float  # what warping itself leaves
    gain_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SteadinessReport:
    """Warping errors; the ratio is that of deblurred to blurred, by clip."""

    blurred: Estimate
    deblurred: Estimate
    sharp: Estimate
    ratio: Estimate
    gain_db: Estimate
    num_clips: int
    num_frames: int


def pan(picture: Picture, *, num_frames: int = NUM_FRAMES) -> list[Picture] | None:
    """A clip that pans over a picture; None if the picture is too small."""
    height, width = picture.shape[:2]
    room_px = STEP_PX * (num_frames - 1) + 2
    view_width = min(_WIDTH_PX, int(width - room_px))
    view_height = min(_HEIGHT_PX, height)
    if view_width < 128 or view_height < 128:
        return None
    top, left = (height - view_height) // 2, (width - view_width - room_px) / 2
    frames = []
    for number in range(num_frames):
        shift = np.array([[1, 0, -(left + STEP_PX * number)], [0, 1, -top]], dtype=np.float32)
        moved = cv2.warpAffine(
            picture, shift, (view_width, view_height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        frames.append(np.asarray(moved, dtype=np.uint8))
    return frames


def blurred_and_grainy(frames: Sequence[Picture], kernel: Kernel, level: float, seed: int) -> list[Picture]:
    """The clip as a camera might have taken it."""
    rng = np.random.default_rng([seed, KERNELS.index(kernel)])

    def worsened(frame: Picture) -> Picture:
        noisy = blur(frame, kernel, level) + rng.normal(0, _GRAIN, frame.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)

    return [worsened(frame) for frame in frames]


def judge_clip(
    deblurrer: Deblurrer,
    sharp: Sequence[Picture],
    blurred: Sequence[Picture],
    *,
    group: str,
    on_frame: Callable[[], None] = lambda: None,
) -> ClipFigures:
    """Deblur a clip as `video` does, and compare."""
    deblurred = []
    frames = (VideoFrame(pts=number, pixels=pixels) for number, pixels in enumerate(blurred))
    for made in deblurrer.stream(frames, DeblurOptions()):
        assert made.frame.pixels is not None
        deblurred.append(as_float(np.asarray(made.frame.pixels, dtype=np.uint8)))
        on_frame()
    originals, given = [as_float(frame) for frame in sharp], [as_float(frame) for frame in blurred]
    gains = [psnr_db(d, o) - psnr_db(b, o) for d, b, o in zip(deblurred, given, originals, strict=True)]
    return ClipFigures(
        group=group,
        blurred_error=warping_error(given, originals),
        deblurred_error=warping_error(deblurred, originals),
        sharp_error=warping_error(originals, originals),
        gain_db=float(np.mean(gains)),
    )


def summarise(clips: Sequence[ClipFigures], *, seed: int) -> SteadinessReport:
    """Means over the clips."""

    def mean(values: list[float]) -> Estimate:
        return estimate(values, [clip.group for clip in clips], seed=seed)

    return SteadinessReport(
        blurred=mean([clip.blurred_error for clip in clips]),
        deblurred=mean([clip.deblurred_error for clip in clips]),
        sharp=mean([clip.sharp_error for clip in clips]),
        ratio=mean([clip.deblurred_error / max(clip.blurred_error, 1e-9) for clip in clips]),
        gain_db=mean([clip.gain_db for clip in clips]),
        num_clips=len(clips),
        num_frames=NUM_FRAMES,
    )
