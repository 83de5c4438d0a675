"""Files on their way between the driver's machine and the workers: on a shared folder, or through the object store.

What goes through the store goes in pieces, so a small one is enough however large the file.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from concertdeblur.cluster.worker import WorkerState
from concertdeblur.errors import SourceError, TargetError

PIECE_BYTES = 4 * 2**20


class File(Protocol):
    """A file of the driver that workers read."""

    def local(self, worker: WorkerState) -> Path:
        """Where the worker finds it."""


class Folder(Protocol):
    """A folder of the driver that workers write to."""

    def take(self, path: Path, name: str) -> None:
        """Move a worker's file there, under a name; it is on the disk then, or nothing of that name is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedFile:
    """One that every node sees under the same path.

    Args:
        path: Absolute.
        num_bytes: As the driver sees it.

    """

    path: Path
    num_bytes: int

    def local(self, worker: WorkerState) -> Path:
        """Its own path.

        Raises:
            SourceError: If this node does not see it.

        """
        del worker
        try:
            seen = self.path.stat().st_size
        except OSError as error:
            raise SourceError(
                f"{self.path}: this node of the cluster does not see it ({error.strerror}); share its folder with all"
                " nodes, or add --ship-source"
            ) from error
        if seen != self.num_bytes:
            raise SourceError(f"{self.path}: this node of the cluster sees another file under this name")
        return self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedFolder:
    """One that every node sees under the same path."""

    path: Path

    def take(self, path: Path, name: str) -> None:
        """Copy a file there."""
        part = self.path / f"{name}.{secrets.token_hex(4)}.part"
        try:
            with path.open("rb") as source, part.open("xb") as target:
                shutil.copyfileobj(source, target, PIECE_BYTES)
                target.flush()
                os.fsync(target.fileno())
            part.replace(self.path / name)
        except FileNotFoundError as error:
            raise TargetError(
                f"{self.path}: this node of the cluster does not see the folder; share it with all nodes, or add"
                " --ship-source"
            ) from error
        path.unlink()


class Shelf:
    """Reads and writes files of the driver's machine for workers, piece by piece; an actor on that machine."""

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        return path.stat().st_size

    def piece(self, path: Path, offset: int) -> bytes:
        """A part of a file."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)

    def add(self, part: Path, data: bytes) -> None:
        """Write on."""
        with part.open("ab") as file:
            file.write(data)

    def finish(self, part: Path, path: Path) -> None:
        """Put a file that is whole on the disk and under its name."""
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedFile:
    """One that is sent to a worker once and kept there until another takes its place.

    Args:
        path: Where it lies on the driver's machine.
        digest: Of its content.
        shelf: The handle of the actor.

    """

    path: Path
    digest: str
    shelf: Any

    def local(self, worker: WorkerState) -> Path:
        """The worker's copy; its name keeps the suffix, and names it in messages."""
        return worker.kept("file", self.digest, lambda: _Copy(self, worker.folder)).path


@dataclass(frozen=True, kw_only=True, slots=True)
class ShippedFolder:
    """One that only the driver's machine sees."""

    path: Path
    shelf: Any

    def take(self, path: Path, name: str) -> None:
        """Send a file there."""
        import ray

        part = self.path / f"{name}.{secrets.token_hex(4)}.part"
        for data in _pieces(path):
            ray.get(self.shelf.add.remote(part, data))
        ray.get(self.shelf.finish.remote(part, self.path / name))
        path.unlink()


class _Copy:
    """A shipped file on a worker; the file goes with this object."""

    def __init__(self, file: ShippedFile, folder: Path) -> None:
        import ray

        for before in folder.glob("shipped-*"):  # one at a time: they are large
            shutil.rmtree(before)
        place = folder / f"shipped-{secrets.token_hex(4)}"
        place.mkdir()
        self.path = place / file.path.name
        left = ray.get(file.shelf.size.remote(file.path))
        with self.path.open("wb") as target:
            while left > 0:
                data = ray.get(file.shelf.piece.remote(file.path, target.tell()))
                if not data:
                    raise SourceError(f"{file.path}: became shorter while it was sent")
                target.write(data)
                left -= len(data)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(PIECE_BYTES):
            yield data
