"""Real pairs as sequences: consecutive frames of a camera, each with its sharp truth.

They are laid out in one of two ways: clips `NAME_blurred.EXT` beside `NAME_sharp.EXT`; or folders of frames as in GOPRO
(`blur` beside `sharp` in each sequence) and REDS (`train_blur` beside `train_sharp`, with a folder for each sequence).
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.errors import SourceError
from concertdeblur.frame import Frame, Pixels
from concertdeblur.media.backends import open_reader
from concertdeblur.media.clip_folder import clips_in
from concertdeblur.media.reader import ReaderOptions

Picture: TypeAlias = npt.NDArray[np.uint8]

_PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_BLURRED, _SHARP = "_blurred", "_sharp"
_NUMBER = re.compile(r"\d+")
_WANTED = (
    "clips NAME_blurred.EXT and NAME_sharp.EXT, or folders of frames as GOPRO (blur and sharp in each sequence)"
    " or REDS (train_blur and train_sharp) have them"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FramePair:
    """A frame as the camera blurred it, with its time stamp, and its sharp truth."""

    blurred: Frame  # with RGB pixels, of the source's depth
    sharp: Picture  # (height, width, 3) RGB

    def blurred_picture(self) -> Picture:
        """The blurred pixels as 8 bits."""
        assert self.blurred.pixels is not None
        return as_8_bits(self.blurred.pixels)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSequence:
    """A pair of clips."""

    name: str
    blurred: Path
    sharp: Path

    @property
    def folders(self) -> tuple[str, ...]:
        """The names that say what it belongs to: the folders below the one that was searched, and its own."""
        return Path(self.name).parts

    def frames(self, most: int | None = None) -> Iterator[FramePair]:
        """The first `most` frames, in order; each is decoded when it is taken.

        Raises:
            SourceError: If a clip cannot be read, or the two differ in size or number of frames.
            UnsupportedStreamError: If a clip cannot be decoded by us.
        """
        with ExitStack() as stack:
            readers = [stack.enter_context(open_reader(path, ReaderOptions())) for path in (self.blurred, self.sharp)]
            for number, (blurred, sharp) in enumerate(zip_longest(*(reader.frames() for reader in readers))):
                if number == most:
                    return
                if blurred is None or sharp is None:
                    shorter = self.blurred if blurred is None else self.sharp
                    raise SourceError(f"{shorter}: ends after {number} frames, before the clip it belongs to")
                assert sharp.pixels is not None
                yield _checked(FramePair(blurred=blurred, sharp=as_8_bits(sharp.pixels)), self.blurred, self.sharp)

    def blurred_frames(self, most: int | None = None) -> Iterator[Frame]:
        """The blurred half alone, as `frames`."""
        with open_reader(self.blurred, ReaderOptions()) as reader:
            yield from islice(reader.frames(), most)


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSequence:
    """Consecutive frames as pictures; their time stamps count from 0."""

    name: str
    folders: tuple[str, ...]  # as of a clip; a run of frames of a folder has that folder's names
    paths: tuple[tuple[Path, Path], ...]  # blurred, sharp

    def frames(self, most: int | None = None) -> Iterator[FramePair]:
        """As `ClipSequence.frames`; frames of different sizes are a SourceError, too."""
        for (_, sharp), frame in zip(self.paths, self.blurred_frames(most), strict=False):
            blurred = self.paths[frame.pts][0]
            yield _checked(FramePair(blurred=frame, sharp=_read(sharp)), blurred, sharp)

    def blurred_frames(self, most: int | None = None) -> Iterator[Frame]:
        """The blurred half alone, as `frames`."""
        first: tuple[Path, str] | None = None
        for number, (blurred, _) in enumerate(islice(self.paths, most)):
            pixels = _read(blurred)
            first = first or (blurred, _size(pixels))
            if _size(pixels) != first[1]:
                raise SourceError(
                    f"{blurred}: is {_size(pixels)}, but {first[0]}, with which its sequence begins, is {first[1]};"
                    " keep frames of one size in a folder"
                )
            yield Frame(pts=number, pixels=pixels)


Sequence: TypeAlias = ClipSequence | FolderSequence


def find_sequences(folder: Path) -> list[Sequence]:
    """The sequences in a folder and its sub-folders, by name.

    Frames of a folder are consecutive if their numbers are. Where a number is left out, a new sequence begins. Hidden
    files and folders are passed over.

    Raises:
        SourceError: If the folder is missing, holds no sequence, or a clip or frame has no sharp one.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise SourceError(f"{folder}: {what}; name a folder of {_WANTED}")
    found: list[Sequence] = [*_clips(folder), *_folders(folder)]
    if not found:
        raise SourceError(f"{folder}: no real pairs found; name a folder of {_WANTED}")
    return sorted(found, key=lambda sequence: sequence.name)


