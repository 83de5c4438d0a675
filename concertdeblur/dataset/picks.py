"""The candidates of one clip are decoded again and looked at closely; the best of each stretch is kept and saved."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.dataset.access import PictureReader, open_pictures
from concertdeblur.dataset.duplicates import NEAR_BITS, distance_bits, perceptual_hash
from concertdeblur.dataset.frames import Box
from concertdeblur.dataset.scan import Candidate, Scan, Stretch, thumbnail_from
from concertdeblur.dataset.sources import Source
from concertdeblur.dataset.workspace import Workspace
from concertdeblur.errors import Interrupted

Picture = npt.NDArray[np.uint8]

FRAMES_FOLDER = "frames"
_LEAST_GAP_S = 1.0  # least time between two picks of a shot
_SAME_BITS = 4  # thumbnails whose hashes differ by so few bits are certainly alike
# A drawn card is mostly an even ground, and most of the rest has one other colour. A musician on a dark stage has such
# a ground, too, but many other tones.
_GROUND_SHARE, _INK_SHARE = 0.5, 0.45
_INK_LEVELS = 8
_LEAST_INK = 0.002
_EVEN_LEVELS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A frame that is kept; its picture lies in the folder of frames."""

    frame_id: str
    timestamp_s: float
    sharpness: float
    perceptual_hash: str  # hexadecimal
    height: int
    width: int

    @property
    def picture(self) -> str:
        """The path of the picture within the data set."""
        return f"{FRAMES_FOLDER}/{self.frame_id}.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picks:
    """The frames that were picked from one source."""

    picks: tuple[Pick, ...]
    dropped: dict[str, int]  # reason -> number of stretches that gave nothing for it

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Picks":
        """What `to_json` was called on."""
        return cls(picks=tuple(Pick(**pick) for pick in row["picks"]), dropped=dict(row["dropped"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class PickOptions:
    """Which frames of a clip are kept."""

    least_side_px: int  # smaller frames are skipped
    most_frames: int  # most frames of one source
    least_sharpness: float  # least absolute sharpness


def pick_frames(
    source: Source,
    scan: Scan,
    options: PickOptions,
    workspace: Workspace,
    *,
    on_pick: Callable[[int, int], None] = lambda _done, _total: None,
    stop: threading.Event | None = None,
) -> Picks:
    """Decode the best candidate of each stretch; keep it if it passes a closer look, else try the next one."""
    dropped = Counter(stretch.reason for stretch in scan.stretches if not stretch.candidates)
    stretches = [stretch for stretch in scan.stretches if stretch.candidates]
    chosen = spread(stretches, options.most_frames)
    dropped["more than the most frames of a source"] += len(stretches) - len(chosen)
    keeper = _Keeper(source=source, options=options, workspace=workspace, judged_HW=(scan.height, scan.width))
    if chosen:
        with open_pictures(source.path) as reader:
            for done, stretch in enumerate(chosen):
                if stop is not None and stop.is_set():
                    raise Interrupted(f"stopped while picking frames of {source.title}; run it again to go on")
                reason = keeper.keep_best(stretch, reader)
                dropped[reason] += 1
                on_pick(done + 1, len(chosen))
    del dropped[""]
    return Picks(picks=tuple(keeper.picks), dropped={reason: num for reason, num in sorted(dropped.items()) if num})


def spread(stretches: list[Stretch], most: int) -> list[Stretch]:
    """At most `most` stretches, spread over the clip: the sharpest one of each of as many equal parts."""
    if len(stretches) <= most:
        return stretches
    parts = np.array_split(np.arange(len(stretches)), most)
    return [stretches[max(part, key=lambda index: stretches[index].candidates[0].sharpness)] for part in parts]


class _Keeper:
    """Keeps frames of one clip."""

    def __init__(
        self, *, source: Source, options: PickOptions, workspace: Workspace, judged_HW: tuple[int, int]
    ) -> None:
        self._source, self._options, self._workspace, self._judged_HW = source, options, workspace, judged_HW
        self.picks: list[Pick] = []
        self._hashes: list[int] = []
        self._small_hashes: list[int] = []  # of the picks' thumbnails; equal candidates need no decoding
        self._last: tuple[int, float] | None = None  # shot and time of the last pick

    def keep_best(self, stretch: Stretch, reader: PictureReader) -> str:
        """Keep the first candidate that passes; if none does, returns the reason against the last one."""
        reason = ""
        for candidate in stretch.candidates:
            reason = self._keep(stretch, candidate, reader)
            if not reason:
                break
        return reason

    def _keep(self, stretch: Stretch, candidate: Candidate, reader: PictureReader) -> str:
        if self._is_near_last(stretch.shot, candidate.timestamp_s):
            return "too near to another pick"
        small_hash = perceptual_hash(_within(thumbnail_from(candidate.thumb), stretch.picture, self._judged_HW))
        if any(distance_bits(small_hash, other) <= _SAME_BITS for other in self._small_hashes):
            return "like another pick of this source"
        picture = reader.read(candidate, stretch.picture)
        if min(picture.shape[:2]) < self._options.least_side_px:
            return "too small"
        if is_drawn(picture):
            return "title card"
        hashed = perceptual_hash(picture)
        if any(distance_bits(hashed, other) <= NEAR_BITS for other in self._hashes):
            return "like another pick of this source"
        frame_id = f"{self._source.key}-{round(candidate.timestamp_s * 1000):08d}"
        pick = Pick(
            frame_id=frame_id,
            timestamp_s=round(candidate.timestamp_s, 6),
            sharpness=candidate.sharpness,
            perceptual_hash=f"{hashed:016x}",
            height=picture.shape[0],
            width=picture.shape[1],
        )
        self._workspace.write_png(self._workspace.path(FRAMES_FOLDER, f"{frame_id}.png"), picture)
        self.picks.append(pick)
        self._hashes.append(hashed)
        self._small_hashes.append(small_hash)
        self._last = (stretch.shot, candidate.timestamp_s)
        return ""

    def _is_near_last(self, shot: int, timestamp_s: float) -> bool:
        if self._last is None or self._last[0] != shot:
            return False
        return timestamp_s - self._last[1] < _LEAST_GAP_S


def _within(thumb: Picture, picture: Box, judged_HW: tuple[int, int]) -> Picture:
    """The part of a thumbnail that lies within the bars."""
    scales = [small / large for small, large in zip(thumb.shape, judged_HW, strict=True)]
    top, left = (round(edge * scale) for edge, scale in zip((picture.y, picture.x), scales, strict=True))
    bottom, right = (
        round((edge + side) * scale)
        for edge, side, scale in zip((picture.y, picture.x), (picture.height, picture.width), scales, strict=True)
    )
    return thumb[top:bottom, left:right]


def is_drawn(picture: Picture) -> bool:
    """Whether a frame is a title card: text or a logo on even ground."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    levels = np.bincount(grey.ravel(), minlength=256).astype(np.float64) / grey.size
    ground = int(np.argmax(np.convolve(levels, np.ones(2 * _EVEN_LEVELS + 1), "same")))
    ground_share, rest = _share_about(levels, ground, _EVEN_LEVELS), levels.copy()
    if ground_share < _GROUND_SHARE:
        return False
    rest[max(0, ground - 2 * _INK_LEVELS) : ground + 2 * _INK_LEVELS + 1] = 0
    if rest.sum() < _LEAST_INK:
        return False
    ink = int(np.argmax(np.convolve(rest, np.ones(2 * _INK_LEVELS + 1), "same")))
    return _share_about(rest, ink, _INK_LEVELS) > _INK_SHARE * float(rest.sum())


def _share_about(levels: npt.NDArray[np.float64], level: int, reach: int) -> float:
    return float(levels[max(0, level - reach) : level + reach + 1].sum())
