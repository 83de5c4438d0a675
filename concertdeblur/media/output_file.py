"""An output that appears under its name only when it is complete."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
from pathlib import Path
from types import TracebackType

from concertdeblur.errors import TargetError

_PART = re.compile(r"^\.(.*)\.[0-9a-f]{8}\.part(\.\w+)?$")
_ENCODED = ".nut"  # the writer ffmpeg has a file of its own beside the part, with this suffix added
_MOST_NAME_BYTES = 150  # file systems allow 255 in all


class OutputFile:
    """A temporary sibling of `target`; leaving the `with` block without an error moves it into place.

    After an error (or Ctrl-C) the sibling is removed, and what was at `target` stays as it was. If `target` is a link,
    the file that it points to is replaced. The sibling is locked as long as its run lives. An unlocked sibling belongs
    to a run that was killed, and the next run that writes into the folder removes it.
    """

    def __init__(self, target: Path, *, overwrite: bool, sources: tuple[Path, ...] = ()) -> None:
        """Check everything that can be checked before work starts.

        Raises:
            TargetError: If the target exists (and may not be overwritten), is a folder, a device or one of the
                sources (also through a link), or its folder is missing or not writable.

        """
        for source in sources:
            if source.resolve() == target.resolve() or (_exists(target) and target.samefile(source)):
                raise TargetError(f"{target}: input and output are the same file; choose another name")
        if target.is_dir():
            raise TargetError(f"{target}: is a folder; name a file")
        if _exists(target):
            if not target.is_file():
                raise TargetError(f"{target}: is no regular file")
            if not overwrite:
                raise TargetError(f"{target}: exists already; add --overwrite to replace it")
        self.target = target
        self._real = target.resolve()
        folder = self._real.parent
        if not folder.is_dir():
            raise TargetError(f"{folder}: no such folder; create it first")
        stem = os.fsencode(self._real.stem)[:_MOST_NAME_BYTES]
        if len(stem) == _MOST_NAME_BYTES:
            stem = stem.decode(errors="ignore").encode()  # a letter may have been cut in half
        self._lock: int | None = None
        self.part = folder / f".{os.fsdecode(stem)}.{secrets.token_hex(4)}.part{self._real.suffix}"
        try:
            os.close(os.open(self.part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise target_error(target, error) from error
        self.part.unlink()

    def __enter__(self) -> Path:
        remove_dead_parts(self.part.parent)
        try:
            self._lock = _locked(self.part)
        except OSError as error:
            raise target_error(self.target, error) from error
        return self.part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self.part.unlink(missing_ok=True)
                return
            sync_file(self.part)  # or a power cut leaves the name with nothing behind it
            self.part.replace(self._real)
        except OSError as failure:
            self.part.unlink(missing_ok=True)
            raise target_error(self.target, failure) from failure
        finally:
            if self._lock is not None:
                os.close(self._lock)


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def remove_dead_parts(folder: Path) -> None:
    """Remove the temporary files of runs that ended without a chance to do it (kill -9, a power cut)."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            name = path.name.removesuffix(_ENCODED)
            if _PART.match(name) and not _is_alive(path.with_name(name)):
                path.unlink(missing_ok=True)


def _locked(part: Path) -> int:
    """Create a file and lock it: the descriptor that holds the lock."""
    while True:
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY, 0o666)
        try:
            with contextlib.suppress(OSError):  # on a file system without locks no sibling is ever removed
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same(part, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # before it was locked, another run took it for one of a killed run


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_alive(part: Path) -> bool:
    """Whether a run still holds the lock of its part."""
    try:
        descriptor = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is locked, or the file system has no locks
        return True
    finally:
        os.close(descriptor)
    return False


def keep_date(source: Path, target: Path) -> str:
    """Give a target the file date of its source; returns a sentence that says why this failed, or nothing."""
    try:
        times = source.stat()
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    except OSError as error:
        return f"the file's date is not kept ({error.strerror})"
    return ""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error was caused by a full disk, or by a quota that is used up."""
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        seen = seen.__cause__
    return False


def target_error(target: Path, error: BaseException) -> TargetError:
    """An error in writing, as one sentence that names the output instead of its temporary sibling."""
    target = target.with_name(_PART.sub(r"\1\2", target.name))
    if is_disk_full(error):
        full = TargetError(f"{target}: no space left on the device; nothing was written")
        full.errno = errno.ENOSPC  # so that `is_disk_full` knows it, whatever its cause
        return full
    return TargetError(f"{target}: cannot be written ({getattr(error, 'strerror', None) or error})")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise target_error(path, error) from error
