"""Results of networks for the inner frames of stored sequences: they are made once, and then read at random.

They lie in a file beside the sequences, with a note of the network that made them.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from concertdeblur.errors import Interrupted
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
        self._part = self._path.with_name(f"{self._path.name}.part")  # what is made, or was when it was interrupted
        self._part_note = self._part.with_name(f"{self._part.name}.json")
        self._itemsize = np.dtype(dtype).itemsize
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
        """Make the arrays, unless those of the same network are there; what was interrupted goes on.

        Args:
            make: Makes the array of a frame, which depends on nothing but the frame.
            made_with: Names the network and its inputs.
            on_progress: Called with (frames done, frames in all); may raise `Interrupted` to stop.
        """
        origin = {"made_with": made_with, "sequences": read_sequence_contents(self._store.folder).sha256}
        if _read_note(self._note) == origin and _has_size(self._path, self._num_values * self._itemsize):
            return
        self._note.unlink(missing_ok=True)
        frames = [(row, number) for row in self._store.sequences for number in row.inner]
        num_kept = self._num_kept(origin, frames)
        self._part_note.unlink(missing_ok=True)
        num_done, is_kept = num_kept, False
        try:
            with self._part.open("ab" if num_kept else "wb") as file:
                try:
                    for row, number in frames[num_kept:]:
                        on_progress(num_done, len(frames))
                        made = np.ascontiguousarray(make(row, number), dtype=self._dtype)
                        assert made.shape == self._shape_of(row)
                        file.write(made.data)
                        num_done += 1
                except Interrupted:
                    file.flush()
                    os.fsync(file.fileno())
                    is_kept = True
                    raise
            self._part.replace(self._path)
        finally:
            if is_kept:
                _write_note(self._part_note, {**origin, "num_frames": num_done})
            else:
                self._part.unlink(missing_ok=True)
        _write_note(self._note, origin)
        on_progress(len(frames), len(frames))

    def read(self, row: StoredSequence, number: int) -> Values[Scalar]:
        """The array of a frame, as a read-only view."""
        if self._values is None:
            self._values = np.memmap(self._path, dtype=self._dtype, mode="r")
        shape = self._shape_of(row)
        size = int(np.prod(shape))
        start = self._places[row.offset] + (number - row.inner.start) * size
        return self._values[start : start + size].reshape(shape)

    def _num_kept(self, origin: dict[str, Any], frames: list[tuple[StoredSequence, int]]) -> int:
        """How many frames an interrupted call has left that were made alike."""
        note = _read_note(self._part_note)
        num_frames = note.get("num_frames") if note is not None else None
        if not isinstance(num_frames, int) or note != {**origin, "num_frames": num_frames}:
            return 0
        num_values = sum(int(np.prod(self._shape_of(row))) for row, _ in frames[:num_frames])
        return num_frames if _has_size(self._part, num_values * self._itemsize) else 0


def _read_note(path: Path) -> dict[str, Any] | None:
    """A note, or None if it is missing or damaged."""
    try:
        note = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _write_note(path: Path, note: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(note) + "\n", encoding="utf-8")
    part.replace(path)


def _has_size(path: Path, num_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == num_bytes
