"""A memory-mapped store of training pictures: decoded once, read at random.

Layout of a store: `pixels.u8`, all pictures one after another (RGB, row by row), and `index.json` with name,
split, height, width and offset of each, which of them are pairs, what they were made from, and a digest.
"""

import hashlib
import json
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from concertdeblur.blur.capture import CapturedPair
from concertdeblur.blur.kernels import Picture
from concertdeblur.cpus import available_cpus
from concertdeblur.errors import SourceError, TrainingError
from concertdeblur.pictures.reading import open_picture
from concertdeblur.pictures.stills import rgb_8_bits
from concertdeblur.settings import parse_json, sealed, unsealed
from concertdeblur.training.data.sources import (
    DataSettings,
    SourcePair,
    SourcePicture,
    Sources,
    Split,
    both_splits,
    find_sources,
    split_of,
)

__all__ = [
    "REPLACED",
    "PictureStore",
    "SkippedPicture",
    "StoreContents",
    "StoredPicture",
    "build_store",
    "is_store",
    "is_store_of",
    "open_pixels",
    "read_contents",
    "read_index",
    "read_picture",
    "read_skipped",
    "replaced",
    "skipped_text",
    "split_of",
    "view",
    "write_index",
    "write_store",
]

_FORMAT = 2  # of the index file's format
REPLACED = "replaced"  # stores of a run that may come back
_OWN_FILE = re.compile(r"(index\.json|pixels\.u8|flows\.f16|(train|held_out)-[a-z-]+\.(u8|f16)\S*)")
_NAMED = 3  # most skipped pictures that a message names
MAX_SHORT_SIDE_PX = 1024  # larger photographs are scaled down, since they are soft at pixel level


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPicture:
    """Where one picture lies in the store."""

    name: str
    split: Split
    height: int
    width: int
    offset: int
    is_blurred: bool = False  # the blurred half of a pair


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreContents:
    """What a store holds, in figures."""

    num_pictures: int  # number of sharp pictures
    num_pairs: int
    sha256: str  # over names and pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedPicture:
    """A picture of a data folder that cannot be trained on."""

    name: str
    reason: str  # a clause

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


class _Unusable(Exception):
    """A picture that is skipped; the message says why."""


class PictureStore:
    """Random access to the sharp pictures of one split; safe to use from several threads."""

    def __init__(self, folder: Path, split: Split) -> None:
        rows = read_index(folder)["pictures"]
        stored = [StoredPicture(**row) for row in rows if row["split"] == split]
        self.pictures = [picture for picture in stored if not picture.is_blurred]
        if not self.pictures:
            raise TrainingError(f"{folder}: no picture in the split '{split}'; add pictures")
        self._pixels = open_pixels(folder)

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, number: int) -> Picture:
        """Picture `number`, (height, width, 3) RGB uint8, a read-only view."""
        return view(self._pixels, self.pictures[number])


def open_pixels(folder: Path) -> Picture:
    """All bytes of a store, mapped into memory, read-only."""
    return np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r")


