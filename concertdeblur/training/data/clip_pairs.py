"""Pairs made of clips: averages of their frames, and their motion lent to the training pictures.

A store of such pairs is made once, beside the store of pictures. A share of the samples is drawn from it.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from concertdeblur.blur.averaging import timed_pairs
from concertdeblur.blur.capture import CapturedPair
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.lent_motion import Motion, lend, motions
from concertdeblur.errors import SourceError, TrainingError, UnsupportedStreamError
from concertdeblur.media.backends import open_reader
from concertdeblur.media.clip_folder import clips_in
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.training.data.pairs import PairStore, StoredPair
from concertdeblur.training.data.pictures import PictureStore, StoreContents, is_store_of, replaced, write_store

Tell = Callable[[str, int, int], None]  # (what is done, how much of it is done, how much there is)

CLIP_PARTS = {"read clips": "clips", "lend motion": "pairs"}  # parts of the work -> their units
_LEAST_PX = 256  # least side of a pair, because training cuts cells of this side
_MOTION_EVERY = 8  # frames between two motions of a clip
_MOST_MOTIONS = 256  # that are held at once, 2.7 MB each; of longer clips as many are drawn
_LEAST_TURNS = 10_000  # from which both kinds of pairs are drawn, so that their shares are kept to 0.01 %
_TURNS_A_PAIR = 100  # at least, so that no pair is drawn more than 1 % more often than another of its kind


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSettings:
    """The pairs that are made of clips."""

    share: float = 0.15  # share of the samples
    averaged: int = 64  # most pairs that are made of a clip's own frames, if these are sharp
    lent: int = 256  # pairs of a training picture and its blurred version, which moves as a clip does
    side_px: int = 480  # side of the pairs, or that of the clip or picture if it is smaller

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], but it is {self.share}")
        if min(self.averaged, self.lent) < 0 or self.averaged + self.lent == 0:
            raise ValueError("averaged and lent must not be negative, nor both 0")
        if self.side_px < _LEAST_PX:
            raise ValueError(f"side_px must be {_LEAST_PX} at least, but it is {self.side_px}")


class MixedPairs(PairStore):
    """Pairs of the data and of clips as one sequence; even draws from it give each kind its share.

    A number is a turn. A store has turns by its share, and each of its pairs has as many of them, or one more.

    Args:
        stores: Stores of pairs; those without a pair get no turn.
        shares: How often a pair of each is wanted; only their ratio counts.
    """

    def __init__(self, stores: list[PairStore], shares: list[float]) -> None:
        given = [(store, share / sum(shares)) for store, share in zip(stores, shares, strict=True)]
        given = [(store, share) for store, share in given if len(store) and share > 0]
        turns = max([_LEAST_TURNS, *(ceil(_TURNS_A_PAIR * len(store) / share) for store, share in given)])
        self._stores = [store for store, _ in given]
        self._ends = list(accumulate(round(turns * share) for _, share in given))  # of the stores' turns

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def pair(self, number: int) -> StoredPair:
        """The pair of a turn."""
        store, own_number = self._place(number)
        return store.pair(own_number)

    def read(self, number: int) -> tuple[Picture, Picture]:
        """The pair of a turn, as `PairStore.read` gives it."""
        store, own_number = self._place(number)
        return store.read(own_number)

    def _place(self, number: int) -> tuple[PairStore, int]:
        """The store of a turn, and the number of the pair there."""
        at = bisect_right(self._ends, number)
        begin = self._ends[at - 1] if at else 0
        store = self._stores[at]
        return store, (number - begin) * len(store) // (self._ends[at] - begin)


def find_clips(folder: Path) -> list[Path]:
    """The clips in a folder, by name.

    Raises:
        TrainingError: If there are none.
    """
    if not folder.is_dir():
        raise TrainingError(f"no clips at {folder}: name a folder of clips with --clips, or leave it out")
    found = clips_in(folder, recursive=True)
    if not found:
        raise TrainingError(f"{folder}: no clips found; name a folder of clips with --clips, or leave it out")
    return found


def build_clip_store(
    clips: Path,
    folder: Path,
    pictures: PictureStore,
    settings: ClipSettings,
    *,
    seed: int,
    pictures_sha256: str,
    tell: Tell = lambda _what, _done, _total: None,
    on_warning: Callable[[str], None] = lambda _message: None,
) -> None:
    """Make the pairs, unless a store of the same clips, pictures and settings is there; it appears when complete.

    Args:
        clips: The folder of clips.
        folder: Where the store goes.
        pictures: Sharp pictures, to which the motion is lent.
        settings: How many pairs are made.
        seed: With clips and pictures, this decides everything.
        pictures_sha256: Digest of `pictures`.
        tell: Called with what is done; it may raise to stop.
        on_warning: Called for each clip that gives nothing or cannot be read.

    Raises:
        TrainingError: If there are no clips, or nothing can be made of them.
    """
    files = find_clips(clips)
    stamps = [[path.relative_to(clips).as_posix(), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    origin: dict[str, Any] = {
        "clips": stamps, "settings": asdict(settings), "seed": seed, "pictures": pictures_sha256
    }  # fmt: skip
    del origin["settings"]["share"]  # it changes no pair
    if is_store_of(folder, origin):
        return
    with replaced(folder) as part:
        made = _made(files, pictures, settings, seed, tell, on_warning)
        if not write_store(part, made, origin=origin):
            raise TrainingError(
                f"{clips}: the clips give no pair: they are still, full of cuts, soft, or cannot be used"
            )


def both(pictures: StoreContents, clips: StoreContents) -> StoreContents:
    """The contents of two stores as those of one."""
    digest = hashlib.sha256(f"{pictures.sha256} {clips.sha256}".encode()).hexdigest()
    num_pairs = pictures.num_pairs + clips.num_pairs
    return StoreContents(num_pictures=pictures.num_pictures, num_pairs=num_pairs, sha256=digest)


def _made(
    files: list[Path], pictures: PictureStore, settings: ClipSettings, seed: int, tell: Tell,
    on_warning: Callable[[str], None],
) -> Iterator[tuple[str, CapturedPair]]:  # fmt: skip
    """Every pair with its name; a pure function of clips, pictures, settings and seed."""
    found = _DrawnMotions(min(settings.lent, _MOST_MOTIONS), np.random.default_rng([seed, 0, 1]))
    for number, path in enumerate(files):
        tell("read clips", number, len(files))

        def frame_read(place: int = number) -> None:
            tell("read clips", place, len(files))

        count = 0
        try:
            for time_s, pair in _averaged(path, settings, seed + number, frame_read):
                yield f"{path.name} {time_s:.3f} s", pair
                count += 1
            for motion in motions(path, every=_MOTION_EVERY, on_frame=frame_read) if settings.lent else ():
                found.offer(motion)
                count += 1
        except (SourceError, UnsupportedStreamError) as error:
            on_warning(f"{error}; {'the rest of it' if count else 'the clip'} is left out")
            continue
        if not count:
            on_warning(f"{path}: gives no pair: it is still, full of cuts, or soft")
    tell("read clips", len(files), len(files))
    for number in range(settings.lent if found.kept else 0):
        tell("lend motion", number, settings.lent)
        rng = np.random.default_rng([seed, number])
        motion = found.kept[int(rng.integers(len(found.kept)))]
        yield f"lent {number}", lend(motion, _cut(pictures, rng, settings.side_px), rng)
    if found.kept:
        tell("lend motion", settings.lent, settings.lent)


def _averaged(
    clip: Path, settings: ClipSettings, seed: int, on_frame: Callable[[], None]
) -> Iterator[tuple[float, CapturedPair]]:
    """Pairs of a clip's own frames with their times; none if it is smaller than a pair."""
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        short_side = min(reader.info.height, reader.info.width)
    if settings.averaged and short_side >= _LEAST_PX:
        sides = (_LEAST_PX, settings.side_px)
        yield from timed_pairs(clip, seed=seed, max_pairs=settings.averaged, sides_px=sides, on_frame=on_frame)