def as_8_bits(pixels: Pixels) -> Picture:
    """Pixels of any depth, rounded to 8 bits."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    scale = np.float32(255 if pixels.dtype == np.float32 else 255 / 65535)
    return np.asarray(np.clip(np.rint(pixels.astype(np.float32) * scale), 0, 255), dtype=np.uint8)


def _clips(folder: Path) -> Iterator[ClipSequence]:
    files = clips_in(folder, recursive=True)
    sharp = {path.with_suffix(""): path for path in files if path.stem.endswith(_SHARP)}
    for path in files:
        if not path.stem.endswith(_BLURRED):
            continue
        stem = path.stem.removesuffix(_BLURRED)
        beside = path.with_name(stem + _SHARP + path.suffix)
        partner = beside if beside.is_file() else sharp.get(beside.with_suffix(""))
        if partner is None:
            raise SourceError(f"{path}: has no sharp clip beside it; {beside.name} is missing")
        name = path.with_name(stem).relative_to(folder).as_posix()
        yield ClipSequence(name=name, blurred=path, sharp=partner)


def _folders(folder: Path) -> Iterator[FolderSequence]:
    for blurred in _folders_in(folder):
        if blurred.name != "blur" and not blurred.name.endswith("_blur"):
            continue
        sharp = blurred.with_name(blurred.name.removesuffix("blur") + "sharp")
        if not sharp.is_dir():
            raise SourceError(f"{blurred}: has no folder of sharp frames beside it; {sharp.name} is missing")
        for frames in _folders_in(blurred):
            yield from _runs(frames, sharp / frames.relative_to(blurred), folder)


def _folders_in(folder: Path) -> list[Path]:
    """A folder and its sub-folders, sorted; hidden ones are passed over."""
    below = (path for path in folder.rglob("*") if path.is_dir())
    return sorted([folder, *(path for path in below if not _is_hidden(path.relative_to(folder)))])


def _is_hidden(path: Path) -> bool:
    """Whether a file or a folder above it is hidden, like the file `._0001.png` that a Mac leaves on a stick."""
    return any(part.startswith(".") for part in path.parts)


def _runs(blurred: Path, sharp: Path, root: Path) -> Iterator[FolderSequence]:
    """The runs of consecutive frames of one folder."""
    pictures = (path for path in blurred.iterdir() if path.suffix.lower() in _PICTURE_SUFFIXES)
    paths = sorted((path for path in pictures if not _is_hidden(Path(path.name))), key=_order)
    for path in paths:
        if not (sharp / path.name).is_file():
            raise SourceError(f"{path}: has no sharp frame; {sharp / path.name} is missing")
    place = (blurred.parent if blurred.name == "blur" and blurred != root else blurred).relative_to(root)
    name = place.as_posix() if place.parts else root.resolve().name
    for run in _consecutive(paths):
        is_whole = len(run) == len(paths)
        yield FolderSequence(
            name=name if is_whole else f"{name} from {run[0].stem}",
            folders=place.parts,
            paths=tuple((path, sharp / path.name) for path in run),
        )


def _consecutive(paths: list[Path]) -> list[list[Path]]:
    numbers = [_last_number(path) for path in paths]
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0] if steps else 0
    runs: list[list[Path]] = [[paths[0]]] if paths else []
    for path, step in zip(paths[1:], steps, strict=True):
        if step != usual:
            runs.append([])
        runs[-1].append(path)
    return runs


def _order(path: Path) -> tuple[int, str]:
    return _last_number(path), path.name


def _last_number(path: Path) -> int:
    found = _NUMBER.findall(path.stem)
    return int(found[-1]) if found else 0


def _read(path: Path) -> Picture:
    decoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if decoded is None:
        raise SourceError(f"{path}: not a picture that can be read")
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def _checked(pair: FramePair, blurred: Path, sharp: Path) -> FramePair:
    assert pair.blurred.pixels is not None
    sizes = [_size(pixels) for pixels in (pair.blurred.pixels, pair.sharp)]
    if sizes[0] != sizes[1]:
        raise SourceError(f"{blurred}: is {sizes[0]}, but its sharp one {sharp} is {sizes[1]}")
    return pair


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
