"""A memory-mapped store of sequences: consecutive blurred frames, their sharp truths, and the flow between neighbours.

A store has `pixels.u8` and `index.json` like one of pictures (`pictures.py`). For each sequence it holds the frames,
and then their truths if these are not the frames themselves. `flows.f16` holds, for each frame, the reduced flows to
the frame before and to the one after, (2, h, w, 2) (`models/path_search.py`). The first and the last frame of a
sequence are neighbours only; the inner frames are trained on, or judged by.

A sequence may show a part of a frame. Flow is then searched as if it were done in the whole frame.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import TrainingError
from concertdeblur.models.exposure_share import ExposureSearch
from concertdeblur.models.path_search import Luma, PathSearch, reduced_luma, reduced_size
from concertdeblur.models.path_taps import Flow
from concertdeblur.models.path_taps import Path as MotionPath
from concertdeblur.training.data.pictures import open_pixels, read_index, write_index
from concertdeblur.training.data.sources import Split

Kind = Literal["real", "clips", "sharp", "rendered"]
LEAST_FRAMES = 3  # of a sequence; one of them then has both its neighbours
_FLOWS = "flows.f16"
_REDUCED_SHARE = 0.25  # flow of a frame of 1280x720 is searched at this share of its size


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeSequence:
    """A sequence before it is stored."""

    name: str
    kind: Kind
    split: Split
    scale: float  # 1: as it was filmed; less: a reduced copy
    blurred: list[Picture]
    sharp: list[Picture]  # the same list where the frames are sharp
    field: float | None = None  # as `searched_luma` takes it
    exposures: list[float] | None = None  # of each frame, as a path counts them; None: they are measured


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSequence:
    """Where one sequence lies in the store."""

    name: str
    kind: Kind
    split: Split
    scale: float
    num_frames: int
    height: int
    width: int
    offset: int  # where its frames begin
    sharp_offset: int  # where its truths begin
    flow_offset: int
    flow_height: int
    flow_width: int
    exposures: list[float]  # of each frame, as a path counts them
    field: float | None = None  # as `searched_luma` takes it

    @property
    def inner(self) -> range:
        """The numbers of the frames that have both neighbours."""
        return range(1, self.num_frames - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceContents:
    """What a store of sequences holds, in figures."""

    num_sequences: int
    num_frames: int  # number of frames that can be trained on or judged by
    sha256: str


class SequenceStore:
    """Random access to the sequences of one split, which may be empty; safe to use from several threads."""

    def __init__(self, folder: Path, split: Split) -> None:
        self.folder, self.split = folder, split
        rows = [StoredSequence(**row) for row in read_index(folder)["sequences"]]
        self.sequences = [row for row in rows if row.split == split]
        self._pixels = open_pixels(folder) if self.sequences else np.zeros(0, np.uint8)
        self._flows: npt.NDArray[np.float16] = np.zeros(0, np.float16)
        if self.sequences:
            self._flows = np.memmap(folder / _FLOWS, dtype=np.float16, mode="r")

    def __len__(self) -> int:
        return len(self.sequences)

    def of_kind(self, kind: Kind) -> list[StoredSequence]:
        """The sequences of a kind."""
        return [row for row in self.sequences if row.kind == kind]

    def frame(self, row: StoredSequence, number: int) -> Picture:
        """A frame, (height, width, 3) RGB uint8, a read-only view."""
        return self._picture(row, row.offset, number)

    def sharp(self, row: StoredSequence, number: int) -> Picture:
        """The truth of a frame, a read-only view."""
        return self._picture(row, row.sharp_offset, number)

    def path(self, row: StoredSequence, number: int) -> MotionPath:
        """The path of a frame that lies between two."""
        size = 2 * row.flow_height * row.flow_width * 2
        start = row.flow_offset + number * size
        shape = 2, row.flow_height, row.flow_width, 2
        to_before, to_after = self._flows[start : start + size].reshape(shape).astype(np.float32)
        return MotionPath(to_before=to_before, to_after=to_after, exposure=row.exposures[number])

    def _picture(self, row: StoredSequence, offset: int, number: int) -> Picture:
        size = row.height * row.width * 3
        start = offset + number * size
        return self._pixels[start : start + size].reshape(row.height, row.width, 3)


class SequenceWriter:
    """Writes sequences into an empty folder, one after the other; a context manager, which writes the index.

    Args:
        folder: The folder, which exists.
        origin: Plain data that says what the sequences are made from.
    """

    def __init__(self, folder: Path, origin: dict[str, Any]) -> None:
        self._folder, self._origin = folder, origin
        self._search = PathSearch()
        self._digest = hashlib.sha256()
        self.rows: list[StoredSequence] = []

    def __enter__(self) -> Self:
        self._pixels = (self._folder / "pixels.u8").open("wb")
        self._flows = (self._folder / _FLOWS).open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        num_bytes = self._pixels.tell()
        self._pixels.close()
        self._flows.close()
        if kind is None:
            rows = [asdict(row) for row in self.rows]
            index = {"num_bytes": num_bytes, "sha256": self._digest.hexdigest(), "pictures": [], "pairs": []}
            write_index(self._folder, index | {"sequences": rows, "origin": self._origin})

    def add(self, made: MadeSequence) -> None:
        """Store a sequence of at least `LEAST_FRAMES` frames, all of one size."""
        height, width = made.blurred[0].shape[:2]
        flow_offset = self._flows.tell() // np.dtype(np.float16).itemsize
        flow_size, exposures = self._write_flows(made)
        offset = self._write(made.blurred)
        sharp_offset = offset if made.sharp is made.blurred else self._write(made.sharp)
        self._digest.update(f"{made.kind} {made.name} {made.split}".encode())
        self.rows.append(
            StoredSequence(
                name=made.name, kind=made.kind, split=made.split, scale=made.scale, num_frames=len(made.blurred),
                height=height, width=width, offset=offset, sharp_offset=sharp_offset, flow_offset=flow_offset,
                flow_height=flow_size[0], flow_width=flow_size[1], exposures=exposures, field=made.field,
            )
        )  # fmt: skip

    def _write(self, pictures: Sequence[Picture]) -> int:
        offset = self._pixels.tell()
        for picture in pictures:
            data = np.ascontiguousarray(picture).data
            self._digest.update(data)
            self._pixels.write(data)
        return offset

    def _write_flows(self, made: MadeSequence) -> tuple[tuple[int, int], list[float]]:
        """Write the flows of every frame, which are zero at either end; returns the size of one, and the exposures."""
        height, width = made.blurred[0].shape[:2]
        lumas = [searched_luma(frame, made.field) for frame in made.blurred]
        size = lumas[0].shape[0], lumas[0].shape[1]
        pairs = [self._flows_between(*pair, height, width) for pair in pairwise(lumas)]
        exposure, exposures = ExposureSearch(), []
        for number, frame in enumerate(made.blurred):
            both = np.zeros((2, *size, 2), np.float16)
            if 0 < number < len(lumas) - 1:
                both[0], both[1] = pairs[number - 1][1], pairs[number][0]
            self._flows.write(both.data)
            if made.exposures is None:
                to_before, to_after = both.astype(np.float32)
                exposures.append(exposure.next(frame, MotionPath(to_before=to_before, to_after=to_after)))
        return size, made.exposures or exposures

    def _flows_between(self, first: Luma, second: Luma, height: int, width: int) -> tuple[Flow, Flow]:
        found = self._search.flows(first, second, height, width)
        assert found is not None, "sequences are larger than what a search needs"
        return found


def searched_size(height: int, width: int, field: float | None = None) -> tuple[int, int]:
    """(height, width) at which flow is searched in a frame, or in a part of one, as `searched_luma` takes it."""
    if field is None:
        return reduced_size(height, width)
    factor = min(1.0, _REDUCED_SHARE / field)
    return round(height * factor), round(width * factor)


def searched_luma(pixels: Picture, field: float | None = None) -> Luma:
    """The grey levels in which flow is searched.

    Args:
        pixels: A frame, or a part of one, (height, width, 3) uint8.
        field: How wide the field of view is of the frame that this is a part of (`MovingScene.field`). The part is
            reduced as that frame would be. None: it is a whole frame.
    """
    if field is None:
        return reduced_luma(pixels)
    height, width = searched_size(pixels.shape[0], pixels.shape[1], field)
    if (height, width) != pixels.shape[:2]:
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def read_sequence_contents(folder: Path) -> SequenceContents:
    """What a store of sequences holds.

    Raises:
        TrainingError: If there is none.
    """
    index = read_index(folder)
    try:
        rows = [StoredSequence(**row) for row in index["sequences"]]
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{folder}: not a store of sequences ({error}); delete it") from error
    num_frames = sum(len(row.inner) for row in rows)
    return SequenceContents(num_sequences=len(rows), num_frames=num_frames, sha256=index["sha256"])
