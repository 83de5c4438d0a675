"""Clips behind URLs, by yt-dlp: each is fetched once, into the data set's own cache.

`archive.jsonl` beside the files tells what was fetched from where. File names are made of hashes: nothing that a
server says becomes a path, and no other program is started.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from concertdeblur.dataset.sources import Failure, file_digest, one_line
from concertdeblur.errors import Interrupted, MissingDependencyError, TargetError, UsageError
from concertdeblur.settings import parse_json

T = TypeVar("T")

_SCHEMES = ("http", "https")
_RETRIES = 4
_TIMEOUT_S = 20
_FIRST_WAIT_S = 0.5  # doubles
_POLL_S = 0.1  # how often the thread that waits looks up
_PASSING = re.compile(r"HTTP Error (?:5\d\d|429|408)|timed out|Connection reset|Remote end closed|Temporary failure")
_FULL = re.compile(rf"\[Errno (?:{errno.ENOSPC}|{errno.EDQUOT})\]")  # of some errors yt-dlp keeps nothing but this text
_LONGEST_SILENCE_S = 600.0  # of a server that is asked what it has; yt-dlp may try several times
_SLOWEST_S, _SLOWEST_BYTES = 120.0, 120_000  # a download must bring so much in so long: 1 kB a second
_MOST_HOPS = 5  # pages that lead to further pages
_MOST_BYTES = 64 * 2**30  # larger files are taken for endless streams
_TALLEST_PX = 1080  # larger frames would be scaled down anyway
_FORMAT = f"bv*[height<=?{_TALLEST_PX}]/b[height<=?{_TALLEST_PX}]/bv*/b"  # no sound is needed


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadOptions:
    """How clips are fetched."""

    limit: int = 50  # most clips of a playlist
    lists_again: bool = False  # whether playlists are listed again of which all clips were fetched
    cookies: Path | None = None  # in Netscape's format; the file is not changed
    rate_limit_mb_s: float | None = None
    pause_s: float = 1.0  # between two downloads


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A clip that was fetched, in this run or before."""

    url: str  # address of the clip, if it has one of its own
    path: Path
    title: str
    licence: str
    sha256: str


class _Refused(Exception):
    """A clip cannot be fetched; the message says why."""


class _Transient(_Refused):
    """A clip cannot be fetched now, but maybe later."""


