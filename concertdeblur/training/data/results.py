"""Results of networks for the inner frames of stored sequences: they are made once, and then read at random.

They lie in a file beside the sequences, with a note of the network that made them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from concertdeblur.settings import parse_json
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence, read_sequence_contents

Scalar = TypeVar("Scalar", bound=np.generic)
Values = npt.NDArray[Scalar]


class FrameResults(Generic[Scalar]):
    """An array for each inner frame of a store's sequences, memory-mapped; safe to use from several threads.

    Args:
        store: The sequences of one split.
        name: Name of the results' file.
        dtype: Type of the arrays.
        shape_of: Gives the shape of a frame's array, by its sequence.
    """

    def __init__(
        self,
        store: SequenceStore,
        name: str,
        dtype: type[Scalar],
        shape_of: Callable[[StoredSequence], tuple[int, ...]],
    ) -> None:
        self._store, self._dtype, self._shape_of = store, dtype, shape_of
        self._path = store.folder / f"{store.split}-{name}"
        self._note = store.folder / f"{store.split}-{name}.json"
        self._places: dict[int, int] = {}  # where the results of a sequence begin, by the place of its frames
        self._num_values = 0
        for row in store.sequences:
            self._places[row.offset] = self._num_values
            self._num_values += len(row.inner) * int(np.prod(shape_of(row)))
        self._values: Values[Scalar] | None = None

    def make(
        self,
        make: Callable[[StoredSequence, int], npt.NDArray[Any]],
        *,
        made_with: str,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """Make the arrays, unless those of the same network are there.

        Args:
            make: Makes the array of a frame.
            made_with: Names the network and its inputs.
            on_progress: Called with (frames done, frames in all); may raise to stop.
        """
        origin = {"made_with": made_with, "sequences": read_sequence_contents(self._store.folder).sha256}
        if self._is_of(origin):
            return
        self._note.unlink(missing_ok=True)
        part = self._path.with_name(f"{self._path.name}.part")
        frames = [(row, number) for row in self._store.sequences for number in row.inner]
        try:
            with part.open("wb") as file:
                for done, (row, number) in enumerate(frames):
                    on_progress(done, len(frames))
                    made = np.ascontiguousarray(make(row, number), dtype=self._dtype)
                    assert made.shape == self._shape_of(row)
                    file.write(made.data)
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)
        self._note.write_text(json.dumps(origin) + "\n", encoding="utf-8")
        on_progress(len(frames), len(frames))

    def read(self, row: StoredSequence, number: int) -> Values[Scalar]:
        """The array of a frame, as a read-only view."""
        if self._values is None:
            self._values = np.memmap(self._path, dtype=self._dtype, mode="r")
        shape = self._shape_of(row)
        size = int(np.prod(shape))
        start = self._places[row.offset] + (number - row.inner.start) * size
        return self._values[start : start + size].reshape(shape)

    def _is_of(self, origin: dict[str, str]) -> bool:
        num_bytes = self._num_values * np.dtype(self._dtype).itemsize
        if not self._note.is_file() or not _has_size(self._path, num_bytes):
            return False
        return bool(parse_json(self._note.read_text(encoding="utf-8")) == origin)


def _has_size(path: Path, num_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == num_bytes
