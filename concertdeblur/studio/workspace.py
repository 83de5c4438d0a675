"""The studio's folder: one folder for each clip, and the lock of the one studio that works there.

::

    studio/
    ├── lock              held as long as a studio runs
    ├── address           of its page; only its owner may read it
    └── clips/ID/
        ├── clip.json     the record
        ├── in/           the uploaded clip, under its own name
        ├── out/          the output, and the finished segments that wait for the others
        └── views/        what is made to be looked at: previews, newest frames, copies that a browser plays

Whatever is asked for by name goes through `clean_name`, and clips are looked up by id in a table, so that no path of a
request reaches the disk.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from concertdeblur.errors import ConcertDeblurError, SourceError, TargetError, UsageError
from concertdeblur.media.clip_folder import CLIP_SUFFIXES
from concertdeblur.media.output_file import target_error
from concertdeblur.pictures.formats import READ_SUFFIXES, why_not_read
from concertdeblur.studio.records import OUTPUT_FOLDER, RECORD_FILE, UPLOAD_FOLDER, ClipRecord, State, read_record

_CLIP_ID = re.compile(r"[0-9a-f]{16}")
_NO_UNICODE = re.compile("[\ud800-\udfff]")  # what Python makes of other bytes in names of files
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, halves of pairs, ends of lines
_MOST_NAME_BYTES = 120  # what is added to an output's name still fits


class StudioIsOpenError(ConcertDeblurError):
    """Another studio works in the folder; `address` is that of its page."""

    def __init__(self, address: str) -> None:
        super().__init__("the studio is open already")
        self.address = address


def default_folder() -> Path:
    """Where the studio keeps clips if nobody says otherwise: the user's state folder (XDG_STATE_HOME)."""
    chosen = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not chosen.is_absolute():  # as the XDG specification asks
        chosen = Path.home() / ".local" / "state"
    return chosen / "concertdeblur" / "studio"


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """The places of one clip."""

    path: Path

    @property
    def out(self) -> Path:
        """Of the output."""
        return self.path / OUTPUT_FOLDER

    @property
    def views(self) -> Path:
        """Of what is made to be looked at."""
        return self.path / "views"

    def view(self, name: str) -> Path:
        """One thing to look at; `name` is ours."""
        return self.views / name