class Downloader:
    """Fetches the clips of one data set; use it from one thread."""

    def __init__(
        self,
        folder: Path,
        options: DownloadOptions,
        *,
        on_progress: Callable[[str], None] = lambda _: None,
        on_warning: Callable[[str], None] = lambda _: None,
        is_needed: Callable[[str], bool] = lambda _: True,
        stop: threading.Event | None = None,
    ) -> None:
        """Read the archive.

        Args:
            folder: Where files go.
            options: How clips are fetched.
            on_progress: Called with a few words, as "12 of 80 MB".
            on_warning: Called with one sentence if a playlist has too many clips.
            is_needed: Whether a deleted file with this sha256 is fetched again.
            stop: When set, `Interrupted` is raised.

        """
        if options.cookies is not None and not options.cookies.is_file():
            raise UsageError(f"{options.cookies}: no such file of cookies")
        self._folder, self._options = folder, options
        self._on_progress, self._on_warning, self._stop = on_progress, on_warning, stop
        self._archive = folder / "archive.jsonl"
        self._known = _read_archive(self._archive)
        self._is_needed = is_needed
        self._has_fetched = False
        self._pulse = _Pulse()

    def fetch(self, url: str) -> Iterator[Fetched | Failure]:
        """Fetch every clip of a URL: one, or those of a playlist.

        A playlist is listed once, and again if some of its clips are missing, the limit has grown, or the options say
        so. If it cannot be listed again, its clips are those of the list before.

        Raises:
            Interrupted: If `stop` is set.
            TargetError: If the disk is full.

        """
        if urlsplit(url).scheme.lower() not in _SCHEMES:
            yield Failure(address=url, reason="only http and https addresses are fetched")
            return
        row = self._known.get(url, {})
        keys = row.get("playlist", [url])[: self._options.limit]
        before = [self._fetched_before(key) for key in keys]
        if before and all(before) and not self._is_listed_again(row):
            if row.get("is_cut") or len(row.get("playlist", ())) > len(keys):
                self._warn_of_more(url)
            yield from filter(None, before)
            return
        try:
            items = self._with_patience(lambda: self._list(url))
        except _Refused as error:
            if "playlist" in row:
                if all(before):
                    self._on_warning(f"{url}: {error}; its clips are those that were fetched before")
                for key, fetched in zip(keys, before, strict=True):
                    yield fetched or Failure(address=key, reason=f"its playlist {error}")
            else:
                yield Failure(address=url, reason=str(error))
            return
        for key, item in items:
            try:
                yield self._fetched_before(key) or self._with_patience(partial(self._download, key, item))
            except _Refused as error:
                yield Failure(address=key, reason=str(error))

    def _is_listed_again(self, row: dict[str, Any]) -> bool:
        """Whether a list from before is not enough; of lists of earlier versions nobody knows whether they were cut."""
        has_grown = row.get("is_cut", True) and self._options.limit > len(row.get("playlist", ()))
        return "playlist" in row and (has_grown or self._options.lists_again)

    def _warn_of_more(self, url: str) -> None:
        limit = self._options.limit
        self._on_warning(f"{url}: has more than {limit} clips; the first {limit} are taken (--limit takes more)")

    def forget(self, url: str) -> None:
        """Forget a fetched file that is no clip: it is fetched again next time."""
        if url in self._known:
            self._remember({**self._known[url], "num_bytes": -1})

    def _with_patience(self, attempt: Callable[[], T]) -> T:
        """Call a function, and again after a while if it fails in a way that may pass."""
        for number in itertools.count(1):
            try:
                return self._watched(attempt)
            except _Transient:
                if number >= _RETRIES:
                    raise
                self._wait(_FIRST_WAIT_S * 2 ** (number - 1))
        raise AssertionError("not reached")

    def _watched(self, attempt: Callable[[], T]) -> T:
        """Do it in a thread that is given up where too little comes: a byte now and then never times out.

        The thread then ends with its next block of data, or with the process.
        """
        pulse = self._pulse = _Pulse()
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(attempt())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True, name="download").start()
        try:
            while not outcome.done():
                self._wait(0)
                pulse.check()
                with contextlib.suppress(TimeoutError):
                    outcome.exception(timeout=_POLL_S)
        finally:
            pulse.is_given_up = not outcome.done()
        return outcome.result()

    def _wait(self, seconds: float) -> None:
        if (self._stop or threading.Event()).wait(seconds):
            raise Interrupted("stopped while downloading; run it again to go on")

    def _fetched_before(self, key: str) -> Fetched | None:
        row = self._known.get(key)
        if row is None or "file" not in row:
            return None
        path = self._folder / row["file"]
        is_there = path.is_file() and path.stat().st_size == row["num_bytes"]
        if not is_there and (row["num_bytes"] < 0 or self._is_needed(row["sha256"])):
            return None
        return Fetched(url=key, path=path, title=row["title"], licence=row["licence"], sha256=row["sha256"])

    def _list(self, url: str) -> list[tuple[str, Any]]:
        """(archive key, what yt-dlp knows of it) of every clip."""
        with self._program(url, self._pulse) as program:
            found = self._followed(program, url)
            if found.get("_type") not in ("playlist", "multi_video"):
                return [(url, found)]
            limit = self._options.limit
            entries = list(itertools.islice(found.get("entries") or (), limit + 1))
        if not entries:
            raise _Refused("the playlist is empty")
        is_cut = len(entries) > limit
        if is_cut:
            self._warn_of_more(url)
        items = [_keyed(url, number, entry) for number, entry in enumerate(entries[:limit], 1)]
        self._remember({"url": url, "playlist": [key for key, _ in items], "is_cut": is_cut})
        return items

    def _followed(self, program: Any, url: str) -> dict[str, Any]:
        for _ in range(_MOST_HOPS):
            with _one_sentence():
                found: dict[str, Any] = program.extract_info(url, download=False, process=False) or {}
            if found.get("_type", "video") not in ("url", "url_transparent"):
                return found
            url = found["url"]
        raise _Refused("leads from page to page")

    def _download(self, key: str, item: Any) -> Fetched:
        if self._has_fetched:
            self._wait(self._options.pause_s)
        self._has_fetched = True
        with self._program(key, self._pulse) as program:
            found = self._followed(program, item) if isinstance(item, str) else item
            if found.get("_type") in ("playlist", "multi_video"):
                raise _Refused("is a playlist within a playlist; name it in the list itself")
            with _one_sentence():
                done = program.process_ie_result(found, download=True)
        files = [Path(part["filepath"]) for part in (done or {}).get("requested_downloads", ())]
        if len(files) != 1 or files[0].resolve().parent != self._folder.resolve() or not files[0].is_file():
            raise _Refused("gave no file")
        title, licence = (one_line(str(done.get(name) or "")) for name in ("title", "license"))
        fetched = Fetched(url=key, path=files[0], title=title, licence=licence, sha256=file_digest(files[0]))
        facts = {"url": key, "title": title, "licence": licence, "sha256": fetched.sha256}
        self._remember({**facts, "file": files[0].name, "num_bytes": files[0].stat().st_size})
        return fetched

    def _remember(self, row: dict[str, Any]) -> None:
        self._known[row["url"]] = row
        with self._archive.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")

    @contextlib.contextmanager
    def _program(self, key: str, pulse: "_Pulse") -> Iterator[Any]:
        """yt-dlp, set up to write one file named by a hash."""
        try:
            from yt_dlp import YoutubeDL
        except ImportError as error:
            raise MissingDependencyError(
                "fetching URLs needs the package yt-dlp; pip install 'concertdeblur[dataset]'"
            ) from error
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        rate = self._options.rate_limit_mb_s
        with contextlib.ExitStack() as stack:
            settings = {
                "format": _FORMAT,
                "outtmpl": {"default": str(self._folder.resolve() / name).replace("%", "%%") + ".%(ext)s"},
                "retries": _RETRIES,
                "fragment_retries": _RETRIES,
                "extractor_retries": _RETRIES,
                "socket_timeout": _TIMEOUT_S,
                "retry_sleep_functions": {"http": lambda n: min(10.0, 0.5 * 2**n)},
                "ratelimit": None if rate is None else rate * 1e6,
                "cookiefile": self._cookie_copy(stack),
                "noplaylist": True,  # a clip's address may name the playlist it was played from
                "fixup": "never",  # yt-dlp would start ffmpeg
                "hls_prefer_native": True,
                "cachedir": False,
                "quiet": True,
                "no_warnings": True,
                "noprogress": True,
                "color": "no_color",
                "logger": _Silence(),
                "match_filter": _refuse_live,
                "progress_hooks": [partial(self._hook, pulse)],
            }
            program = stack.enter_context(YoutubeDL({k: v for k, v in settings.items() if v is not None}))
            program.urlopen = _closing(program.urlopen, stack)
            yield program

    def _cookie_copy(self, stack: contextlib.ExitStack) -> str | None:
        """A copy of the cookies, since yt-dlp writes into the file at the end."""
        if self._options.cookies is None:
            return None
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return shutil.copyfile(self._options.cookies, Path(folder) / "cookies.txt").__fspath__()

    def _hook(self, pulse: "_Pulse", state: dict[str, Any]) -> None:
        if pulse.is_given_up or (self._stop is not None and self._stop.is_set()):
            raise Interrupted("stopped while downloading; run it again to go on")
        done = state.get("downloaded_bytes") or 0
        pulse.beat(done, is_all=state.get("status") == "finished")
        if done > _MOST_BYTES:
            raise _Refused(f"does not end within {_MOST_BYTES // 2**30} GiB")
        whole = state.get("total_bytes") or state.get("total_bytes_estimate")
        self._on_progress(f"{done / 1e6:.0f} of {whole / 1e6:.0f} MB" if whole else f"{done / 1e6:.0f} MB")


