"""Pairs of a blurred and a sharp picture, from the store: what build-dataset, GOPRO and REDS give."""

from dataclasses import dataclass
from pathlib import Path

from concertdeblur.blur.kernels import Picture
from concertdeblur.training.pictures import StoredPicture, open_pixels, read_index, view
from concertdeblur.training.sources import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPair:
    """The two pictures of a pair, and what blurred it where that is known."""

    blurred: StoredPicture
    sharp: StoredPicture
    kernel: str | None
    level: float | None


class PairStore:
    """Random access to the pairs of one split, which may be none; safe to use from several threads."""

    def __init__(self, folder: Path, split: Split) -> None:
        index = read_index(folder)
        rows = [StoredPicture(**row) for row in index["pictures"]]
        pairs = [
            StoredPair(blurred=rows[p["blurred"]], sharp=rows[p["sharp"]], kernel=p["kernel"], level=p["level"])
            for p in index["pairs"]
        ]
        self.pairs = [pair for pair in pairs if pair.sharp.split == split]
        self._pixels = open_pixels(folder)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, number: int) -> tuple[Picture, Picture]:
        """Pair `number`: blurred and sharp, both (height, width, 3) RGB uint8, read-only views."""
        pair = self.pairs[number]
        return view(self._pixels, pair.blurred), view(self._pixels, pair.sharp)
