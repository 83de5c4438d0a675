"""Mined windows on disk: a run that was stopped goes on mining, and a resumed stage finds the same windows."""

import contextlib
import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from concertdeblur.training.data.bundles import joined

WindowsT = TypeVar("WindowsT")

MINED_PARTS = "mining"  # folder of the windows that are mined so far
_SAVE_EVERY_S = 30.0
_PART = re.compile(r"\d{7}-\d{7}\.(safetensors|part)")


def save_windows(path: Path, windows: Any, origin: dict[str, Any]) -> None:
    """Write a dataclass of tensors, atomically, with their origin: plain data that says how they were mined."""
    tensors = {field.name: getattr(windows, field.name).contiguous() for field in dataclasses.fields(windows)}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"origin": json.dumps(origin, sort_keys=True)})
    part.replace(path)


def load_windows(path: Path, kind: type[WindowsT], origin: dict[str, Any]) -> WindowsT | None:
    """Read what `save_windows` wrote; None if there is no such file, or its windows have another origin."""
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata()["origin"] != json.dumps(origin, sort_keys=True):
                return None
            return kind(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError):
        return None


def delete_parts(folder: Path) -> None:
    """Delete the parts of mined windows in a folder, and the folder if nothing else is there."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _PART.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


class MinedParts(Generic[WindowsT]):
    """Windows that are mined step by step and saved in parts, so that mining goes on where it was stopped.

    Args:
        folder: The folder of the parts; they are deleted when all windows are mined.
        kind: A dataclass of tensors, whose first dimension counts windows.
        origin: Plain data that says how windows are mined; parts of another origin are deleted.
    """

    def __init__(self, folder: Path, kind: type[WindowsT], origin: dict[str, Any]) -> None:
        self._folder, self._kind, self._origin = folder, kind, origin
        self._saved_s = time.monotonic()
        self._unsaved: list[WindowsT] = []
        self._saved: list[WindowsT] = []
        self._first = 0  # the step of the first unsaved windows
        while (part := load_windows(self._path(self._first), kind, self._of(self._first))) is not None:
            self._saved.append(part)
            self._first = int(self._path(self._first).stem.split("-")[1])
        if not self._saved:
            delete_parts(folder)

    @property
    def step(self) -> int:
        """The next step."""
        return self._first + len(self._unsaved)

    def add(self, windows: WindowsT) -> None:
        """Take the windows of the next step; they are saved after some time."""
        self._unsaved.append(windows)
        if time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the unsaved windows as one more part, atomically."""
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
        """Delete the parts."""
        delete_parts(self._folder)

    def _path(self, first: int) -> Path:
        """The part that begins with a step."""
        return next(self._folder.glob(f"{first:07d}-*.safetensors"), self._folder / "none")

    def _of(self, first: int) -> dict[str, Any]:
        return self._origin | {"first_step": first}
