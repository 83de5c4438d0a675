"""The list of sources: URLs, files and folders, one a line, with optional columns for title and licence."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from concertdeblur.errors import SourceError
from concertdeblur.media.clip_folder import clips_in

_COLUMNS = re.compile(r"\s*\t\s*|\s+\|\s+")
_COMMENT = re.compile(r"^#.*|\s#(?:\s.*)?$")  # "#1" within a name is no comment
# shells and file managers put quotes around paths; what follows is the next column, a comment or nothing
_QUOTED = re.compile(r"""(["'])(.+?)\1(?=\s*$|\s*\t|\s+\|(?:\s|$)|\s+#(?:\s|$))""")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LARGEST_LIST_BYTES = 16 * 2**20
_MOST_LETTERS = 200  # most letters of a title or licence


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the list."""

    line: int
    address: str  # as written
    title: str = ""
    licence: str = ""

    @property
    def is_url(self) -> bool:
        """Whether it is to be downloaded."""
        return is_url(self.address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One clip on this machine."""

    address: str  # how the list names it: a path or URL
    path: Path
    sha256: str
    title: str
    licence: str

    @property
    def key(self) -> str:
        """Short name for files, from the clip's content."""
        return self.sha256[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A source that gave nothing, and one sentence that says why."""

    address: str
    reason: str


def is_url(address: str) -> bool:
    """Whether an address begins with a scheme, such as http://."""
    return _URL.match(address) is not None


def read_list(path: Path) -> list[Entry]:
    """The list's lines; blank ones and comments (`#` before or after) are left out.

    Columns are parted by a tab, or by `|` with spaces around it: address, title, licence. An address in quotes may hold
    all of these.

    Raises:
        SourceError: If the file is missing, unreadable, no text, or names no source.

    """
    try:
        if path.is_dir():
            raise SourceError(f"{path}: is a folder; --urls takes a text file with one source a line")
        if path.stat().st_size > _LARGEST_LIST_BYTES:
            raise SourceError(f"{path}: is too large for a list of sources; is it a clip? Write its name into a list")
        text = path.read_text(encoding="utf-8-sig")
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file; write one source a line into it") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: is no UTF-8 text; --urls takes a text file with one source a line") from error
    if "\0" in text:
        raise SourceError(f"{path}: is no text; --urls takes a text file with one source a line")
    entries = [entry for number, line in enumerate(text.splitlines(), 1) if (entry := _entry(number, line))]
    if not entries:
        raise SourceError(f"{path}: names no source; write a URL, a file or a folder on each line")
    return entries


def local_clips(entry: Entry, list_folder: Path) -> list[tuple[str, Path]]:
    """The clips behind a file or folder, as (address, path); a relative path is first looked for beside the list.

    Raises:
        SourceError: If nothing is there, or a folder (searched with its subfolders) holds no clip.

    """
    path = Path(entry.address).expanduser()
    beside = list_folder / path
    path = beside if path.is_absolute() or _exists(beside) or not _exists(path) else path
    if not _exists(path):
        raise SourceError("no such file or folder")
    if not path.is_dir():
        return [(entry.address, path)]
    try:
        found = clips_in(path, recursive=True)
    except OSError as error:
        raise SourceError(f"the folder cannot be read ({error.strerror})") from error
    if not found:
        raise SourceError("the folder holds no clip")
    return [(utf8_text(f"{entry.address.rstrip('/')}/{clip.relative_to(path).as_posix()}"), clip) for clip in found]


def file_digest(path: Path) -> str:
    """Hexadecimal sha256 of a file's content.

    Raises:
        SourceError: If it cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})") from error


def utf8_text(text: str) -> str:
    """A text that can be written as UTF-8: other bytes of a file's name become hexadecimal escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """One line of printable text of limited length, since titles come from anywhere."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.split())[:_MOST_LETTERS]


def _entry(number: int, line: str) -> Entry | None:
    line = line.strip()
    quoted = _QUOTED.match(line)
    rest = line[quoted.end() :] if quoted else line
    columns = [column.strip() for column in _COLUMNS.split(_COMMENT.sub("", rest).rstrip())]
    address = quoted[2] if quoted else columns[0]
    if not address:
        return None
    title, licence = (one_line(column) for column in [*columns[1:3], "", ""][:2])
    return Entry(line=number, address=address, title=title, licence=licence)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
