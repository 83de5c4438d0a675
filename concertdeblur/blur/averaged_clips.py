"""Sequences of blurred frames out of sharp clips: averages of consecutive frames, as GOPRO's and REDS's pairs are made.

A few stretches of a clip are taken. In each stretch frames are averaged at a few distances in time, such that something
moves by 3 to 26 px from one average to the next. The sharp frame in the middle of an average is its truth. `averaging`
averages the frames, and decides which frames are left out.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from concertdeblur.blur.averaging import (
    MAX_CHANGE,
    MAX_MISMATCH_PX,
    MAX_MISMATCH_SHARE,
    MIN_CRISPNESS,
    averaged,
    crispness,
)
from concertdeblur.blur.compression import h264_clip
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.optical_flow import Flow, flow, mean_change, mismatch
from concertdeblur.blur.tone import tone_curve
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderOptions

_STRETCH = 96  # frames of a stretch
_STRETCHES = 3  # stretches of a clip, evenly spread
_HALVED_FROM_PX = 700  # short side; clips from this size on are halved, since single pixels of large clips are soft
_DISTANCES = (2, 3, 4, 6, 8, 10, 12)  # frames from one average to the next
_MOVED_PX = (2.5, 26.0)  # how far something moves from one average to the next
_SPEED_PERCENTILE = 90  # percentile of a frame's pixels; an object may be small
_MOST_DISTANCES = 3  # distances that are used in one stretch
_LONGEST, _SHORTEST = 7, 4  # the most and the fewest averages of a sequence
_FULL_SHARE = 0.75  # share of sequences exposed for the whole frame interval; others are exposed for two thirds of it
_CODED_SHARE = 0.4
_SHARP_STEPS = (1, 4)  # frames from one to the next of a sharp sequence
_SHARP_FRAMES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class AveragedSequence:
    """Consecutive frames and their truths, which are the frames themselves where nothing was averaged."""

    name: str
    blurred: list[Picture]
    sharp: list[Picture]


def averaged_sequences(clip: Path, *, seed: int, least_side_px: int) -> Iterator[AveragedSequence]:
    """Sequences of averages, and a few of unchanged sharp frames; a clip that is soft or full of cuts gives none.

    Args:
        clip: Any clip that PyAV reads.
        seed: With the clip's name and frames, this decides everything.
        least_side_px: Least side of the frames, px; a smaller clip gives none.

    Raises:
        SourceError: If the clip cannot be read.
    """
    of_clip = list(hashlib.sha256(clip.name.encode()).digest()[:8])
    for number, frames in enumerate(_stretches(clip, least_side_px)):
        gray = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for frame in frames]
        for distance in _distances(gray):
            rng = np.random.default_rng([seed, *of_clip, number, distance])
            for first, sequence in _averages(frames, gray, distance, rng):
                name = f"{clip.name}, stretch {number}, {distance} frames, from {first}"
                yield AveragedSequence(name=name, blurred=_coded(sequence[0], rng), sharp=sequence[1])
        for step in _SHARP_STEPS if number == 0 else ():
            places = range(0, len(frames), step)[:_SHARP_FRAMES]
            if len(places) >= _SHORTEST and all(_is_crisp(gray[place]) for place in places):
                sharp = [frames[place] for place in places]
                yield AveragedSequence(name=f"{clip.name}, sharp, every {step}", blurred=sharp, sharp=sharp)


def _stretches(clip: Path, least_side_px: int) -> Iterator[list[Picture]]:
    """Stretches of consecutive frames, halved where they are large; none where they are then too small."""
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        apart = max(_STRETCH, (reader.info.num_frames_hint or 0) // _STRETCHES)
        short_side = min(reader.info.height, reader.info.width)
        halve = short_side >= _HALVED_FROM_PX
        if short_side // (2 if halve else 1) < least_side_px:
            return
        frames: list[Picture] = []
        for number, frame in enumerate(reader.frames()):
            if number >= apart * _STRETCHES:
                break
            if number and number % apart == 0:
                yield frames
                frames = []
            if number % apart < _STRETCH:
                assert frame.pixels is not None
                frames.append(_picture(np.asarray(frame.pixels), halve=halve))
        if frames:
            yield frames


def _picture(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]], *, halve: bool) -> Picture:
    picture = np.asarray(pixels // 257 if pixels.dtype == np.uint16 else pixels, dtype=np.uint8)
    if halve:
        size = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(picture)


def _distances(gray: list[Picture]) -> list[int]:
    """Distances between averages over which the picture moves enough and not too far: least, most, one between."""
    if len(gray) < 2 * _DISTANCES[0]:
        return []
    looked_at = range(0, len(gray) - 1, max(1, len(gray) // 12))
    speeds = []
    for number in looked_at:
        there = flow(gray[number], gray[number + 1])
        speeds.append(float(np.percentile(np.hypot(there[..., 0], there[..., 1]), _SPEED_PERCENTILE)))
    speed = float(np.median(speeds))
    least, most = _MOVED_PX
    wanted = [distance for distance in _DISTANCES if least <= distance * speed <= most]
    if not wanted:
        return [_DISTANCES[-1] if _DISTANCES[-1] * speed < least else _DISTANCES[0]]
    if len(wanted) > _MOST_DISTANCES:
        wanted = [wanted[0], wanted[len(wanted) // 2], wanted[-1]]
    return wanted


def _averages(
    frames: list[Picture], gray: list[Picture], distance: int, rng: np.random.Generator
) -> Iterator[tuple[int, tuple[list[Picture], list[Picture]]]]:
    """Runs of averages, as many as a stretch has room for, each with the number of its first frame."""
    curve = tone_curve()
    reach = max(1, distance // (2 if rng.random() < _FULL_SHARE else 3))
    middle = reach + int(rng.integers(max(1, len(frames) // 4)))
    run: tuple[list[Picture], list[Picture]] = ([], [])
    first = middle
    while middle + reach < len(frames):
        used = range(middle - reach, middle + reach + 1)
        flows = _flows([gray[number] for number in used])
        if flows is None or not _is_crisp(gray[middle]):
            if len(run[0]) >= _SHORTEST:
                yield first, run
            run, middle = ([], []), middle + 2 * distance
            first = middle
            continue
        run[0].append(curve.encoded(averaged([curve.linear(frames[number]) for number in used], flows)))
        run[1].append(frames[middle])
        middle += distance
        if len(run[0]) == _LONGEST:
            yield first, run
            run, middle = ([], []), middle + distance
            first = middle
    if len(run[0]) >= _SHORTEST:
        yield first, run


def _flows(gray: list[Picture]) -> list[tuple[Flow, Flow]] | None:
    """Flow from each frame to the next, and back; None where it cannot be believed."""
    found = []
    for before, after in pairwise(gray):
        there, back = flow(before, after), flow(after, before)
        if mean_change(before, after, there) > MAX_CHANGE:
            return None
        if (mismatch(there, back) > MAX_MISMATCH_PX).mean() > MAX_MISMATCH_SHARE:
            return None
        found.append((there, back))
    return found


def _is_crisp(luma: Picture) -> bool:
    return crispness(luma) >= MIN_CRISPNESS


def _coded(frames: list[Picture], rng: np.random.Generator) -> list[Picture]:
    return h264_clip(frames, int(rng.integers(16, 32))) if rng.random() < _CODED_SHARE else frames
