"""The pictures of a data folder: sharp ones, or pairs as `build-dataset`, GOPRO or REDS lay them out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from concertdeblur.errors import TrainingError
from concertdeblur.pictures.formats import READ_SUFFIXES
from concertdeblur.settings import parse_json

Split = Literal["train", "held_out"]
T = TypeVar("T")
_SUFFIXES = READ_SUFFIXES - {".gif"}  # a GIF has 256 colours only
_HELD_OUT_SHARE = 10  # one picture in ten is held out, by the hash of its name: more pictures change nothing
_SPLITS: dict[str, Split] = {"train": "train", "test": "held_out", "val": "held_out"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Which pictures of a data folder are used."""

    left_out: tuple[str, ...] = ()  # names, without suffix, of pictures that are not used at all
    pair_crop_px: int = 0  # pairs are cut to a square of this side, placed by their name; 0: they stay whole
    max_pairs: int = 0  # most pairs of the training split, evenly chosen; 0: all
    max_held_out: int = 32  # pictures to judge by while training, evenly chosen

    def __post_init__(self) -> None:
        if self.max_held_out < 1 or self.max_pairs < 0 or self.pair_crop_px < 0:
            raise ValueError("max_held_out must be 1 at least; max_pairs and pair_crop_px must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePicture:
    """A sharp picture."""

    path: Path
    name: str
    split: Split


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePair:
    """A blurred picture and the name of its sharp one."""

    path: Path
    name: str
    sharp_name: str
    kernel: str | None = None  # the kind of its blur, if that is known
    level: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The pictures of a data folder; every pair's sharp picture is among `pictures`."""

    pictures: tuple[SourcePicture, ...]
    pairs: tuple[SourcePair, ...] = ()


def find_sources(folder: Path, settings: DataSettings) -> Sources:
    """List a data folder, of whatever layout it is.

    Raises:
        TrainingError: If it is missing, holds no picture, or a pair is not complete.
    """
    found = list_sources(folder)
    pictures = [p for p in found.pictures if not _is_left_out(p.name, settings.left_out)]
    if not pictures:
        hint = "every picture is left out by the recipe" if found.pictures else "no pictures found"
        raise TrainingError(f"{folder}: {hint}; name a folder of sharp pictures, or one that build-dataset made")
    return _thinned(Sources(pictures=both_splits(folder, pictures), pairs=found.pairs), settings)


def list_sources(folder: Path) -> Sources:
    """All pictures of a data folder of any layout; there may be none.

    Raises:
        TrainingError: If the folder is missing, or a pair is not complete.
    """
    if folder.is_file():
        raise TrainingError(f"{folder} is a file; name a folder of sharp pictures, or one that build-dataset made")
    if not folder.is_dir():
        raise TrainingError(
            f"no data at {folder}: make it with 'concertdeblur build-dataset', or name a folder of sharp pictures"
        )
    return _built(folder) or _folder_pairs(folder) or _plain(folder)


def split_of(name: str) -> Split:
    """The split of a picture if its folder does not say it; it depends on the name only."""
    return "held_out" if _digest(name)[0] % _HELD_OUT_SHARE == 0 else "train"


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _is_left_out(name: str, left_out: tuple[str, ...]) -> bool:
    return Path(name).name in left_out or Path(name).stem in left_out


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return sorted(path for path in found if not _is_hidden(path.relative_to(folder)) and path.is_file())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _plain(folder: Path) -> Sources:
    pictures = (
        SourcePicture(path=path, name=path.relative_to(folder).as_posix(), split=split_of(path.name))
        for path in _files(folder)
    )
    return Sources(pictures=tuple(pictures))


def _built(folder: Path) -> Sources | None:
    """The layout of `build-dataset`: a metadata.jsonl in each of `train` and `test`."""
    lists = [path for name in ("train", "test") if (path := folder / name / "metadata.jsonl").is_file()]
    if not lists:
        return None
    pictures: dict[str, SourcePicture] = {}
    pairs: list[SourcePair] = []
    for path in lists:
        split = _SPLITS[path.parent.name]
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
                blurred, sharp = path.parent / row["file_name"], path.parent / row["sharp_file_name"]
            except (ValueError, KeyError, TypeError) as error:
                where = f"{path}, line {number}"
                raise TrainingError(f"{where}: not a pair as build-dataset writes it ({error})") from error
            sharp_name = sharp.relative_to(folder).as_posix()
            pictures[sharp_name] = SourcePicture(path=sharp, name=sharp_name, split=split)
            pairs.append(
                SourcePair(
                    path=blurred, name=blurred.relative_to(folder).as_posix(), sharp_name=sharp_name,
                    kernel=row.get("kernel"), level=row.get("level"),
                )
            )  # fmt: skip
    return Sources(pictures=tuple(pictures.values()), pairs=tuple(pairs))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: not a list as build-dataset writes it ({error})") from error


def _folder_pairs(folder: Path) -> Sources | None:
    """The pairs of GOPRO (`blur` beside `sharp`) and REDS (`train_blur` beside `train_sharp`), without `blur_gamma`."""
    pictures: dict[str, SourcePicture] = {}
    pairs: list[SourcePair] = []
    for blurred_folder in sorted(path for path in (folder, *folder.rglob("*")) if path.is_dir()):
        if blurred_folder.name != "blur" and not blurred_folder.name.endswith("_blur"):
            continue
        sharp_folder = blurred_folder.with_name(blurred_folder.name.removesuffix("blur") + "sharp")
        files = _files(blurred_folder)
        if files and blurred_folder == folder:
            raise TrainingError(
                f"{folder}: by its name it holds blurred pictures; name the folder above it, which has sharp ones, too"
            )
        if files and not sharp_folder.is_dir():
            raise TrainingError(
                f"{blurred_folder}: has no folder of sharp pictures beside it; {sharp_folder.name} is missing"
            )
        for path in files:
            sharp = sharp_folder / path.relative_to(blurred_folder)
            if not sharp.is_file():
                raise TrainingError(f"{path} has no sharp picture: {sharp} is missing")
            name = sharp.relative_to(folder).as_posix()
            pictures[name] = SourcePicture(path=sharp, name=name, split=_folder_split(sharp, folder))
            pairs.append(SourcePair(path=path, name=path.relative_to(folder).as_posix(), sharp_name=name))
    return Sources(pictures=tuple(pictures.values()), pairs=tuple(pairs)) if pairs else None


def _folder_split(path: Path, root: Path) -> Split:
    """The split by the folder's name if that says train, test or val; else by the sequence, whose frames look alike."""
    sequence = path.parent.relative_to(root)
    for part in sequence.parts:
        named = _SPLITS.get(part.split("_")[0])
        if named == "held_out":
            return named
    is_named = any(part.split("_")[0] == "train" for part in sequence.parts) and _has_held_out(root)
    return "train" if is_named else split_of(sequence.as_posix())


def _has_held_out(root: Path) -> bool:
    return any(path.is_dir() and path.name.split("_")[0] in ("test", "val") for path in root.iterdir())


def both_splits(folder: Path, pictures: list[SourcePicture]) -> tuple[SourcePicture, ...]:
    """Make sure that both splits have a picture: if there are few, chance may put all into one.

    Raises:
        TrainingError: If there are fewer than two pictures.
    """
    if len(pictures) < 2:
        number = "one picture is" if pictures else "no picture is"
        raise TrainingError(f"{folder}: {number} not enough; training needs another one to judge by")
    given = {p.split for p in pictures}
    if len(given) == 2:
        return tuple(pictures)
    missing: Split = "train" if "held_out" in given else "held_out"
    moved = min(pictures, key=lambda p: _digest(p.name))
    return tuple(p if p is not moved else _with_split(p, missing) for p in pictures)


def _with_split(picture: SourcePicture, split: Split) -> SourcePicture:
    return SourcePicture(path=picture.path, name=picture.name, split=split)


def _thinned(sources: Sources, settings: DataSettings) -> Sources:
    """As many pictures as the recipe wants, evenly chosen, and the pairs whose sharp picture is kept."""
    held_out = evenly_chosen([p for p in sources.pictures if p.split == "held_out"], settings.max_held_out)
    train = [p for p in sources.pictures if p.split == "train"]
    train_names = {p.name for p in train}
    train_pairs = [pair for pair in sources.pairs if pair.sharp_name in train_names]
    if settings.max_pairs and len(train_pairs) > settings.max_pairs:
        train_pairs = evenly_chosen(train_pairs, settings.max_pairs)
        used = {pair.sharp_name for pair in train_pairs}
        train = [p for p in train if p.name in used]
    judged = {p.name for p in held_out}
    pairs = (*train_pairs, *(pair for pair in sources.pairs if pair.sharp_name in judged))
    return Sources(pictures=(*train, *held_out), pairs=pairs)


def evenly_chosen(items: list[T], count: int) -> list[T]:
    """At most so many of the items, evenly chosen."""
    return items if len(items) <= count else [items[i * len(items) // count] for i in range(count)]
