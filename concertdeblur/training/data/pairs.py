"""Pairs of a blurred and a sharp picture in the store, from data of build-dataset, GOPRO or REDS."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from concertdeblur.blur.kernels import Picture
from concertdeblur.training.data.pictures import StoredPicture, open_pixels, read_index, view
from concertdeblur.training.data.sources import Split


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPair:
    """The two pictures of a pair, and the kind of its blur if that is known."""

    blurred: StoredPicture
    sharp: StoredPicture
    kernel: str | None
    level: float | None

    @property
    def shorter_side_px(self) -> int:
        """The shorter side of both pictures."""
        return min(self.sharp.height, self.sharp.width)


class PairStore:
    """Random access to the pairs of one split, which may be empty; safe to use from several threads."""

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

    def pair(self, number: int) -> StoredPair:
        """Which pictures are pair `number`."""
        return self.pairs[number]

    def read(self, number: int) -> tuple[Picture, Picture]:
        """Pair `number`: blurred and sharp, both (height, width, 3) RGB uint8, read-only views."""
        pair = self.pair(number)
        return view(self._pixels, pair.blurred), view(self._pixels, pair.sharp)

    def read_cut(self, number: int, rng: np.random.Generator, side_px: int) -> tuple[Picture, Picture]:
        """A square of pair `number` at a random place, mirrored and turned at random, both halves alike."""
        pair = self.pair(number).sharp
        y, x = int(rng.integers(pair.height - side_px + 1)), int(rng.integers(pair.width - side_px + 1))
        is_mirrored, is_turned = rng.random(2) < 0.5

        def cut(picture: Picture) -> Picture:
            part = picture[y : y + side_px, x : x + side_px]
            part = part[:, ::-1] if is_mirrored else part
            return np.ascontiguousarray(part.transpose(1, 0, 2) if is_turned else part)

        blurred, sharp = self.read(number)
        return cut(blurred), cut(sharp)