class _DrawnMotions:
    """Some of the motions that are offered, each as likely as any other: a reservoir (Vitter 1985, algorithm R)."""

    def __init__(self, most: int, rng: np.random.Generator) -> None:
        self.kept: list[Motion] = []
        self._most, self._rng, self._num_offered = most, rng, 0

    def offer(self, motion: Motion) -> None:
        self._num_offered += 1
        if len(self.kept) < self._most:
            self.kept.append(motion)
            return
        place = int(self._rng.integers(self._num_offered))
        if place < self._most:
            self.kept[place] = motion


def _cut(pictures: PictureStore, rng: np.random.Generator, side_px: int) -> Picture:
    """A part of a training picture, sometimes scaled down."""
    picture = pictures.read(int(rng.integers(len(pictures))))
    least = min(1.0, side_px / min(picture.shape[:2]))
    scale = rng.uniform(max(least, 0.6), 1)
    if scale < 1:
        size = tuple(max(_LEAST_PX, round(length * scale)) for length in picture.shape[1::-1])
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rows, columns = (min(side_px, length) for length in picture.shape[:2])
    top, left = (
        int(rng.integers(length - part + 1)) for length, part in zip(picture.shape[:2], (rows, columns), strict=True)
    )
    return np.ascontiguousarray(picture[top : top + rows, left : left + columns])