def _closing(urlopen: Callable[[Any], Any], stack: contextlib.ExitStack) -> Callable[[Any], Any]:
    """yt-dlp's `urlopen`, whose answers are closed with the stack: yt-dlp leaves some of them open."""
    answers: weakref.WeakSet[Any] = weakref.WeakSet()

    def close_all() -> None:
        for answer in list(answers):
            with contextlib.suppress(Exception):  # whatever a library raises for an answer that is dead already
                answer.close()

    def opened(request: Any) -> Any:
        try:
            answer = urlopen(request)
        except Exception as error:
            if (refusal := getattr(error, "response", None)) is not None:
                answers.add(refusal)
            raise
        answers.add(answer)
        return answer

    stack.callback(close_all)
    return opened


class _Pulse:
    """Whether a download still lives: seen by the thread that waits for it."""

    def __init__(self) -> None:
        self.is_given_up = False
        self._asked_s = time.monotonic()
        self._since: tuple[float, int] | None = None  # when so many bytes were there

    def beat(self, num_bytes: int, *, is_all: bool = False) -> None:
        """So many bytes are there by now; fewer than before where another file begins."""
        if is_all:
            self._asked_s, self._since = time.monotonic(), None
        elif self._since is None or not 0 <= num_bytes - self._since[1] < _SLOWEST_BYTES:
            self._since = time.monotonic(), num_bytes

    def check(self) -> None:
        """Refuse what does not live."""
        now_s = time.monotonic()
        if self._since is None and now_s - self._asked_s > _LONGEST_SILENCE_S:
            raise _Refused(f"does not answer within {_LONGEST_SILENCE_S:.0f} s")
        if self._since is not None and now_s - self._since[0] > _SLOWEST_S:
            raise _Refused(f"comes too slowly: less than {_SLOWEST_BYTES} bytes in {_SLOWEST_S:.0f} s")


