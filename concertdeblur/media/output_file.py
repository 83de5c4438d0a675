"""An output that appears under its name only when it is complete."""

import errno
import os
import re
import secrets
from pathlib import Path
from types import TracebackType

from concertdeblur.errors import TargetError

_PART = re.compile(r"^\.(.*)\.[0-9a-f]{8}\.part(\.\w+)?$")


class OutputFile:
    """A temporary sibling of `target`; leaving the `with` block without an error moves it into place.

    With an error (or Ctrl-C) the sibling is removed and what was at `target` stays as it was. Where
    `target` is a link, the file that it points to is replaced.
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
        stem = self._real.stem.encode()[:150].decode(errors="ignore")  # file systems allow 255 bytes
        self.part = folder / f".{stem}.{secrets.token_hex(4)}.part{self._real.suffix}"
        try:
            os.close(os.open(self.part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise target_error(target, error) from error
        self.part.unlink()

    def __enter__(self) -> Path:
        return self.part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.part.unlink(missing_ok=True)
            return
        try:
            self.part.replace(self._real)
        except OSError as failure:
            self.part.unlink(missing_ok=True)
            raise target_error(self.target, failure) from failure


def target_error(target: Path, error: BaseException) -> TargetError:
    """What went wrong while writing, in one sentence that names the output and not its temporary sibling."""
    target = target.with_name(_PART.sub(r"\1\2", target.name))
    if getattr(error, "errno", None) == errno.ENOSPC:
        return TargetError(f"{target}: no space left on the device; nothing was written")
    return TargetError(f"{target}: cannot be written ({getattr(error, 'strerror', None) or error})")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise target_error(path, error) from error
