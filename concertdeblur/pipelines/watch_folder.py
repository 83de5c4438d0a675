"""`concertdeblur watch`: clips that appear in a folder are deblurred into another, one by one, until it is stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from concertdeblur.errors import Interrupted, SourceError, TargetError, UsageError
from concertdeblur.pipelines.batch import Item
from concertdeblur.pipelines.kept_networks import KeptNetworks
from concertdeblur.pipelines.video_batch import BatchSummary, deblur_batch, find_items
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary

LOG = "watch.log"
_POLL_S = 2.0

_State: TypeAlias = tuple[int, int]  # of a file: bytes, and when it was changed (ns)


def _ignore(_: object) -> None:
    """Take anything, do nothing."""


@dataclass(kw_only=True, slots=True)
class WatchedFolder:
    """A folder into which clips are put.

    Args:
        source: The folder.
        target: Where the outputs and the log go; made if missing.
        settle_s: A clip is whole once its size and date have stood still for so long.
        recursive: Whether subfolders belong to it.
        as_mp4: Whether every output is mp4.
        clock: Seconds, growing.

    """

    source: Path
    target: Path
    settle_s: float
    recursive: bool = False
    as_mp4: bool = False
    clock: Callable[[], float] = time.monotonic
    _seen: dict[Path, tuple[_State, float]] = field(default_factory=dict, init=False)  # state, and since when
    _failed: dict[Path, _State] = field(default_factory=dict, init=False)
    _done: dict[Path, tuple[Item, _State]] = field(default_factory=dict, init=False)  # state in which it was taken

    def __post_init__(self) -> None:
        if not self.source.is_dir():
            raise SourceError(f"{self.source}: no such folder; name the one that clips will be put into")
        if self.settle_s < 0:
            raise UsageError(f"the time to settle must not be negative, but it is {self.settle_s:g} s")
        if self.target.resolve() == self.source.resolve():
            raise TargetError(f"{self.target}: input and output are the same folder")
        try:
            self.target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"{self.target}: cannot be used ({error.strerror})") from error

    def whole(self) -> list[Item]:
        """The clips that are written to their end, have no output, and did not fail as they are."""
        now, ready, there = self.clock(), [], set()
        for item in self._items():
            state = _state(item.source)
            if state is None or item.target.is_file():
                continue
            there.add(item.source)
            before, since = self._seen.get(item.source, (None, now))
            if before != state:
                since = now
            self._seen[item.source] = (state, since)
            if state[0] and now - since >= self.settle_s and self._failed.get(item.source) != state:
                ready.append(item)
        self._seen = {path: seen for path, seen in self._seen.items() if path in there}
        return ready

    def failed(self, item: Item) -> None:
        """A clip failed: it is tried again once its file changes."""
        self._failed[item.source] = self._seen[item.source][0]

    def done(self, item: Item) -> None:
        """A clip has its output."""
        self._done[item.source] = item, self._seen[item.source][0]

    def outdated(self) -> list[Item]:
        """The clips that changed after they were taken, each named once: their outputs may lack what came later."""
        found = []
        for source, (item, taken) in list(self._done.items()):
            state = _state(source)
            if state == taken and item.target.is_file():
                continue
            del self._done[source]
            if state is not None and item.target.is_file():
                found.append(item)
        return found

    def log(self, text: str) -> None:
        """Add a line to the log."""
        try:
            with (self.target / LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
        except OSError as error:
            raise TargetError(f"{self.target / LOG}: cannot be written ({error.strerror})") from error

    def _items(self) -> list[Item]:
        if not self.source.is_dir():
            raise SourceError(f"{self.source}: the folder is gone")
        try:
            return find_items([self.source], self.target, recursive=self.recursive, as_mp4=self.as_mp4)
        except SourceError:  # no clip yet
            return []


def watch_folder(
    watched: WatchedFolder,
    job: VideoJob,
    *,
    stop: threading.Event,
    on_progress: Callable[[Progress], None] = _ignore,
    on_warning: Callable[[str], None] = _ignore,
    on_note: Callable[[str], None] = _ignore,
    on_failure: Callable[[Path, Exception], str] = lambda _path, error: str(error),
    poll_s: float = _POLL_S,
) -> Iterator[VideoSummary]:
    """Deblur what appears in a folder, until `stop` is set.

    Args:
        watched: The folder.
        job: The user's choices, for every clip.
        stop: Ends the watch; of a long clip in work the finished segments are kept.
        on_progress: As for `deblur_video`.
        on_warning: As for `deblur_batch`.
        on_note: As for `deblur_batch`.
        on_failure: Told what went wrong with a clip; gives the sentence for the log.
        poll_s: Seconds between two looks at the folder.

    Yields:
        A summary after each clip.

    Raises:
        TargetError: If the disk is full, or the log cannot be written.
        WeightsError: If the weights cannot be loaded.

    """
    kept = KeptNetworks()
    while not stop.is_set():
        for changed in watched.outdated():
            told = f"has changed since it was deblurred; remove {changed.target}, and the clip is done again"
            watched.log(f"changed {changed.source.name}: {told}")
            on_warning(f"{changed.source.name}: {told}")
        item = next(iter(watched.whole()), None)
        if item is None:
            stop.wait(poll_s)
            continue
        failures: list[str] = []
        try:
            for made in deblur_batch(
                [item], job, on_progress=on_progress, on_warning=on_warning, on_note=on_note, stop=stop,
                kept=kept, on_failure=lambda path, error, into=failures: into.append(on_failure(path, error)),  # type: ignore[misc]
            ):  # fmt: skip
                if not isinstance(made, BatchSummary):
                    watched.done(item)
                    watched.log(f"done {item.source.name}: {item.target} is written, {made.num_frames} frames")
                    yield made
        except Interrupted as error:
            watched.log(f"stopped {item.source.name}: {error}")
        except SourceError:
            if not failures:
                raise
            watched.failed(item)
            watched.log(f"failed {item.source.name}: {failures[0]}")


def _state(path: Path) -> _State | None:
    try:
        told = path.stat()
    except OSError:  # gone in between
        return None
    return told.st_size, told.st_mtime_ns
