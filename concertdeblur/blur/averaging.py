"""Blur as GOPRO and REDS made it: averages of real consecutive frames, so that it follows what moves.

An exposure is taken to last from some frames before a sharp one to as many after it. In between, frames are
interpolated along the optical flow (DIS, Kroeger et al. 2016) until nothing moves further than a pixel from one to
the next, so that a moving lamp leaves a streak and not a row of dots; the mean is taken in linear light. Sensor,
phone and file follow as in the capture chain.

Left out are frames that are soft themselves, cuts, flow that contradicts itself, and places where nothing moves.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur import scenes
from concertdeblur.blur.capture import CapturedPair, CaptureSettings, photographed
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.tone import Light, tone_curve
from concertdeblur.errors import SourceError
from concertdeblur.media.reader import ReaderOptions, open_reader

Plane = npt.NDArray[Any]
Flow = npt.NDArray[np.float32]  # (height, width, 2): how far (x, y) each pixel of one frame has moved in the next

_LONGEST = 9  # frames of an exposure
_MAX_SUBFRAMES = 16  # interpolated from one frame to the next
_MAX_MISMATCH_PX = 1.0  # of flow there and back
_MAX_MISMATCH_SHARE = 0.25  # of a crop: more is a cut, a strobe or an occlusion
_MAX_CHANGE = 12.0  # grey levels, mean, between a frame and its neighbour brought onto it; a cut or a strobe
_MIN_CRISPNESS = 0.27  # see `crispness`: photographs have 0.38 to 0.54, under a Gaussian of 1 px 0.20 to 0.24
_MIN_DETAIL = 2.0  # grey levels; less is noise
_MIN_CONTRAST = 10.0  # standard deviation of a crop, in grey levels: empty sky shows no blur
_MOTION_PX = (2.0, 24.0)  # least and most over the exposure, at the 90th percentile of a crop

CAMERA = CaptureSettings(shrink_share=0)  # the clip has been scaled down already


@dataclass(frozen=True, slots=True)
class _Frame:
    picture: Picture
    luma: Picture
    time_s: float  # since the clip's first frame


def averaged_pairs(
    clip: Path,
    *,
    seed: int = 0,
    max_pairs: int = 64,
    size_px: int = 128,
    settings: CaptureSettings = CAMERA,
) -> Iterator[CapturedPair]:
    """Make pairs from a clip's own motion.

    A clip at least twice as large as the pairs is scaled down by 2 first: compression and the lens have made
    single pixels soft.

    Args:
        clip: Any clip that PyAV reads; a shaky or moving one without cuts gives most.
        seed: With the clip, this decides everything.
        max_pairs: At most so many, spread over the clip.
        size_px: Side of the pairs.
        settings: The camera behind the exposure; shares of motion, defocus and darkness do not apply.

    Yields:
        Pairs of size_px x size_px, in the clip's order; none from a clip that is soft or still.

    Raises:
        SourceError: If the clip cannot be read or is smaller than the pairs.

    """
    for _, pair in timed_pairs(clip, seed=seed, max_pairs=max_pairs, size_px=size_px, settings=settings):
        yield pair


def timed_pairs(
    clip: Path, *, seed: int, max_pairs: int, size_px: int, settings: CaptureSettings = CAMERA
) -> Iterator[tuple[float, CapturedPair]]:
    """As `averaged_pairs`, each with the time of its sharp frame in seconds since the clip's first."""
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        short_side = min(reader.info.height, reader.info.width)
        if short_side < size_px:
            raise SourceError(f"{clip}: {reader.info.width}x{reader.info.height} is smaller than {size_px} px")
        num_middles = (reader.info.num_frames_hint or 0) - _LONGEST + 1
        stride = max(_LONGEST // 2, num_middles // max(1, max_pairs))
        window: deque[_Frame] = deque(maxlen=_LONGEST)
        num_made, next_number = 0, 0
        for number, frame in enumerate(reader.frames()):
            assert frame.pixels is not None
            if num_made >= max_pairs:
                return
            time_s = float((frame.pts - reader.first_pts) * reader.info.time_base)
            window.append(_prepared(np.asarray(frame.pixels), time_s, halve=short_side >= 2 * size_px))
            if number < next_number or len(window) < _LONGEST:
                continue
            pair = _pair(list(window), np.random.default_rng([seed, number]), size_px, settings)
            next_number = number + (_LONGEST // 2 if pair is None else stride)  # neighbours fail alike
            if pair is not None:
                num_made += 1
                yield window[_LONGEST // 2].time_s, pair


def averaged(frames: Sequence[Light], flows: Sequence[tuple[Flow, Flow]]) -> Light:
    """The mean of consecutive frames and of those in between.

    Args:
        frames: Light (3, height, width) of at least two frames.
        flows: From each frame to the next, and back.

    Returns:
        The mean over the time from the first frame to the last; the two count half.

    """
    total, num_parts = np.zeros_like(frames[0]), 0
    for (first, second), (there, back) in zip(pairwise(frames), flows, strict=True):
        fastest = float(np.percentile(np.hypot(there[..., 0], there[..., 1]), 99))
        num_steps = int(np.clip(np.ceil(fastest), 1, _MAX_SUBFRAMES))
        part = (first + second) / 2
        for step in range(1, num_steps):
            part += _between(first, second, there, back, step / num_steps)
        # every gap lasts as long as any other, however many frames were put into it
        total += part / num_steps
        num_parts += 1
    return np.asarray(total / num_parts, dtype=np.float32)


def crispness(luma: Picture) -> float:
    """Share of detail that lies in the finest octave: contrast lost to a Gaussian of 1 px, of that lost to 4 px."""
    plane = luma.astype(np.float32)
    fine = plane - cv2.GaussianBlur(plane, (0, 0), 1)
    coarse = plane - cv2.GaussianBlur(plane, (0, 0), 4)
    return float(fine.std() / max(_MIN_DETAIL, float(coarse.std())))


def _prepared(picture: npt.NDArray[np.uint8 | np.uint16 | np.float32], time_s: float, *, halve: bool) -> _Frame:
    pixels = (picture // 257 if picture.dtype == np.uint16 else picture).astype(np.uint8)
    if halve:
        size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _Frame(pixels, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8), time_s)


def _pair(
    window: Sequence[_Frame], rng: np.random.Generator, size_px: int, settings: CaptureSettings
) -> CapturedPair | None:
    """A pair about the middle frame; None where it is of no use."""
    reach = int(rng.integers(1, _LONGEST // 2 + 1))
    middle = len(window) // 2
    used = window[middle - reach : middle + reach + 1]
    if crispness(window[middle].luma) < _MIN_CRISPNESS:
        return None
    flows = [(_flow(a, b), _flow(b, a)) for a, b in pairwise(used)]
    if any(_change(a, b, there) > _MAX_CHANGE for (a, b), (there, _) in zip(pairwise(used), flows, strict=True)):
        return None
    place = _place(window[middle], flows, rng, size_px)
    if place is None:
        return None
    curve = tone_curve(gamma=rng.uniform(*settings.gamma), contrast=rng.uniform(*settings.contrast))
    gain = float(np.exp(rng.uniform(*np.log(settings.lights_gain)))) if rng.random() < settings.lights_share else 1.0
    wide = tuple(_widened(span, length) for span, length in zip(place, window[middle].luma.shape, strict=True))
    scenes_ = [scenes.beyond_white(curve.linear(np.ascontiguousarray(frame.picture[wide])), gain) for frame in used]
    light = averaged(scenes_, [(there[wide], back[wide]) for there, back in flows])
    inner = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(place, wide, strict=True))
    blurred = photographed(light, curve, rng, settings)
    sharp = curve.encoded(scenes_[reach])
    return CapturedPair(np.ascontiguousarray(blurred[inner]), np.ascontiguousarray(sharp[inner]))


def _flow(first: _Frame, second: _Frame) -> Flow:
    """DIS flow; a new instance each time, since it keeps nothing that would help and is not thread-safe."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(search.calc(first.luma, second.luma, np.zeros((*first.luma.shape, 2), np.float32)), np.float32)


def _place(
    middle: _Frame, flows: Sequence[tuple[Flow, Flow]], rng: np.random.Generator, size_px: int
) -> tuple[slice, slice] | None:
    """A crop that moves and is sharp and whose flow can be believed, drawn among eight tries."""
    height, width = middle.luma.shape
    path = np.sum([there for there, _ in flows], axis=0)
    motion = np.hypot(path[..., 0], path[..., 1])
    mismatch = np.max([_mismatch(there, back) for there, back in flows], axis=0) > _MAX_MISMATCH_PX
    for _ in range(8):
        top, left = int(rng.integers(height - size_px + 1)), int(rng.integers(width - size_px + 1))
        place = slice(top, top + size_px), slice(left, left + size_px)
        moved = float(np.percentile(motion[place], 90))
        is_sharp = crispness(middle.luma[place]) >= _MIN_CRISPNESS and middle.luma[place].std() >= _MIN_CONTRAST
        if _MOTION_PX[0] <= moved <= _MOTION_PX[1] and is_sharp and mismatch[place].mean() < _MAX_MISMATCH_SHARE:
            return place
    return None


def _mismatch(there: Flow, back: Flow) -> npt.NDArray[np.float32]:
    """How far from its place, in px, each pixel comes back."""
    returned = there + _taken(back, _moved(there))
    return np.asarray(np.hypot(returned[..., 0], returned[..., 1]), dtype=np.float32)


def _change(first: _Frame, second: _Frame, there: Flow) -> float:
    brought = _taken(second.luma, _moved(there))
    return float(cv2.absdiff(first.luma, brought).mean())


def _between(first: Light, second: Light, there: Flow, back: Flow, time: float) -> Light:
    """The frame at `time` in (0, 1); flows from it as Jiang et al. 2018 (Super SloMo), eq. 4, make them."""
    to_first = np.float32(-(1 - time) * time) * there + np.float32(time * time) * back
    to_second = np.float32((1 - time) ** 2) * there - np.float32(time * (1 - time)) * back
    early, late = _warped(first, to_first), _warped(second, to_second)
    return np.asarray(early * np.float32(1 - time) + late * np.float32(time), dtype=np.float32)


def _warped(light: Light, flow: Flow) -> Light:
    places = _moved(flow)
    return np.stack([_taken(plane, places) for plane in light])


def _moved(flow: Flow) -> Flow:
    """Absolute places (x, y) that a flow points to."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(flow + np.dstack([x, y]), dtype=np.float32)


def _taken(plane: Plane, places: Flow) -> Plane:
    """The plane's values at other places."""
    x, y = places[..., 0], places[..., 1]
    taken = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken, dtype=plane.dtype)


def _widened(span: slice, length: int) -> slice:
    """With what moves in from outside."""
    reach = int(_MOTION_PX[1])
    return slice(max(0, span.start - reach), min(length, span.stop + reach))
