"""The motion of a clip lent to a sharp picture: each pixel is blurred along the path that a clip's pixel took.

Clips that move are few and seldom sharp; photographs are many and sharp. So the paths come from clips, and the pixels
from photographs. The blur is then that of shaking hands, and of people whose motion has edges.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from concertdeblur.blur import scenes
from concertdeblur.blur.averaging import CAMERA, MAX_CHANGE, MAX_MISMATCH_PX, MAX_MISMATCH_SHARE
from concertdeblur.blur.capture import CapturedPair, CaptureSettings, photographed
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.optical_flow import LEAST_SIDE_PX, Flow, flow, mean_change, mismatch, moved_places, sampled
from concertdeblur.blur.tone import Light, tone_curve
from concertdeblur.errors import SourceError
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions

_NUM_FRAMES = 9  # frames of the longest exposure
_LEAST_PX = 0.7  # the 95th percentile of a clip's motion over the exposure must be larger: below, flow is noise
_LENT_PX = (2.0, 24.0)  # how far it moves in the picture
_MAX_STEPS = 48
_SHORT_SIDE_PX = 144  # frames are reduced to it before flow is searched


@dataclass(frozen=True, slots=True)
class Motion:
    """Where each pixel of a frame is at evenly spaced times before and after it."""

    offsets: Flow  # (times, height, width, 2) px from its place in the middle one


def motions(clip: Path, *, every: int = 4, on_frame: Callable[[], None] = lambda: None) -> Iterator[Motion]:
    """The motions of a clip, one for every so many frames; still parts and cuts are left out.

    Raises:
        SourceError: If the clip cannot be read, or is too small.
    """
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        if min(reader.info.height, reader.info.width) < LEAST_SIDE_PX:
            size = f"{reader.info.width}x{reader.info.height}"
            raise SourceError(f"{clip}: {size} is too small to see motion in; it takes {LEAST_SIDE_PX} px")
        window: deque[Picture] = deque(maxlen=_NUM_FRAMES)
        for number, frame in enumerate(reader.frames()):
            on_frame()
            pixels = np.asarray(frame.pixels)
            pixels = (pixels // 257 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
            window.append(_small(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)))
            if len(window) == _NUM_FRAMES and number % every == 0:
                found = _motion(list(window))
                if found is not None:
                    yield found


def lend(
    motion: Motion, picture: Picture, rng: np.random.Generator, settings: CaptureSettings = CAMERA
) -> CapturedPair:
    """Photograph a sharp picture that moves as a clip did; a pure function of its inputs, safe in threads.

    Args:
        motion: The motion of a clip; a random part of it, mirrored and turned, is laid over the picture.
        picture: (height, width, 3) RGB uint8, sharp.
        rng: Source of all that is random.
        settings: The camera behind the exposure.

    Returns:
        The pair, of the picture's size.

    """
    curve = tone_curve(gamma=rng.uniform(*settings.gamma), contrast=rng.uniform(*settings.contrast))
    gain = float(np.exp(rng.uniform(*np.log(settings.lights_gain)))) if rng.random() < settings.lights_share else 1.0
    light = scenes.beyond_white(curve.linear(np.ascontiguousarray(picture)), gain)
    if rng.random() < settings.dark_share:
        light = light * np.float32(np.exp(rng.uniform(*np.log(settings.dark))))
    offsets = _laid_over(motion, picture.shape[0], picture.shape[1], rng)
    return CapturedPair(photographed(exposed_along(light, offsets), curve, rng, settings), curve.encoded(light))


def exposed_along(light: Light, offsets: Flow) -> Light:
    """The mean of light (3, height, width) along paths (times, height, width, 2), in steps of a pixel at most."""
    pixels = np.ascontiguousarray(light.transpose(1, 2, 0))  # so the three colours of a place are read together
    total, num_steps = np.zeros_like(pixels), 0
    for first, second in pairwise(offsets):
        longest = float(np.percentile(np.hypot(*np.moveaxis(second - first, -1, 0)), 99))
        count = int(np.clip(np.ceil(longest), 1, _MAX_STEPS // (len(offsets) - 1)))
        part = np.zeros_like(pixels)
        for step in range(count):
            share = np.float32((step + 0.5) / count)
            places = moved_places(np.asarray(first * (1 - share) + second * share, dtype=np.float32))
            part += sampled(pixels, places)
        total += part / count
        num_steps += 1
    return np.ascontiguousarray((total / num_steps).transpose(2, 0, 1), dtype=np.float32)


def _small(luma: Picture) -> Picture:
    """A frame scaled down; paths are smooth, and fast motion is found more surely in a small frame."""
    scale = _SHORT_SIDE_PX / min(luma.shape)
    small = luma if scale >= 1 else cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _motion(lumas: Sequence[Picture]) -> Motion | None:
    there = [flow(a, b) for a, b in pairwise(lumas)]
    back = [flow(b, a) for a, b in pairwise(lumas)]
    if any(mean_change(a, b, by) > MAX_CHANGE for (a, b), by in zip(pairwise(lumas), there, strict=True)):
        return None
    if max((mismatch(a, b) > MAX_MISMATCH_PX).mean() for a, b in zip(there, back, strict=True)) > MAX_MISMATCH_SHARE:
        return None
    middle = len(lumas) // 2
    before = _chained(back[:middle][::-1])
    after = _chained(there[middle:])
    offsets = np.stack([*before[::-1], np.zeros_like(there[0]), *after])
    travelled = np.hypot(*np.moveaxis(offsets[-1] - offsets[0], -1, 0))
    return Motion(offsets) if float(np.percentile(travelled, 95)) >= _LEAST_PX else None


def _chained(flows: Sequence[Flow]) -> list[Flow]:
    """Offsets from the first frame to the second, the third and so on."""
    offsets: list[Flow] = []
    for by in flows:
        last = offsets[-1] if offsets else np.zeros_like(by)
        offsets.append(np.asarray(last + sampled(by, moved_places(last)), dtype=np.float32))
    return offsets


def _laid_over(motion: Motion, height: int, width: int, rng: np.random.Generator) -> Flow:
    """A random part of a motion for a picture of a size: some of its frames, scaled to the drawn length."""
    reach = int(rng.integers(1, _NUM_FRAMES // 2 + 1))
    middle = len(motion.offsets) // 2
    frames = motion.offsets[middle - reach : middle + reach + 1]
    if rng.random() < 0.5:  # a quarter turn, so that pans also go up and down
        frames = frames.transpose(0, 2, 1, 3)[..., ::-1]
    share = rng.uniform(0.5, 1)
    rows, columns = (max(2, round(share * length)) for length in frames.shape[1:3])
    top, left = (
        int(rng.integers(all_ - part + 1)) for all_, part in zip(frames.shape[1:3], (rows, columns), strict=True)
    )
    laid = np.stack(
        [cv2.resize(np.ascontiguousarray(f[top : top + rows, left : left + columns]), (width, height)) for f in frames]
    )
    if rng.random() < 0.5:
        laid = laid[:, :, ::-1] * np.array([-1, 1], np.float32)
    travelled = float(np.percentile(np.hypot(*np.moveaxis(laid[-1] - laid[0], -1, 0)), 95))
    wanted = _LENT_PX[0] + (_LENT_PX[1] - _LENT_PX[0]) * rng.random() ** 1.5
    return np.asarray(laid * np.float32(wanted / max(travelled, 0.25)), dtype=np.float32)
