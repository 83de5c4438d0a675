"""The folder of a data set. It is checked and locked, and its files are written completely or not at all.

Beside the data set itself (`train`, `test`, `frames`, `frames.jsonl`, `manifest.json`, the summary) it has a hidden
folder `.cache`. This holds downloads and the findings of each source, so that a run can go on where another stopped.
"""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.errors import TargetError
from concertdeblur.settings import parse_json

MANIFEST_FILE = "manifest.json"
CACHE = ".cache"
_PNG_EFFORT = 4  # zlib's level: 6 takes twice as long for 1 % less
_SAFE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")


class Workspace:
    """A data set's folder; every write goes through it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / CACHE

    def path(self, *parts: str) -> Path:
        """A file inside the folder; its parts are names that we choose, never titles from outside."""
        for part in parts:
            assert _SAFE_NAME.fullmatch(part) or part == CACHE, part
        return self.folder.joinpath(*parts)

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file completely or not at all."""
        self._write(path, text.encode())

    def write_json(self, path: Path, value: Any) -> None:
        """Write plain values as indented JSON."""
        self.write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def write_png(self, path: Path, picture: npt.NDArray[np.uint8]) -> None:
        """Write an RGB picture without loss."""
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        is_made, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_EFFORT])
        assert is_made
        self._write(path, data.tobytes())

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _cannot_write(path, error) from error


def read_png(path: Path) -> npt.NDArray[np.uint8] | None:
    """Read a picture that `write_png` wrote; None if it is missing or damaged."""
    try:
        bgr = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_json(path: Path) -> Any | None:
    """Read what `write_json` wrote; None if it is missing or damaged."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def open_workspace(folder: Path) -> Iterator[Workspace]:
    """The folder for one run at a time; it is made if it is not there.

    Raises:
        TargetError: If it is a file, holds something that is no data set, cannot be written, or is in use.

    """
    check_folder(folder)
    workspace = Workspace(folder)
    try:
        workspace.cache.mkdir(parents=True, exist_ok=True)
        lock = (workspace.cache / "lock").open("w")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TargetError(f"{folder}: another build-dataset is working in this folder; wait for it") from error
        yield workspace


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else, before anything is written.

    Raises:
        TargetError: If it holds something else.

    """
    try:
        if not folder.exists() and not folder.is_symlink():
            return
        if not folder.is_dir():
            raise TargetError(f"{folder}: is a file; name a folder")
        names = {path.name for path in folder.iterdir()}
    except TargetError:
        raise
    except OSError as error:
        raise _cannot_write(folder, error) from error
    if names and MANIFEST_FILE not in names and names != {CACHE}:
        raise TargetError(f"{folder}: holds other files and no data set of build-dataset; name another folder")


def _cannot_write(path: Path, error: OSError) -> TargetError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TargetError(f"{path}: no space left on the device; free some and run it again: it goes on from there")
    return TargetError(f"{path}: cannot be written ({error.strerror or os.strerror(error.errno or 0)})")
