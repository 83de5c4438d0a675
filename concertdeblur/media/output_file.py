"""An output that appears under its name only when it is complete."""

import errno
import os
import secrets
from pathlib import Path
from types import TracebackType

from concertdeblur.errors import TargetError


class OutputFile:
    """A temporary sibling of `target`; leaving the `with` block without an error moves it into place.

    With an error (or Ctrl-C) the sibling is removed and what was at `target` stays as it was.
    """

    def __init__(self, target: Path, *, overwrite: bool, sources: tuple[Path, ...] = ()) -> None:
        """Check everything that can be checked before work starts.

        Raises:
            TargetError: If the target exists (and may not be overwritten), is a folder or one of the
                sources (also through a link), or its folder is missing or not writable.
        """
        self.target = target
        for source in sources:
            if target.exists() and source.exists() and target.samefile(source):
                raise TargetError(f"{target}: input and output are the same file; choose another name")
        if target.is_dir():
            raise TargetError(f"{target}: is a folder; name a file")
        if target.exists() and not overwrite:
            raise TargetError(f"{target}: exists already; add --overwrite to replace it")
        folder = target.parent
        if not folder.is_dir():
            raise TargetError(f"{folder}: no such folder; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise TargetError(f"{folder}: no permission to write there")
        self.part = folder / f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}"

    def __enter__(self) -> Path:
        return self.part

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.part.unlink(missing_ok=True)
            return
        try:
            self.part.replace(self.target)
        except OSError as failure:
            self.part.unlink(missing_ok=True)
            raise target_error(self.target, failure) from failure


def target_error(target: Path, error: OSError) -> TargetError:
    """What went wrong while writing, in one sentence."""
    if error.errno == errno.ENOSPC:
        return TargetError(f"{target}: no space left on the device; nothing was written")
    return TargetError(f"{target}: cannot be written ({error.strerror or error})")
