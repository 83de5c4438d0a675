"""The folder beside an output in which its finished segments wait for the others.

It is named `.NAME.concertdeblur` and holds the segments' files, `manifest.json` (what was asked, what is done) and
`lock`. A segment's files are on the disk before the manifest names them, and the manifest is replaced as a whole, so
what it says holds after any crash.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concertdeblur.errors import TargetError
from concertdeblur.media.output_file import is_disk_full, target_error
from concertdeblur.settings import parse_json

_FORMAT = 1
_MANIFEST, _LOCK = "manifest.json", "lock"
_JOINED = "joined"  # an empty file: the output holds all segments, and nothing here is needed any more
_MOST_NAME_BYTES = 150  # file systems allow 255 in all


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneSegment:
    """One segment that is on the disk."""

    start: int  # number of its first frame in the clip
    num_frames: int
    windows_tried: int
    windows_accepted: int
    files: Mapping[str, str]  # name of an output -> sha256 of the segment's file for it

    def __post_init__(self) -> None:
        counts = (self.start, self.num_frames, self.windows_tried, self.windows_accepted)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"a segment must have whole numbers, but it has {counts}")


class WorkFolder:
    """The work folder of one output; a context manager that holds its lock. Not thread-safe.

    Left without an error after `joined`, it removes the folder; left otherwise, it keeps what is done.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        real = target.resolve()
        name = os.fsencode(real.name)
        if len(name) > _MOST_NAME_BYTES:  # what is cut off still tells outputs apart
            name = name[:_MOST_NAME_BYTES] + hashlib.sha256(name).hexdigest()[:16].encode()
        self.path = real.parent / f".{os.fsdecode(name)}.concertdeblur"
        self._descriptor: int | None = None
        self._asked: dict[str, str] = {}
        self._done: dict[int, DoneSegment] = {}
        self._rows: dict[int, str] = {}  # segment -> its row of the manifest
        self._is_joined = False
        self._is_room_known = False
        self.total_frames: int | None = None  # of the clip, as far as known

    def __enter__(self) -> "WorkFolder":
        try:
            self._descriptor = self._locked()
        except OSError as error:
            raise target_error(self._target, error) from error
        self._asked, self._done = self._read()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._is_joined:
                sync_folder(self.path.parent)
                self._remove()
            elif not self._done:
                self._remove()
        finally:
            if self._descriptor is not None:
                os.close(self._descriptor)

    @property
    def asked(self) -> Mapping[str, str]:
        """What the run asked for that made what is here; empty if nothing is."""
        return self._asked

    @property
    def num_frames(self) -> int:
        """How many frames are done."""
        return sum(segment.num_frames for segment in self._done.values())

    @property
    def num_bytes(self) -> int:
        """What the done segments take."""
        return sum(self.file(number, name).stat().st_size for number, one in self._done.items() for name in one.files)

    def begin(self, asked: Mapping[str, str], *, anew: bool) -> None:
        """Go on with what is here if it was asked for in the same words and not `anew`; else drop it."""
        if anew or asked != self._asked:
            self._asked, self._done, self._rows = dict(asked), {}, {}
        known = {self.file(number, name).name for number, one in self._done.items() for name in one.files}
        try:
            for path in self.path.iterdir():
                if path.name not in known | {_MANIFEST, _LOCK}:
                    path.unlink()
            self._save()
        except OSError as error:
            raise self._failed(error) from error

    def done(self, number: int) -> DoneSegment | None:
        """A segment, if it is done."""
        return self._done.get(number)

    def file(self, number: int, name: str) -> Path:
        """Where the packets of a segment for one output belong."""
        return self.path / self.file_name(number, name)

    @staticmethod
    def file_name(number: int, name: str) -> str:
        """The name of the file of a segment for one output."""
        return f"{number:06d}.{name}.packets"

    def add(self, number: int, segment: DoneSegment) -> None:
        """List a segment whose files are on the disk.

        Raises:
            TargetError: If the disk is full, or will be before all segments are there.

        """
        self._done[number] = segment
        self._rows.pop(number, None)  # of what was made in its place before
        try:
            self._save()
        except OSError as error:
            del self._done[number]
            raise self._failed(error) from error
        self._check_room_once()

    def files(self, name: str) -> list[Path]:
        """The files of one output, in the order of the clip."""
        return [self.file(number, name) for number in sorted(self._done)]

    def check_room(self, num_bytes: float) -> None:
        """Refuse work that the disk has no room for.

        Args:
            num_bytes: What work folder and output will yet take.

        Raises:
            TargetError: If there is less.

        """
        free = shutil.disk_usage(self.path).free
        if free < num_bytes:
            kept = f"; {self.num_frames} frames are done and kept" if self._done else ""
            raise TargetError(
                f"{self._target}: needs about {_size(num_bytes)} more on its disk, which has {_size(free)} free{kept};"
                " make room and run the same command again"
            )

    def _check_room_once(self) -> None:
        """Once the size of a segment is known: whether all of them fit, and the outputs beside them."""
        if self._is_room_known or self.total_frames is None:
            return
        self._is_room_known = True
        self.check_room(self.num_bytes / self.num_frames * (2 * self.total_frames - self.num_frames))

    def full_disk(self) -> TargetError:
        """What to say when the disk is full in the middle."""
        return TargetError(
            f"{self._target}: no space left on the device; {self.num_frames} frames are done and kept: make room and"
            " run the same command again"
        )

    def joined(self) -> None:
        """The output holds all segments: the folder goes."""
        self._is_joined = True
        with contextlib.suppress(OSError):  # only a run that is killed needs the mark
            (self.path / _JOINED).touch()

    def _failed(self, error: OSError) -> TargetError:
        return self.full_disk() if is_disk_full(error) else target_error(self._target, error)

    def _locked(self) -> int:
        """Make the folder and lock it; a lock ends with its process, however that ends."""
        while True:
            self.path.mkdir(exist_ok=True)
            try:
                descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # another run is done with the folder in between
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise TargetError(
                    f"{self._target}: another run{f' ({holder})' if holder else ''} is writing it just now"
                ) from None
            except OSError:  # a file system without locks
                return descriptor
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat((self.path / _LOCK).stat(), os.fstat(descriptor)):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                    return descriptor
            os.close(descriptor)

    def _read(self) -> tuple[dict[str, str], dict[int, DoneSegment]]:
        """What an earlier run left, as far as it is whole; a manifest that makes no sense counts as none."""
        try:
            told: Any = parse_json((self.path / _MANIFEST).read_text(encoding="utf-8"))
            if told["format"] != _FORMAT:
                return {}, {}
            asked = {str(key): str(value) for key, value in told["asked"].items()}
            segments = {int(number): DoneSegment(**row) for number, row in told["segments"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, {}
        return asked, {number: one for number, one in segments.items() if self._is_whole(number, one)}

    def _is_whole(self, number: int, segment: DoneSegment) -> bool:
        try:
            return all(file_digest(self.file(number, name)) == wanted for name, wanted in segment.files.items())
        except OSError:
            return False

    def _save(self) -> None:
        """Replace the manifest. A row takes a line; its text is kept, since a day has thousands of them."""
        self._rows = {number: self._rows.get(number) or json.dumps(asdict(one)) for number, one in self._done.items()}
        head = f'{{"format": {_FORMAT},\n"asked": {json.dumps(self._asked)},\n"segments": {{'
        sync_folder(self.path)  # the segments' names
        fresh = self.path / f"{_MANIFEST}.part"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(head)
            for place, (number, row) in enumerate(sorted(self._rows.items())):
                file.write(f'{"," if place else ""}\n"{number}": {row}')
            file.write("\n}}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / _MANIFEST)
        sync_folder(self.path)

    def _remove(self) -> None:
        """Remove the folder, the lock last; what cannot be removed does no harm."""
        with contextlib.suppress(OSError):
            for path in sorted(self.path.iterdir(), key=lambda path: (path.name == _LOCK, path.name == _JOINED)):
                path.unlink()
            self.path.rmdir()


def remove_remains(target: Path) -> None:
    """Remove the work folder of an output that is complete: its run was killed before it could do that."""
    work = WorkFolder(target)
    if work.path.is_dir() and ((work.path / _JOINED).exists() or not (work.path / _MANIFEST).exists()):
        with contextlib.suppress(TargetError), work:
            work.joined()


def file_digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can tell."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _size(num_bytes: float) -> str:
    for unit_bytes, unit, digits in ((1e9, "GB", 1), (1e6, "MB", 0)):
        if num_bytes >= unit_bytes:
            return f"{num_bytes / unit_bytes:.{digits}f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"
