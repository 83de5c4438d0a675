"""Compiled networks kept from run to run, in the user's cache folder.

An entry is one file: the sha256 of its content, then the content. It is written under another name and moved, so
several processes may use the folder at once. Whatever goes wrong here (no home, a full disk, a damaged entry) costs
time and nothing else: nothing is raised.
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_MOST_BYTES = 256 * 2**20  # of all entries; those that were not used for longest are removed first
_MOST_BYTES_OF_ENTRY = 64 * 2**20  # the three networks of a shipped weight set together have 5 MiB
_SUFFIX, _PART_SUFFIX = ".network", ".part"
_ABANDONED_S = 3600  # nobody will finish an unfinished entry of this age
_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """Where compiled networks are kept, there or not; None without a home. XDG_CACHE_HOME chooses it."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if not Path(chosen).is_absolute():  # a relative path is ignored, as the XDG specification asks
        chosen = os.environ.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    try:
        base = Path(chosen) if chosen else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "concertdeblur" / "networks"


def kept(key: str) -> bytes | None:
    """What was kept under a key (a file name without suffix); None if nothing was, or it is damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / (key + _SUFFIX)
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    content = entry[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != entry[:_DIGEST_BYTES]:
        forget(key)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return content


def keep(key: str, content: bytes) -> None:
    """Keep an entry under a key, if that is possible; if there are too many, those not used for longest are removed."""
    folder = cache_folder()
    if folder is None or len(content) > _MOST_BYTES_OF_ENTRY:
        return
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder, key, content)
        _tidy(folder)


def forget(key: str) -> None:
    """Remove an entry that turned out to be of no use."""
    folder = cache_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / (key + _SUFFIX)).unlink()


def _write(folder: Path, key: str, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=key, suffix=_PART_SUFFIX, dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        part.replace(folder / (key + _SUFFIX))
    finally:
        part.unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove what is too much; another process may do the same meanwhile."""
    for path, used_s, _ in _files(folder, _PART_SUFFIX):
        if time.time() - used_s > _ABANDONED_S:
            path.unlink(missing_ok=True)
    total = 0
    for path, _, size in sorted(_files(folder, _SUFFIX), key=lambda one: one[1], reverse=True):
        total += size
        if total > _MOST_BYTES:
            path.unlink(missing_ok=True)


def _files(folder: Path, suffix: str) -> Iterator[tuple[Path, float, int]]:
    """(path, when it was used, in seconds of the clock, bytes) of each file."""
    for path in folder.glob("*" + suffix):
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            yield path, found.st_mtime, found.st_size