def view(pixels: Picture, row: StoredPicture) -> Picture:
    """One picture of a store, (height, width, 3), without copying."""
    size = row.height * row.width * 3
    return pixels[row.offset : row.offset + size].reshape(row.height, row.width, 3)


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a store.

    Raises:
        TrainingError: If there is none, or it does not fit the pixels.
    """
    try:
        index = parse_json((folder / "index.json").read_text(encoding="utf-8"))
        is_whole = index["format"] == _FORMAT and (folder / "pixels.u8").stat().st_size == index["num_bytes"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{folder}: not a store of pictures ({error})") from error
    if not is_whole:
        raise TrainingError(f"{folder}: the store of pictures is damaged or of another version; delete it")
    try:
        return unsealed(index)
    except ValueError as error:
        raise TrainingError(f"{folder}: the store of pictures is damaged; delete it") from error


def build_store(
    source: Path,
    folder: Path,
    settings: DataSettings | None = None,
    *,
    min_side_px: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_warning: Callable[[str], None] = lambda _message: None,
) -> None:
    """Decode the pictures of a data folder into a store, unless one of the same files is there.

    Args:
        source: A folder of sharp pictures, searched with its subfolders, or one of pairs (`find_sources`).
        folder: Where the store goes; it appears there only when it is complete.
        settings: What is taken from the folder.
        min_side_px: Smaller pictures are skipped, since crops of this size are cut. Files that are cut off, damaged or
            no pictures are skipped, too, and pairs with such a half.
        on_progress: Called with (pictures done, pictures in all).
        on_warning: Called with a sentence on how many pictures are skipped, which and why.

    Raises:
        TrainingError: If the folder is missing or empty, fewer than two pictures can be used, or the halves of a pair
            differ in size.

    """
    chosen = settings or DataSettings()
    sources = find_sources(source, chosen)
    origin = {"pictures": _stamps(source, sources), "settings": asdict(chosen), "min_side_px": min_side_px}
    if is_store_of(folder, origin):
        return
    with replaced(folder) as part:
        index = _write_pixels(part / "pixels.u8", sources, _Reader(chosen.pair_crop_px, min_side_px), on_progress)
        _settle(index, source, sources, on_warning)
        write_index(part, index | {"origin": origin})


def is_store_of(folder: Path, origin: dict[str, Any]) -> bool:
    """Whether a complete store is there that was made from exactly this."""
    try:
        return bool(read_index(folder)["origin"] == json.loads(json.dumps(origin)))  # JSON makes lists of tuples
    except (TrainingError, KeyError):
        return False


def is_store(folder: Path) -> bool:
    """Whether a folder is a store, also a damaged or unfinished one, and no folder of the user's."""
    try:
        if all(_OWN_FILE.fullmatch(path.name) for path in folder.iterdir()):
            return True
        index = parse_json((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.keys() >= {"format", "pictures"}


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of this one at the end of the block; after an error it is deleted.

    Where a folder `REPLACED` lies beside it, what was there before goes into that, else it is deleted.

    Raises:
        TrainingError: If what was there before is no store.
    """
    part = folder.with_name(f"{folder.name}.part")
    for path in (folder, part):
        if path.exists() and not is_store(path):
            raise TrainingError(f"{path} is no store of a training, which would replace it; name another --out")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        kept = folder.with_name(REPLACED)
        if folder.exists() and kept.is_dir():
            folder.replace(kept / folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_store(folder: Path, pairs: Iterable[tuple[str, CapturedPair]], *, origin: dict[str, Any]) -> int:
    """Write pairs into an empty folder, as a store of the split `train`; returns their number, which may be 0.

    Args:
        folder: The folder, which exists.
        pairs: Pairs with their names; both halves have the same size.
        origin: Plain data that says what they were made from.

    """
    rows: list[StoredPicture] = []
    digest = hashlib.sha256()
    with (folder / "pixels.u8").open("wb") as file:
        for name, pair in pairs:
            for picture, half, is_blurred in ((pair.sharp, "sharp", False), (pair.blurred, "blurred", True)):
                pixels = np.ascontiguousarray(picture).data
                digest.update(pixels)
                rows.append(
                    StoredPicture(
                        name=f"{name}, {half}", split="train", height=picture.shape[0], width=picture.shape[1],
                        offset=file.tell(), is_blurred=is_blurred,
                    )
                )  # fmt: skip
                file.write(pixels)
        num_bytes = file.tell()
    index = {
        "num_bytes": num_bytes,
        "sha256": digest.hexdigest(),
        "pairs": [
            {"blurred": number + 1, "sharp": number, "kernel": "capture", "level": None}
            for number in range(0, len(rows), 2)
        ],
        "pictures": [asdict(row) for row in rows],
        "origin": origin,
    }
    write_index(folder, index)
    return len(rows) // 2


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write the index of a store: plain data, with `num_bytes` of the pixels and `origin`, what it was made from."""
    text = json.dumps(sealed({"format": _FORMAT, **index}), indent=1)
    (folder / "index.json").write_text(text, encoding="utf-8")


def read_contents(folder: Path) -> StoreContents:
    """What a store holds."""
    index = read_index(folder)
    num_sharp = sum(not row["is_blurred"] for row in index["pictures"])
    return StoreContents(num_pictures=num_sharp, num_pairs=len(index["pairs"]), sha256=index["sha256"])


def read_skipped(folder: Path) -> tuple[SkippedPicture, ...]:
    """Which pictures were skipped when a store was built."""
    return tuple(SkippedPicture(**row) for row in read_index(folder).get("skipped", ()))


def skipped_text(skipped: Sequence[SkippedPicture], total: int) -> str:
    """How many of all pictures are skipped, and the first of them by name."""
    named, more = ", ".join(map(str, skipped[:_NAMED])), len(skipped) - _NAMED
    return f"{len(skipped)} of {total} pictures are skipped: {named}" + (f", and {more} more" if more > 0 else "")


def _settle(index: dict[str, Any], folder: Path, sources: Sources, on_warning: Callable[[str], None]) -> None:
    """Warn of skipped pictures, and make sure that both splits still have a picture."""
    skipped = [SkippedPicture(**row) for row in index["skipped"]]
    told = skipped_text(skipped, len(index["pictures"]) + len(skipped))
    stored = {row["name"] for row in index["pictures"] if not row["is_blurred"]}
    try:
        kept = both_splits(folder, [picture for picture in sources.pictures if picture.name in stored])
    except TrainingError as error:
        raise TrainingError(f"{error}; {told}" if skipped else str(error)) from error
    if skipped:
        on_warning(told)
    splits = {picture.name: picture.split for picture in kept}
    for pair in index["pairs"]:
        index["pictures"][pair["blurred"]]["split"] = splits[index["pictures"][pair["sharp"]]["name"]]
    for row in index["pictures"]:
        if not row["is_blurred"]:
            row["split"] = splits[row["name"]]


def _stamps(folder: Path, sources: Sources) -> list[list[object]]:
    """Name, size and time of every file: a store is built again when one changes."""
    stamps: list[list[object]] = []
    for path in [*(picture.path for picture in sources.pictures), *(pair.path for pair in sources.pairs)]:
        try:
            stat = path.stat()
        except OSError as error:
            raise TrainingError(f"{path}: cannot be read ({error.strerror})") from error
        stamps.append([path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns])
    return stamps


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture as it is stored, and the size of the whole one."""

    picture: Picture
    whole_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Decodes pictures into the form in which they are stored."""

    pair_crop_px: int
    min_side_px: int

    def __call__(self, path: Path, sharp_name: str, is_of_pair: bool) -> _Decoded:
        """A picture; of a pair it is cut at a place that both halves share, if they have the same size."""
        if not is_of_pair:
            picture = read_picture(path, self.min_side_px)
            return _Decoded(picture, (picture.shape[0], picture.shape[1]))
        picture = read_picture(path, self.min_side_px, max_short_side_px=None)  # scaling would change the blur
        return _Decoded(self._cut(picture, sharp_name), (picture.shape[0], picture.shape[1]))

    def _cut(self, picture: Picture, sharp_name: str) -> Picture:
        side = self.pair_crop_px
        if not side or min(picture.shape[:2]) <= side:
            return picture
        draw = np.random.default_rng(list(hashlib.sha256(sharp_name.encode()).digest()[:8]))
        y, x = (int(draw.integers(length - side + 1)) for length in picture.shape[:2])
        return picture[y : y + side, x : x + side]


def _write_pixels(
    path: Path, sources: Sources, read: _Reader, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Write every picture, sharp ones first; returns what the index says of them."""
    of_pairs = {pair.sharp_name for pair in sources.pairs}
    jobs = [(p.path, p.name, p.name in of_pairs) for p in sources.pictures]
    jobs += [(p.path, p.sharp_name, True) for p in sources.pairs]
    whole: list[SourcePicture | SourcePair] = [*sources.pictures, *sources.pairs]
    rows: list[StoredPicture] = []
    numbers: dict[str, int] = {}  # number of each stored picture, by its name
    sizes: dict[str, tuple[int, int]] = {}  # of the whole pictures
    skipped: list[SkippedPicture] = []
    splits = {picture.name: picture.split for picture in sources.pictures}
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for done, (job, item, decoded) in enumerate(zip(jobs, whole, _decoded(jobs, read), strict=True), 1):
            _, sharp_name, _ = job
            on_progress(done, len(jobs))
            is_blurred = done > len(sources.pictures)
            if isinstance(decoded, _Unusable) or (is_blurred and sharp_name not in numbers):
                reason = str(decoded) if isinstance(decoded, _Unusable) else f"as is its sharp picture {sharp_name}"
                skipped.append(SkippedPicture(name=item.name, reason=reason))
                continue
            sizes[item.name] = decoded.whole_size
            if is_blurred:
                _check_pair(job[0], decoded.whole_size, sharp_name, sizes[sharp_name])
            height, width = decoded.picture.shape[:2]
            pixels = np.ascontiguousarray(decoded.picture).data
            digest.update(item.name.encode())
            digest.update(pixels)
            numbers[item.name] = len(rows)
            rows.append(
                StoredPicture(
                    name=item.name, split=splits[sharp_name], height=height, width=width, offset=file.tell(),
                    is_blurred=is_blurred,
                )
            )  # fmt: skip
            file.write(pixels)
        num_bytes = file.tell()
    pairs = [
        {"blurred": numbers[p.name], "sharp": numbers[p.sharp_name], "kernel": p.kernel, "level": p.level}
        for p in sources.pairs
        if p.name in numbers and p.sharp_name in numbers
    ]
    return {
        "num_bytes": num_bytes,
        "sha256": digest.hexdigest(),
        "pairs": pairs,
        "skipped": [asdict(one) for one in skipped],
        "pictures": [asdict(row) for row in rows],
    }


def _check_pair(path: Path, size: tuple[int, int], sharp_name: str, sharp_size: tuple[int, int]) -> None:
    """Compare the halves as they were read: once both are cut, they are alike."""
    if sharp_size != size:
        told, of_sharp = (f"{width}x{height}" for height, width in (size, sharp_size))
        raise TrainingError(f"{path}: {told}, but its sharp picture {sharp_name} is {of_sharp}")


def _decoded(jobs: Iterable[tuple[Path, str, bool]], read: _Reader) -> Iterator[_Decoded | _Unusable]:
    """The pictures in order, decoded a few ahead on all cores; one that cannot be used is replaced by the reason."""
    ahead = available_cpus()

    def attempt(path: Path, sharp_name: str, is_of_pair: bool) -> _Decoded | _Unusable:
        try:
            return read(path, sharp_name, is_of_pair)
        except TrainingError as error:
            return _Unusable(str(error).removeprefix(f"{path}: "))

    waiting: deque[Future[_Decoded | _Unusable]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(attempt, *job))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_picture(path: Path, min_side_px: int, *, max_short_side_px: int | None = MAX_SHORT_SIDE_PX) -> Picture:
    """Decode a picture, (height, width, 3) RGB, upright, scaled down if its short side exceeds `max_short_side_px`.

    Raises:
        TrainingError: If it is unreadable, cut off, or smaller than `min_side_px`.
    """
    try:
        opened = open_picture(path)
        if min(opened.height, opened.width) < min_side_px:
            size = f"{opened.width}x{opened.height}"
            raise TrainingError(f"{path}: {size} is too small, crops of {min_side_px} px are cut")
        decoded = rgb_8_bits(opened.still())
    except SourceError as error:
        raise TrainingError(str(error)) from error
    height, width = decoded.shape[:2]
    scale = 1.0 if max_short_side_px is None else max_short_side_px / min(height, width)
    if scale < 1:
        resized = cv2.resize(decoded, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
        return np.asarray(resized, dtype=np.uint8)
    return decoded
