"""A memory-mapped store of sharp training pictures: decoded once, read at random.

Layout of a store: `pixels.u8`, all pictures one after another (RGB, row by row), and `index.json`
with name, height, width and offset of each.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import TrainingError

Split = Literal["train", "held_out"]
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
_HELD_OUT_SHARE = 10  # one picture in ten, chosen by the hash of its name: stable when pictures are added
MAX_SHORT_SIDE_PX = 1024  # larger photographs are soft at pixel level; scaled down they are sharp


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPicture:
    """Where one picture lies in the store."""

    name: str
    height: int
    width: int
    offset: int


class PictureStore:
    """Random access to the pictures of one split; safe to use from several threads."""

    def __init__(self, folder: Path, split: Split) -> None:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.pictures = [StoredPicture(**row) for row in index["pictures"] if split_of(row["name"]) == split]
        if not self.pictures:
            raise TrainingError(f"{folder}: no picture in the split '{split}'; add pictures")
        self._pixels = np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, number: int) -> Picture:
        """Picture `number`, (height, width, 3) RGB uint8, a read-only view."""
        row = self.pictures[number]
        size = row.height * row.width * 3
        return self._pixels[row.offset : row.offset + size].reshape(row.height, row.width, 3)


def split_of(name: str) -> Split:
    """The split a picture belongs to, a pure function of its file name."""
    digest = hashlib.sha256(name.encode()).digest()
    return "held_out" if digest[0] % _HELD_OUT_SHARE == 0 else "train"


def build_store(
    source: Path,
    folder: Path,
    *,
    min_side_px: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Decode every picture under `source` into a store at `folder`, unless one of the same files is there.

    Args:
        source: Folder of sharp pictures, searched with its subfolders.
        folder: Where the store goes.
        min_side_px: Smaller pictures are an error, since crops of this size are cut.
        on_progress: Called with (pictures done, pictures in all).

    Raises:
        TrainingError: If the folder is missing or empty, or a picture is unreadable or too small.

    """
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise TrainingError(f"{source}: no pictures found; name a folder of sharp pictures")
    sources = [[str(path.relative_to(source)), path.stat().st_size] for path in files]
    if _is_current(folder, sources):
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    offset = 0
    with (folder / "pixels.u8.part").open("wb") as file:
        for done, path in enumerate(files):
            picture = read_picture(path, min_side_px)
            height, width = picture.shape[:2]
            rows.append({"name": path.name, "height": height, "width": width, "offset": offset})
            file.write(picture.tobytes())
            offset += picture.nbytes
            on_progress(done + 1, len(files))
    (folder / "pixels.u8.part").replace(folder / "pixels.u8")
    (folder / "index.json").write_text(json.dumps({"sources": sources, "pictures": rows}, indent=1), encoding="utf-8")


def store_digest(folder: Path) -> dict[str, object]:
    """What a store was built from: number of pictures, and a hash over their names and sizes."""
    index = (folder / "index.json").read_text(encoding="utf-8")
    return {"num_pictures": len(json.loads(index)["pictures"]), "sha256": hashlib.sha256(index.encode()).hexdigest()}


def _is_current(folder: Path, sources: list[list[object]]) -> bool:
    try:
        return bool(json.loads((folder / "index.json").read_text(encoding="utf-8"))["sources"] == sources)
    except (OSError, ValueError, KeyError):
        return False


def read_picture(path: Path, min_side_px: int) -> Picture:
    """Decode a picture, (height, width, 3) RGB, scaled down if its short side exceeds MAX_SHORT_SIDE_PX.

    Raises:
        TrainingError: If it is unreadable or smaller than `min_side_px`.
    """
    decoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if decoded is None:
        raise TrainingError(f"{path}: cannot be read as a picture")
    height, width = decoded.shape[:2]
    if min(height, width) < min_side_px:
        raise TrainingError(f"{path}: {width}x{height} is too small, crops of {min_side_px} px are cut")
    scale = MAX_SHORT_SIDE_PX / min(height, width)
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        decoded = cv2.resize(decoded, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
