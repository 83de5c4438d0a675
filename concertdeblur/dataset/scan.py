"""One pass over a clip: every frame is judged, every shot is cut into stretches, and each has its sharpest frames.

Memory does not grow with the clip: a stretch is dropped as soon as its candidates are chosen.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from concertdeblur.dataset.bars import BarFinder, Lines, lines_of
from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.sharpness import Floats, Regions, Sharpness, absolute_sharpness, judge, measure, noise_energy
from concertdeblur.dataset.shots import SMALL_HW, CutDetector, Mark, ShotSplitter
from concertdeblur.errors import Interrupted, SourceError
from concertdeblur.media.pyav_reader import PyavReader
from concertdeblur.media.reader import ReaderOptions

Luma = npt.NDArray[np.uint8]

LARGEST_SHORT_SIDE_PX = 1080  # larger frames are scaled down to it, since they are soft at pixel level
_LEAST_SIDE_PX = 64
_STRETCH_S = 8.0  # longest stretch of a shot; each gives one pick
_NOISE_QUANTILE = 0.25  # quantile of the noise estimates over a stretch
_NUM_CANDIDATES = 3  # candidates of a stretch; the first that passes the closer look is picked
_CANDIDATE_GAP_S = 0.3
_EDGE_FRAMES = 2  # left out at either end of a shot, since a cut may be found a frame late
_MOST_JUDGED_FPS = 31  # at 50 and 60 frames a second every second frame is judged
_BAR_EVERY = 5  # frames between two searches for bars, which do not move
_THUMB_HW = (27, 48)
# Least absolute sharpness. 228 photographs have 1.13 to 1.52 (quartiles); after a Gaussian of sigma 1 px they have 0.66
# to 0.92, and of 1.5 px 0.47 to 0.65. Encoded video in good focus reaches 0.8 to 1.5. 96 % of the photographs pass, 6 %
# of those blurred by 1.5 px, none that is smeared over 25 px, and 20 % of these with grain of 2 to 6 levels.
LEAST_SHARPNESS = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A frame that may be picked."""

    pts: int
    timestamp_s: float  # from the first frame
    sharpness: float  # absolute
    rank: float  # mean sharpness over the regions that count in its stretch
    thumb: str  # grey picture of _THUMB_HW in hexadecimal; a frame that is read again is checked by it
    detail: float  # `mean_detail` of the frame, for the same check


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a shot with its candidates, best first; none if nothing in it is sharp."""

    shot: int
    start_s: float
    stop_s: float
    picture: Box  # the picture without bars, in px of the frame as it is judged
    candidates: tuple[Candidate, ...]
    reason: str = ""  # why there is no candidate


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What one pass over a clip found."""

    height: int  # of a frame as it is judged: within LARGEST_SHORT_SIDE_PX, not turned
    width: int
    num_frames: int
    num_mixed: int  # frames in dissolves
    num_shots: int
    duration_s: float
    num_broken: int
    stretches: tuple[Stretch, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Scan":
        """The scan that `to_json` was called on."""
        stretches = tuple(
            Stretch(
                **{
                    **stretch,
                    "picture": Box(*stretch["picture"]),
                    "candidates": tuple(Candidate(**candidate) for candidate in stretch["candidates"]),
                }
            )
            for stretch in row["stretches"]
        )
        return cls(**{**row, "stretches": stretches})


@dataclass(kw_only=True, slots=True)
class _Judged:
    """A judged frame, which waits for its mark or for the end of its stretch."""

    pts: int
    timestamp_s: float
    regions: Regions | None  # None: it is not judged, since it is broken, or one of too many a second
    lines: Lines | None  # of one frame in _BAR_EVERY
    thumb: bytes


@dataclass(slots=True)
class _Stretches:
    """Collects frames into stretches."""

    least_sharpness: float
    height: int
    width: int
    done: list[Stretch] = field(default_factory=list)
    num_mixed: int = 0
    shot: int = -1
    _bars: BarFinder | None = None  # bars of this shot
    _frames: list[_Judged] = field(default_factory=list)
    _shot_start: int = 0  # number of this shot's frames in earlier stretches

    def add(self, frame: _Judged, mark: Mark) -> None:
        if mark.begins_shot or mark.is_mixed:
            self.close(ends_shot=True)
            self.shot += mark.begins_shot
        if mark.is_mixed:
            self.num_mixed += 1
            return
        if self._frames and frame.timestamp_s - self._frames[0].timestamp_s >= _STRETCH_S:
            self.close(ends_shot=False)
        self._frames.append(frame)
        self._bars = self._bars or BarFinder(self.height, self.width)
        if frame.lines is not None:
            self._bars.add(frame.lines)

    def close(self, *, ends_shot: bool) -> None:
        frames, self._frames = self._frames, []
        if frames and self._bars is not None:
            start = max(0, _EDGE_FRAMES - self._shot_start)
            inner = frames[start : len(frames) - _EDGE_FRAMES if ends_shot else len(frames)]
            candidates, reason = choose(inner, self.least_sharpness)
            self.done.append(
                Stretch(
                    shot=self.shot,
                    start_s=frames[0].timestamp_s,
                    stop_s=frames[-1].timestamp_s,
                    picture=self._bars.picture(),
                    candidates=candidates,
                    reason=reason,
                )
            )
        self._shot_start = 0 if ends_shot else self._shot_start + len(frames)
        self._bars = None if ends_shot else self._bars


def choose(frames: list[_Judged], least_sharpness: float) -> tuple[tuple[Candidate, ...], str]:
    """The sharpest frames of a stretch, best first and some time apart; if there are none, the reason."""
    measured = [(frame, frame.regions) for frame in frames if frame.regions is not None]
    if not measured:
        return (), "too short"
    noise = float(np.quantile([noise_energy(regions) for _, regions in measured], _NOISE_QUANTILE))
    judged = [(frame, judge(regions, noise)) for frame, regions in measured]
    absolute = np.array([absolute_sharpness(sharpness) for _, sharpness in judged])
    if not (absolute > 0).any():
        return (), "dark or empty"
    if (absolute < least_sharpness).all():
        return (), "not sharp"
    ranks = rank_frames([sharpness for _, sharpness in judged])
    chosen: list[Candidate] = []
    for index in np.argsort(-ranks, kind="stable"):
        frame = judged[index][0]
        is_near = any(abs(frame.timestamp_s - other.timestamp_s) < _CANDIDATE_GAP_S for other in chosen)
        if absolute[index] < least_sharpness or is_near:
            continue
        chosen.append(
            Candidate(
                pts=frame.pts,
                timestamp_s=frame.timestamp_s,
                sharpness=round(float(absolute[index]), 4),
                rank=round(float(ranks[index]), 4),
                thumb=frame.thumb.hex(),
                detail=round(mean_detail(measured[index][1]), 4),
            )
        )
        if len(chosen) == _NUM_CANDIDATES:
            break
    return tuple(chosen), ""


def rank_frames(frames: list[Sharpness]) -> Floats:
    """How sharp each frame is beside the others: the mean over regions, whose weights are the same in every frame.

    A region that has edges in most frames, but none in this one (smeared, or dark between two flashes), counts as soft.
    """
    weights = np.mean([frame.weight_DRC for frame in frames], axis=0)
    scores = np.array([(frame.score_DRC * weights).sum() for frame in frames])
    return np.asarray(scores / max(float(weights.sum()), 1e-6), dtype=np.float32)


def scan_clip(
    path: Path,
    make_detector: Callable[[Fraction], CutDetector],
    *,
    least_sharpness: float = LEAST_SHARPNESS,
    on_frame: Callable[[int], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Scan:
    """Decode a clip once, and find where its sharp frames are.

    Args:
        path: The clip; its largest video stream is read.
        make_detector: Makes a detector of cuts for a rate in frames a second.
        least_sharpness: Softer frames are no candidates.
        on_frame: Called with the number of frames so far, after each.
        on_warning: Called with one sentence for each thing that the user should know.
        stop: When set, `Interrupted` is raised.

    Raises:
        SourceError: If it is no clip, has broken beginnings, or is too small to judge.
        UnsupportedStreamError: If it is interlaced.

    """
    with PyavReader(path, ReaderOptions(wants_pixels=False), on_warning=on_warning) as reader:
        pass_ = _Pass(reader, make_detector, least_sharpness)
        for num_frames in pass_.run():
            on_frame(num_frames)
            if stop is not None and stop.is_set():
                raise Interrupted(f"stopped while looking for sharp frames in {path.name}; run it again to go on")
        return pass_.result()


class _Pass:
    """The state of one pass over a clip."""

    def __init__(
        self, reader: PyavReader, make_detector: Callable[[Fraction], CutDetector], least_sharpness: float
    ) -> None:
        self._reader = reader
        info = reader.info
        rate_fps = info.rate if info.rate and 1 <= info.rate <= 300 else Fraction(25)
        self._height, self._width = judged_size(info.height, info.width)
        if min(self._height, self._width) < _LEAST_SIDE_PX:
            raise SourceError(f"its frames of {info.width}x{info.height} px are too small to judge")
        self._time_base = info.time_base
        self._every = max(1, round(rate_fps / _MOST_JUDGED_FPS + Fraction(1, 5)))
        self._splitter = ShotSplitter(make_detector(rate_fps), rate_fps)
        self._luma = LumaReader(self._height, self._width)
        self._small = VideoReformatter()
        self._waiting: deque[_Judged] = deque()
        self._stretches = _Stretches(least_sharpness, self._height, self._width)
        self._first_pts: int | None = None
        self._num_frames = 0
        self._last_s = 0.0

    def run(self) -> Iterator[int]:
        for frame in self._reader.frames():
            assert frame.native is not None
            small = self._small.reformat(
                frame.native, width=SMALL_HW[1], height=SMALL_HW[0], format="bgr24", interpolation="FAST_BILINEAR"
            )
            self._waiting.append(self._judged(frame.pts, frame.native, is_broken=frame.is_repeated))
            self._take(self._splitter.push(np.asarray(small.to_ndarray(), dtype=np.uint8)))
            self._num_frames += 1
            yield self._num_frames
        self._take(self._splitter.finish())
        self._stretches.close(ends_shot=True)

    def result(self) -> Scan:
        return Scan(
            height=self._height,
            width=self._width,
            num_frames=self._num_frames,
            num_mixed=self._stretches.num_mixed,
            num_shots=self._stretches.shot + 1,
            duration_s=round(self._last_s, 3),
            num_broken=self._reader.num_broken,
            stretches=tuple(self._stretches.done),
        )

    def _judged(self, pts: int, native: av.VideoFrame, *, is_broken: bool) -> _Judged:
        if self._first_pts is None:
            self._first_pts = pts
        timestamp_s = float((pts - self._first_pts) * self._time_base)
        self._last_s = timestamp_s
        regions, thumb, lines = None, b"", None
        if not is_broken and self._num_frames % self._every == 0:
            luma_HW = self._luma.read(native)
            if self._num_frames % (_BAR_EVERY * self._every) == 0:
                lines = lines_of(luma_HW)
            regions = measure(luma_HW)
            thumb = thumbnail(luma_HW).tobytes()
        return _Judged(pts=pts, timestamp_s=timestamp_s, regions=regions, lines=lines, thumb=thumb)

    def _take(self, marks: Iterator[Mark]) -> None:
        for mark in marks:
            self._stretches.add(self._waiting.popleft(), mark)


class LumaReader:
    """Luma of decoded frames at a fixed size."""

    def __init__(self, height: int, width: int) -> None:
        self._size_HW = (height, width)
        self._reformatter = VideoReformatter()

    def read(self, frame: av.VideoFrame) -> Luma:
        """(height, width) uint8; may share memory with the frame."""
        if frame.format.name.startswith(("yuv4", "yuvj4", "nv12")) and frame.format.components[0].bits == 8:
            plane = frame.planes[0]
            luma_HW = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            luma_HW = luma_HW[: frame.height, : frame.width]
        else:
            luma_HW = np.asarray(self._reformatter.reformat(frame, format="gray").to_ndarray(), dtype=np.uint8)
        if luma_HW.shape == self._size_HW:
            return luma_HW
        scaled = cv2.resize(luma_HW, self._size_HW[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(scaled, dtype=np.uint8)


def judged_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a frame is judged and kept."""
    scale = LARGEST_SHORT_SIDE_PX / min(height, width)
    return (height, width) if scale >= 1 else (round(height * scale), round(width * scale))


def mean_detail(regions: Regions) -> float:
    """Fine energy of a whole frame, mean squared levels."""
    return float(regions.fine_DRC.mean())


def thumbnail_from(hexadecimal: str) -> Luma:
    """The thumbnail that a candidate carries."""
    return np.frombuffer(bytes.fromhex(hexadecimal), dtype=np.uint8).reshape(_THUMB_HW)


def thumbnail(luma_HW: Luma) -> Luma:
    """A small grey picture by which a frame can be told from its neighbours in other shots."""
    height, width = _THUMB_HW
    while luma_HW.shape[0] >= 4 * height and luma_HW.shape[1] >= 4 * width:  # halving is ten times faster
        halves = (luma_HW.shape[1] // 2, luma_HW.shape[0] // 2)
        luma_HW = np.asarray(cv2.resize(luma_HW, halves, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.resize(luma_HW, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
