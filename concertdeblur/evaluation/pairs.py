"""Pairs to judge by: sharp pictures blurred on the fly, or pairs as `build-dataset`, GOPRO or REDS lay them out."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.capture import capture_mid
from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import DatasetError
from concertdeblur.settings import parse_json
from concertdeblur.training.data.pictures import read_picture
from concertdeblur.training.data.sources import DataSettings, SourcePicture, Sources, find_sources, list_sources

SIDE_PX = 256  # the paper's pictures: one cell of BRMR
NO_SHOT_TYPE = ""
CAPTURE = "capture"  # the capture chain of a real camera
_MIN_SIDE_PX = 64
_MIN_CLIPS = 5  # with fewer clips, pictures are resampled instead of clips
_SEVEN = frozenset(kernel.value for kernel in Kernel)
_LISTS = ("train/metadata.jsonl", "test/metadata.jsonl")
_CAPTURED = re.compile(r"-capture-\d+(?=-sharp\.png$)")  # each has a sharp picture of its own: the tone curve differs

Layout = Literal["pictures", "build-dataset", "folders"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPair:
    """A blurred picture and its sharp one."""

    name: str
    picture: str  # name of the sharp picture, or of the crop that several of build-dataset show
    group: str  # the clip that it is from, or the picture: groups are resampled
    kernel: str  # one of the seven, "capture", or empty if not known
    shot_type: str
    sharp: Path
    blurred: Path | None  # None: `kernel` blurs the sharp one at `level`
    level: float
    place: int = 0  # the picture's place in its split; capture-mid draws its blur by it

    @property
    def is_of_the_seven(self) -> bool:
        """Whether one of the paper's seven kernels blurred it."""
        return self.kernel in _SEVEN

    def read(self) -> tuple[Picture, Picture]:
        """Blurred and sharp, (height, width, 3) RGB uint8.

        Raises:
            ConcertDeblurError: If one cannot be read, is too small, or the sizes differ.
        """
        if self.blurred is None and self.kernel == CAPTURE:
            captured = capture_mid(read_picture(self.sharp, SIDE_PX), self.place)
            return captured.blurred, captured.sharp
        if self.blurred is None:
            sharp = centre(self.sharp)
            return blur(sharp, Kernel(self.kernel), self.level), sharp
        blurred, sharp = (
            read_picture(path, _MIN_SIDE_PX, max_short_side_px=None) for path in (self.blurred, self.sharp)
        )
        if blurred.shape != sharp.shape:
            sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in (blurred, sharp))
            raise DatasetError(f"{self.blurred}: it and its sharp picture {self.sharp} differ in size ({sizes})")
        return blurred, sharp


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationData:
    """The pairs of a data folder."""

    layout: Layout
    pairs: tuple[EvaluationPair, ...]
    split: str  # in words

    @property
    def sharp(self) -> tuple[EvaluationPair, ...]:
        """One pair of every picture."""
        first: dict[str, EvaluationPair] = {}
        for pair in self.pairs:
            first.setdefault(pair.picture, pair)
        return tuple(first.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class PairOptions:
    """Which pairs are used."""

    level: float = 0.5  # level of the seven kernels, if pictures are blurred on the fly
    is_all: bool = False  # whether pictures that training may have seen are used, too
    limit: int | None = None  # most pictures, evenly chosen


def find_pairs(folder: Path, options: PairOptions) -> EvaluationData:
    """List the pairs of a data folder, of whatever layout it is.

    Raises:
        ConcertDeblurError: If it is missing, holds no picture, or a pair is not complete.
    """
    sources = list_sources(folder)
    is_test_set = bool(sources.pairs) and any(p.split == "held_out" for p in sources.pictures)
    if len(sources.pictures) != 1 and not is_test_set:  # one picture cannot be split, and a test set is used as it is
        sources = find_sources(folder, DataSettings(max_held_out=10**9))
    is_all = options.is_all or len(sources.pictures) == 1
    wanted = [p for p in sources.pictures if is_all or p.split == "held_out"]
    rows = _metadata(folder)
    names = list(dict.fromkeys(_picture_of(picture.name, rows) for picture in wanted))
    total = len(names)
    if options.limit is not None and total > options.limit:
        places = [number * total // options.limit for number in range(options.limit)]
    else:
        places = list(range(total))
    split = "pictures, all of the folder" if is_all else "pictures held out of training"
    if not sources.pairs:
        kernels = (*(kernel.value for kernel in Kernel), CAPTURE)
        pairs = [_made(wanted[place], place, kernel, options.level) for place in places for kernel in kernels]
        return EvaluationData(layout="pictures", pairs=tuple(pairs), split=split)
    made = _given(folder, sources, {names[place] for place in places}, rows)
    return EvaluationData(layout="build-dataset" if rows else "folders", pairs=_grouped(made), split=split)


@lru_cache(maxsize=2)
def centre(path: Path, side_px: int = SIDE_PX) -> Picture:
    """The middle of a picture, (side, side, 3) RGB, as training reads it; not to be written to.

    Raises:
        TrainingError: If it cannot be read or is too small.
    """
    found = centre_of(read_picture(path, side_px), side_px)
    assert found is not None
    return found


def centre_of(picture: Picture, side_px: int) -> Picture | None:
    """The middle of a picture, (side, side, 3); None if it is smaller."""
    y, x = (picture.shape[0] - side_px) // 2, (picture.shape[1] - side_px) // 2
    return None if min(y, x) < 0 else np.ascontiguousarray(picture[y : y + side_px, x : x + side_px])


def _made(picture: SourcePicture, place: int, kernel: str, level: float) -> EvaluationPair:
    return EvaluationPair(
        name=f"{picture.name}, {kernel}", picture=picture.name, group=picture.name, kernel=kernel,
        shot_type=NO_SHOT_TYPE, sharp=picture.path, blurred=None, level=level, place=place,
    )  # fmt: skip


def _given(folder: Path, sources: Sources, wanted: set[str], rows: dict[str, dict[str, Any]]) -> list[EvaluationPair]:
    paths = {picture.name: picture.path for picture in sources.pictures}
    made = []
    for pair in sources.pairs:
        picture = _picture_of(pair.sharp_name, rows)
        if picture not in wanted:
            continue
        row = rows.get(pair.name, {})
        sequence = _sequence_of(paths[pair.sharp_name].relative_to(folder))
        made.append(
            EvaluationPair(
                name=pair.name, picture=picture, group=str(row.get("source") or sequence),
                kernel=pair.kernel or "", shot_type=str(row.get("shot_type") or NO_SHOT_TYPE),
                sharp=paths[pair.sharp_name], blurred=pair.path, level=pair.level or 0.0,
            )
        )  # fmt: skip
    return made


def _picture_of(sharp_name: str, rows: dict[str, dict[str, Any]]) -> str:
    """The name by which a sharp picture counts: sharp pictures of one crop of build-dataset count as one."""
    return _CAPTURED.sub("", sharp_name) if rows else sharp_name


def _sequence_of(sharp: Path) -> str:
    """The folder of a sharp picture's sequence, as GOPRO (`clip/sharp`) or REDS (`val_sharp/000`) have it."""
    parts = (part.removesuffix("sharp").rstrip("_") if _says_sharp(part) else part for part in sharp.parent.parts)
    return Path(*(part for part in parts if part)).as_posix()


def _says_sharp(part: str) -> bool:
    return part == "sharp" or part.endswith("_sharp")


def _grouped(pairs: list[EvaluationPair]) -> tuple[EvaluationPair, ...]:
    """The pairs grouped by clip if there are enough clips, else by picture."""
    if len({pair.group for pair in pairs}) >= _MIN_CLIPS:
        return tuple(pairs)
    return tuple(_of_its_own(pair) for pair in pairs)


def _of_its_own(pair: EvaluationPair) -> EvaluationPair:
    return replace(pair, group=pair.picture)


def _metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of `build-dataset` by the blurred picture's name; `find_sources` has read and checked them before."""
    rows: dict[str, dict[str, Any]] = {}
    for path in (folder / name for name in _LISTS):
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.strip():
                    row = parse_json(line)
                    rows[(path.parent / row["file_name"]).relative_to(folder).as_posix()] = row
    return rows
