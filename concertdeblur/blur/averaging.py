"""Blur as GOPRO and REDS made it: averages of real consecutive frames, so that the blur follows what moves.

An exposure lasts from some frames before a sharp frame to as many frames after it. Between these, frames are
interpolated along the optical flow (DIS, Kroeger et al. 2016) until nothing moves further than a pixel from one frame
to the next. So a moving lamp leaves a streak, and not a row of dots. The mean is taken in linear light. Then sensor,
phone and file are simulated as in the capture chain.

Frames that are soft themselves are left out, and so are cuts, flow that contradicts itself, and places where nothing
moves.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur import scenes
from concertdeblur.blur.capture import CapturedPair, CaptureSettings, photographed
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.optical_flow import Flow, Plane, flow, mean_change, mismatch, moved_places, sampled
from concertdeblur.blur.tone import Light, tone_curve
from concertdeblur.errors import SourceError
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions

_LONGEST = 9  # frames of the longest exposure
_NEAREST = 3  # least number of frames between the middles of two pairs
_MAX_SUBFRAMES = 16  # most frames that are interpolated between two
MAX_MISMATCH_PX = 1.0  # how far from its place a pixel may come back by the flow there and back
MAX_MISMATCH_SHARE = 0.25  # a larger share of a crop with such pixels is a cut, a strobe or an occlusion
MAX_CHANGE = 12.0  # mean difference, in grey levels, of a frame from its moved neighbour; more is a cut or a strobe
MIN_CRISPNESS = 0.23  # photographs have a `crispness` of 0.28 to 0.60, and of 0.14 to 0.19 after a Gaussian of 1 px
_MIN_DETAIL = 2.0  # grey levels; less is noise
_MIN_CONTRAST = 10.0  # standard deviation of a crop, in grey levels: empty sky shows no blur
_FLAT = 6  # a row or column with a smaller range of grey levels is a bar or empty sky
_MAX_FLAT_SHARE = 0.1  # most rows or columns of a crop that may be flat
_MOTION_PX = (2.0, 24.0)  # motion over the exposure, at these percentiles of a crop; an object may be small
_MOTION_PERCENTILES = (95, 90)

CAMERA = CaptureSettings(shrink_share=0)  # the clip has been scaled down already


@dataclass(frozen=True, slots=True)
class _Frame:
    picture: Picture
    luma: Picture
    time_s: float  # since the clip's first frame


def timed_pairs(
    clip: Path, *, seed: int, max_pairs: int, sides_px: tuple[int, int], settings: CaptureSettings = CAMERA,
    on_frame: Callable[[], None] = lambda: None,
) -> Iterator[tuple[float, CapturedPair]]:  # fmt: skip
    """Make pairs from a clip's own motion.

    A clip at least twice as large as the pairs is scaled down by 2 first: compression and the lens have made
    single pixels soft.

    Args:
        clip: Any clip that PyAV reads; a shaky or moving one without cuts gives most.
        seed: With the clip, this decides everything.
        max_pairs: At most so many, spread over the clip.
        sides_px: Least and most side of the pairs: as much as the clip has.
        settings: The camera behind the exposure; shares of motion, defocus and darkness do not apply.
        on_frame: Called for every frame that is read.

    Yields:
        Pairs in the clip's order, each with the time of its sharp frame in s since the clip's first; none from a
        clip that is soft or still.

    Raises:
        SourceError: If the clip cannot be read or is smaller than the pairs.

    """
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        short_side = min(reader.info.height, reader.info.width)
        if short_side < sides_px[0]:
            raise SourceError(f"{clip}: {reader.info.width}x{reader.info.height} is smaller than {sides_px[0]} px")
        num_middles = (reader.info.num_frames_hint or 0) - _LONGEST + 1
        stride = max(_NEAREST, num_middles // max(1, max_pairs))
        window: deque[_Frame] = deque(maxlen=_LONGEST)
        num_made, next_number = 0, 0
        for number, frame in enumerate(reader.frames()):
            assert frame.pixels is not None
            on_frame()
            if num_made >= max_pairs:
                return
            time_s = float((frame.pts - reader.first_pts) * reader.info.time_base)
            window.append(_prepared(np.asarray(frame.pixels), time_s, halve=short_side >= 2 * sides_px[0]))
            if number < next_number or len(window) < _LONGEST:
                continue
            pair = _pair(list(window), np.random.default_rng([seed, number]), sides_px[1], settings)
            next_number = number + (_NEAREST if pair is None else stride)  # neighbours fail, too
            if pair is not None:
                num_made += 1
                yield window[_LONGEST // 2].time_s, pair


def averaged(frames: Sequence[Light], flows: Sequence[tuple[Flow, Flow]]) -> Light:
    """The mean of consecutive frames and of the interpolated frames between them.

    Args:
        frames: Light (3, height, width) of at least two frames.
        flows: From each frame to the next, and back.

    Returns:
        The mean over the time from the first frame to the last; these two count half.

    """
    total, num_parts = np.zeros_like(frames[0]), 0
    for (first, second), (there, back) in zip(pairwise(frames), flows, strict=True):
        fastest = float(np.percentile(np.hypot(there[..., 0], there[..., 1]), 99))
        num_steps = int(np.clip(np.ceil(fastest), 1, _MAX_SUBFRAMES))
        part = (first + second) / 2
        for step in range(1, num_steps):
            part += _between(first, second, there, back, step / num_steps)
        # every gap lasts equally long, however many frames were interpolated in it
        total += part / num_steps
        num_parts += 1
    return np.asarray(total / num_parts, dtype=np.float32)


def crispness(luma: Picture, where: npt.NDArray[np.bool_] | None = None) -> float:
    """Share of the detail that lies in the finest octave: contrast that a Gaussian of 1 px removes, by that of 4 px.

    Args:
        luma: (height, width) grey levels.
        where: The pixels that count; None: all.

    Returns:
        The smaller of the shares along rows and along columns, because motion makes a picture soft along one of them.

    """
    plane = luma.astype(np.float32)
    shares = []
    for across, along in ((1, 0), (0, 1)):
        fine, coarse = (plane - _blurred_along(plane, sigma_px, across, along) for sigma_px in (1, 4))
        if where is not None:
            fine, coarse = fine[where], coarse[where]
        shares.append(float(fine.std() / max(_MIN_DETAIL, float(coarse.std()))))
    return min(shares)


def _blurred_along(plane: Plane, sigma_px: int, across: int, along: int) -> Plane:
    taps = 8 * sigma_px + 1
    return cv2.GaussianBlur(plane, (taps if across else 1, taps if along else 1), sigmaX=sigma_px, sigmaY=sigma_px)


def _prepared(picture: npt.NDArray[np.uint8 | np.uint16 | np.float32], time_s: float, *, halve: bool) -> _Frame:
    pixels = (picture // 257 if picture.dtype == np.uint16 else picture).astype(np.uint8)
    if halve:
        size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return _Frame(pixels, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8), time_s)


def _pair(
    window: Sequence[_Frame], rng: np.random.Generator, size_px: int, settings: CaptureSettings
) -> CapturedPair | None:
    """A pair around the middle frame; None if it cannot be learned from."""
    reach = int(rng.integers(1, _LONGEST // 2 + 1))
    middle = len(window) // 2
    used = window[middle - reach : middle + reach + 1]
    if crispness(window[middle].luma) < MIN_CRISPNESS:
        return None
    flows = [(flow(a.luma, b.luma), flow(b.luma, a.luma)) for a, b in pairwise(used)]
    if any(
        mean_change(a.luma, b.luma, there) > MAX_CHANGE
        for (a, b), (there, _) in zip(pairwise(used), flows, strict=True)
    ):
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


def _place(
    middle: _Frame, flows: Sequence[tuple[Flow, Flow]], rng: np.random.Generator, size_px: int
) -> tuple[slice, slice] | None:
    """A crop that moves, is sharp and has flow that can be believed; None after eight random tries."""
    height, width = middle.luma.shape
    rows, columns = min(size_px, height), min(size_px, width)
    path = np.sum([there for there, _ in flows], axis=0)
    motion = np.hypot(path[..., 0], path[..., 1])
    astray = np.max([mismatch(there, back) for there, back in flows], axis=0) > MAX_MISMATCH_PX
    for _ in range(8):
        top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
        place = slice(top, top + rows), slice(left, left + columns)
        least, most = np.percentile(motion[place], _MOTION_PERCENTILES)
        moves = least >= _MOTION_PX[0] and most <= _MOTION_PX[1] and astray[place].mean() < MAX_MISMATCH_SHARE
        if moves and _is_sharp(middle.luma[place], motion[place] >= min(_MOTION_PX[0], least)):
            return place
    return None


def _is_sharp(luma: Picture, moving: npt.NDArray[np.bool_]) -> bool:
    """Whether a crop can be learned from: no bars, enough contrast, and as sharp where it moves as elsewhere."""
    flat = [float((np.ptp(luma, axis=axis) < _FLAT).mean()) for axis in (0, 1)]
    if max(flat) > _MAX_FLAT_SHARE or luma.std() < _MIN_CONTRAST:
        return False
    return crispness(luma) >= MIN_CRISPNESS and crispness(luma, moving) >= MIN_CRISPNESS


def _between(first: Light, second: Light, there: Flow, back: Flow, time: float) -> Light:
    """The frame at `time` in (0, 1); flows from it as Jiang et al. 2018 (Super SloMo), eq. 4, make them."""
    to_first = np.float32(-(1 - time) * time) * there + np.float32(time * time) * back
    to_second = np.float32((1 - time) ** 2) * there - np.float32(time * (1 - time)) * back
    early, late = _warped(first, to_first), _warped(second, to_second)
    return np.asarray(early * np.float32(1 - time) + late * np.float32(time), dtype=np.float32)


def _warped(light: Light, flow: Flow) -> Light:
    places = moved_places(flow)
    return np.stack([sampled(plane, places) for plane in light])


def _widened(span: slice, length: int) -> slice:
    """The crop with a margin, since content moves in from outside."""
    reach = int(_MOTION_PX[1])
    return slice(max(0, span.start - reach), min(length, span.stop + reach))