class _Silence:
    """yt-dlp's log: its errors come as exceptions."""

    def debug(self, message: str) -> None:
        """Say nothing."""

    info = warning = error = debug


def _refuse_live(info: dict[str, Any], *, incomplete: bool = False) -> None:
    del incomplete
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
        raise _Refused("is a live stream; give the recording once it is over")


def _keyed(url: str, number: int, entry: dict[str, Any]) -> tuple[str, Any]:
    """The key of a playlist's entry: its own address, or its place if the page itself holds the clip."""
    if entry.get("_type", "video") in ("url", "url_transparent") and entry.get("url"):
        return entry["url"], entry["url"]
    return f"{url}#{number}", entry


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn what yt-dlp raises into a refusal with its reason."""
    from yt_dlp.utils import UnsupportedError, YoutubeDLError

    try:
        yield
    except (Interrupted, _Refused):
        raise
    except OSError as error:
        raise TargetError(f"the download cannot be written ({error.strerror or error})") from error
    except YoutubeDLError as error:
        for cause in (error, *_causes(error)):
            if isinstance(cause, Interrupted | _Refused):
                raise cause from error
            if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(str(cause)):
                raise TargetError(
                    "the download cannot be written (no space left on the device); free some and run it again:"
                    " it goes on from there"
                ) from error
            if isinstance(cause, UnsupportedError):
                raise _Refused("is a page without a clip that yt-dlp knows how to get") from error
        kind = _Transient if _PASSING.search(str(error)) else _Refused
        raise kind(f"could not be fetched ({_reason(error)})") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The chain of causes of an error, by yt-dlp's `exc_info` and by Python's own."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        info = getattr(one, "exc_info", None) or (None, None, None)
        more = [info[1], one.__cause__, one.__context__, getattr(one, "cause", None), getattr(one, "orig_msg", None)]
        causes = [cause for cause in more if isinstance(cause, BaseException)]
        waiting += causes
        yield from causes


def _reason(error: BaseException) -> str:
    text = one_line(str(error)).removeprefix("ERROR: ")
    text = text.split("; please report this issue")[0].split(" (caused by")[0]
    return text.removeprefix("[generic] ").rstrip(".") or type(error).__name__


def _read_archive(path: Path) -> dict[str, Any]:
    """The last line for each address; an unfinished line of a killed run is ignored."""
    known: dict[str, Any] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return known
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            row = parse_json(line)
            is_file = row.keys() >= {"file", "num_bytes", "title", "licence", "sha256"} and "/" not in row["file"]
            is_file = is_file and all(isinstance(row[key], str) for key in ("file", "title", "licence", "sha256"))
            is_file = is_file and isinstance(row["num_bytes"], int)
            keys = row.get("playlist")
            if is_file or (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
                known[row["url"]] = row
    return known
