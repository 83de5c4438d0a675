"""Mined windows on disk: mining is done once, in pieces if it is stopped, and a stage that goes on finds the same."""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from concertdeblur.training.data.bundles import joined

WindowsT = TypeVar("WindowsT")

MINED_PARTS = "mining"  # folder of what was mined so far
_SAVE_EVERY_S = 30.0


def save_windows(path: Path, windows: Any, origin: dict[str, Any]) -> None:
    """Write a dataclass of tensors, atomically, with plain data on what they were mined with."""
    tensors = {field.name: getattr(windows, field.name).contiguous() for field in dataclasses.fields(windows)}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"origin": json.dumps(origin, sort_keys=True)})
    part.replace(path)


def load_windows(path: Path, kind: type[WindowsT], origin: dict[str, Any]) -> WindowsT | None:
    """Read what `save_windows` wrote; None if there is nothing, or it was mined with something else."""
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata()["origin"] != json.dumps(origin, sort_keys=True):
                return None
            return kind(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError):
        return None


class MinedParts(Generic[WindowsT]):
    """Windows mined step by step, kept in parts, so that mining goes on where it was stopped.

    Args:
        folder: Of the parts; removed when all is mined.
        kind: Dataclass of tensors, the windows along their first dimension.
        origin: Plain data on what they are mined with; parts of another origin are thrown away.
    """

    def __init__(self, folder: Path, kind: type[WindowsT], origin: dict[str, Any]) -> None:
        self._folder, self._kind, self._origin = folder, kind, origin
        self._saved_s = time.monotonic()
        self._unsaved: list[WindowsT] = []
        self._saved: list[WindowsT] = []
        self._first = 0  # step of the first unsaved ones
        while (part := load_windows(self._path(self._first), kind, self._of(self._first))) is not None:
            self._saved.append(part)
            self._first = int(self._path(self._first).stem.split("-")[1])
        if not self._saved:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def step(self) -> int:
        """The next step."""
        return self._first + len(self._unsaved)

    def add(self, windows: WindowsT) -> None:
        """Take the windows of the next step; saved now and then."""
        self._unsaved.append(windows)
        if time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write what is not written yet, atomically."""
        if self._unsaved:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = joined(self._kind, self._unsaved)
            path = self._folder / f"{self._first:07d}-{self.step:07d}.safetensors"
            save_windows(path, part, self._of(self._first))
            self._first, self._unsaved = self.step, []
            self._saved.append(part)
        self._saved_s = time.monotonic()

    def joined(self) -> WindowsT:
        """All windows of all steps."""
        return joined(self._kind, [*self._saved, *self._unsaved])

    def remove(self) -> None:
        """Throw the parts away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, first: int) -> Path:
        """The part that begins with a step."""
        return next(self._folder.glob(f"{first:07d}-*.safetensors"), self._folder / "none")

    def _of(self, first: int) -> dict[str, Any]:
        return self._origin | {"first_step": first}