class Workspace:
    """The studio's folder; a context manager that holds its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clips = folder / "clips"
        self._lock: int | None = None

    def __enter__(self) -> "Workspace":
        try:
            self._clips.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise StudioIsOpenError(self._address()) from None
        except OSError as error:
            self._release()
            raise target_error(self.folder, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            (self.folder / "address").unlink(missing_ok=True)
        self._release()

    def tell_address(self, address: str) -> None:
        """Let a second call of the command find the page; a full disk does not keep the first one from opening it."""
        path = self.folder / "address"
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(address)

    def records(self) -> Iterator[ClipRecord]:
        """Every clip that is there, in the order in which they came."""
        found = [read_record(path) for path in self._clip_folders()]
        yield from sorted((one for one in found if one is not None), key=lambda one: one.added_s)

    def clip_folder(self, clip_id: str) -> ClipFolder:
        """The places of a clip; `clip_id` is one that `new_id` made."""
        assert _CLIP_ID.fullmatch(clip_id)
        return ClipFolder(self._clips / clip_id)

    def begin_upload(self, name: str) -> tuple[str, Path]:
        """Id of a new clip, and the file that its bytes belong in.

        Raises:
            TargetError: If nothing can be written.
            UsageError: If the name is none that a clip or a picture may have.

        """
        clip_id, name = secrets.token_hex(8), clean_name(name)
        path = self._clips / clip_id / UPLOAD_FOLDER / name
        try:
            path.parent.mkdir(parents=True)
        except OSError as error:
            raise target_error(path, error) from error
        return clip_id, path

    def has_room(self, num_bytes: int) -> bool:
        """Whether the disk takes so much more.

        Raises:
            TargetError: If the folder is gone.

        """
        try:
            return shutil.disk_usage(self.folder).free > num_bytes
        except OSError as error:
            raise target_error(self.folder, error) from error

    def finish_upload(self, clip_id: str, path: Path) -> ClipRecord:
        """The record of a clip whose bytes are all there."""
        return self._add(clip_id, path, is_copy=True)

    def add_in_place(self, path: Path) -> ClipRecord:
        """The record of a file of this machine, which is read where it lies.

        Raises:
            SourceError: If there is no such file.
            TargetError: If the record cannot be written.

        """
        if not path.is_file():
            raise SourceError(f"{path}: {'is a folder, not a clip' if path.is_dir() else 'no such file'}")
        for record in self.records():
            if not record.is_copy and Path(record.source) == path.resolve():
                return record
        return self._add(secrets.token_hex(8), path.resolve(), is_copy=False)

    def drop(self, clip_id: str) -> None:
        """Remove all that the studio has of a clip; a file that is read where it lies stays."""
        shutil.rmtree(self._clips / clip_id, ignore_errors=True)

    def drop_remains(self) -> None:
        """Remove what uploads left that never ended."""
        for path in self._clip_folders():
            if not (path / RECORD_FILE).exists():
                shutil.rmtree(path, ignore_errors=True)

    def unreadable(self) -> list[Path]:
        """Folders of clips whose records make no sense here, as those of another version; the clips stay in them."""
        return [path for path in self._clip_folders() if (path / RECORD_FILE).exists() and read_record(path) is None]

    def _clip_folders(self) -> list[Path]:
        try:
            return [path for path in self._clips.iterdir() if _CLIP_ID.fullmatch(path.name)]
        except OSError:  # somebody has removed the studio's folder
            return []

    def _add(self, clip_id: str, source: Path, *, is_copy: bool) -> ClipRecord:
        record = ClipRecord(
            clip_id=clip_id, name=in_unicode(source.name), source=str(source), is_copy=is_copy, added_s=time.time(),
            state=State.LOOKING,
        )  # fmt: skip
        folder = self.clip_folder(clip_id)
        try:
            for path in (folder.out, folder.views):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise target_error(folder.path, error) from error
        record.save(folder.path)
        return record

    def _address(self) -> str:
        address = ""
        with contextlib.suppress(OSError):
            address = (self.folder / "address").read_text(encoding="ascii")
        if not address:
            raise TargetError(f"{self.folder}: another studio is open there, but has told no address yet; try again")
        return address

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def in_unicode(text: str) -> str:
    """A file's name, or a sentence with one, as a page can be told it: bytes that are no UTF-8 become marks."""
    return _NO_UNICODE.sub("\N{REPLACEMENT CHARACTER}", text)


def clean_name(name: str) -> str:
    """A file's name as a browser tells it, if it is one that a clip or a picture may have.

    Raises:
        UsageError: If it holds a path or control characters, or ends as no clip or picture does.

    """
    name = unicodedata.normalize("NFC", name)
    # joiners of letters, the spaces of other scripts, and emoji that are newer than Python are no reason to refuse
    is_text = not any(unicodedata.category(letter) in _NO_TEXT for letter in name)
    if not name or name.startswith(".") or "/" in name or "\\" in name or not is_text:
        raise UsageError(
            f"{name!a} is no name of a clip; a name holds no path and no control characters, and begins with no dot"
        )
    path = Path(name)
    if path.suffix.lower() not in CLIP_SUFFIXES | READ_SUFFIXES:
        why = why_not_read(path)
        kind = f"is {why}" if why else "is neither a clip nor a picture, by its name"
        raise UsageError(f"{name}: {kind}")
    return shortened(name)


def shortened(name: str) -> str:
    """A file's name, with the end of its stem cut off where it is too long for what is added to it."""
    if len(os.fsencode(name)) <= _MOST_NAME_BYTES:
        return name
    path = Path(name)
    stem = os.fsencode(path.stem)[: _MOST_NAME_BYTES - len(os.fsencode(path.suffix))].decode(errors="ignore")
    return stem + path.suffix
