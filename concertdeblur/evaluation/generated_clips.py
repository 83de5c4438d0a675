"""Clips are made of sharp pictures and deblurred as `video` does it: their gain and steadiness are measured.

Some clips pan evenly under one of the seven blurs, with grain. In others a camera shakes: the picture is blurred along
its motion while the shutter is open, for half of each frame's time, and then passes a sensor and H.264.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.compression import h264_clip
from concertdeblur.blur.exposure import exposed
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.sensor import Sensor, read_out
from concertdeblur.blur.tone import Light, tone_curve
from concertdeblur.blur.trajectories import Path, drawn, lens
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.metrics import as_float, warping_error
from concertdeblur.evaluation.statistics import Estimate, estimate
from concertdeblur.frame import Frame as VideoFrame
from concertdeblur.psnr import psnr_db

NUM_FRAMES = 8
STEP_PX = 2.5  # a frame, to the right; half a pixel, so that no frame is a copy of another
_HEIGHT_PX, _WIDTH_PX = 256, 384
_GRAIN = 1.0  # standard deviation of the noise, which is new in every frame, in grey levels of 255
KERNELS = (Kernel.GAUSSIAN, Kernel.HORIZONTAL, Kernel.RESIZING)

SPEEDS_PX = (6, 12, 20)  # speeds of a shaking camera's picture, a frame
_SHUTTER = 0.5  # share of a frame's time in which the shutter is open
_MOMENTS = 64  # moments of a frame's time
_TURN_RAD = 0.09  # standard deviation of the angle by which the camera's path turns from moment to moment
_SOFTNESS_PX = 0.4  # standard deviation of the lens's blur
_SENSOR = Sensor(shot=1e-4, read=4e-4, grain_px=0.5)
_CRF = 20
_MARGIN_PX = 16  # margin of the picture beyond the view, from which content moves in


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFigures:
    """The figures of one clip."""

    group: str
    blurred_error: float  # warping error, mean square of RGB in [0, 1]
    deblurred_error: float
    sharp_error: float  # the error that warping itself leaves
    gain_db: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipsReport:
    """Means of the clips; the ratio of warping errors is that of deblurred to blurred, by clip."""

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
    """A clip as a camera might have recorded it."""
    rng = np.random.default_rng([seed, KERNELS.index(kernel)])

    def worsened(frame: Picture) -> Picture:
        noisy = blur(frame, kernel, level) + rng.normal(0, _GRAIN, frame.shape)
        return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)

    return [worsened(frame) for frame in frames]


def shaken(picture: Picture, speeds_px: Sequence[float], seed: int) -> dict[float, tuple[list[Picture], list[Picture]]]:
    """Clips of a camera that shakes before a picture: (sharp, blurred) frames by speed; a small picture gives none.

    Args:
        picture: (height, width, 3) RGB; beyond its border lies its reflection.
        speeds_px: Speeds of the picture in px a frame, the same in every direction; each gives a clip.
        seed: Seed of the paths and the noise.
    """
    if min(picture.shape[:2]) < 128:
        return {}
    light = tone_curve().linear(np.ascontiguousarray(picture))
    return {
        speed_px: _shaken(light, speed_px, np.random.default_rng([seed, round(speed_px)])) for speed_px in speeds_px
    }


def _shaken(light: Light, speed_px: float, rng: np.random.Generator) -> tuple[list[Picture], list[Picture]]:
    """One clip of a scene."""
    view = min(_HEIGHT_PX, light.shape[1]), min(_WIDTH_PX, light.shape[2])
    inner = slice(_MARGIN_PX, _MARGIN_PX + view[0]), slice(_MARGIN_PX, _MARGIN_PX + view[1])
    way, curve, optics = _way(speed_px, rng), tone_curve(), lens(0, _SOFTNESS_PX)
    open_for = int(_SHUTTER * _MOMENTS)
    sharp, blurred = [], []
    for number in range(NUM_FRAMES):
        path = way[number * _MOMENTS : number * _MOMENTS + open_for]
        seen = _seen(light, path.mean(axis=0), view)
        counted = read_out(exposed(seen, drawn(path, optics)), _SENSOR, rng)
        sharp.append(curve.encoded(np.clip(seen, 0, 1))[inner])
        blurred.append(curve.encoded(counted)[inner])
    return sharp, h264_clip(blurred, _CRF)


def _way(speed_px: float, rng: np.random.Generator) -> Path:
    """The picture's position at each moment, around (0, 0); it never rests, and its path turns."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, _TURN_RAD, NUM_FRAMES * _MOMENTS))
    way = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1) * (speed_px / _MOMENTS), 0)
    return np.asarray(way - way.mean(axis=0))


def _seen(light: Light, shift_px: Path, view: tuple[int, int]) -> Light:
    """The middle of a scene that has moved by (x, y), with the margin around it."""
    size = view[1] + 2 * _MARGIN_PX, view[0] + 2 * _MARGIN_PX
    left, top = ((have - want) / 2 for have, want in zip(light.shape[:0:-1], size, strict=True))
    move = np.array([[1, 0, shift_px[0] - left], [0, 1, shift_px[1] - top]])
    planes = [
        cv2.warpAffine(plane, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101) for plane in light
    ]
    return np.asarray(np.stack(planes), dtype=np.float32)


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


def summarise(clips: Sequence[ClipFigures], *, seed: int) -> ClipsReport:
    """Means over the clips."""

    def mean(values: list[float]) -> Estimate:
        return estimate(values, [clip.group for clip in clips], seed=seed)

    return ClipsReport(
        blurred=mean([clip.blurred_error for clip in clips]),
        deblurred=mean([clip.deblurred_error for clip in clips]),
        sharp=mean([clip.sharp_error for clip in clips]),
        ratio=mean([clip.deblurred_error / max(clip.blurred_error, 1e-9) for clip in clips]),
        gain_db=mean([clip.gain_db for clip in clips]),
        num_clips=len(clips),
        num_frames=NUM_FRAMES,
    )
