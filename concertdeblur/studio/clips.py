"""All clips of the studio: what is known of each, what is being done with it, and the queue."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from concertdeblur.errors import ConcertDeblurError, TargetError, UsageError
from concertdeblur.studio.live import LiveClip
from concertdeblur.studio.looks import Looks
from concertdeblur.studio.pipes import Child, Message
from concertdeblur.studio.previews import Previews
from concertdeblur.studio.records import Choices, ClipRecord, State
from concertdeblur.studio.workspace import Workspace

TRIAL_S = 2
_WORKER = "concertdeblur.studio.worker"
_NICENESS = 5
_IS_AT_WORK = (State.WAITING, State.RUNNING, State.PAUSED)
_NO_PATIENCE_S = 1.0  # where nothing is kept anyway


class NoSuchClipError(ConcertDeblurError, LookupError):
    """A request names a clip that is not there."""

    def __init__(self) -> None:
        super().__init__("there is no such clip; it may have been removed in another tab")


class Clips:
    """Every clip; safe for several threads.

    Args:
        workspace: Where they are kept, locked.
        networks: What deblurs, as `previewing.Networks` takes it.
    """

    def __init__(self, workspace: Workspace, networks: dict[str, Any]) -> None:
        self._workspace, self._networks = workspace, networks
        self._previews = Previews(networks)
        self._lock = threading.RLock()
        qualities = ("best",) if networks.get("weights") else ("best", "fast")
        self._looks = Looks(self._previews, self._lock, self._set, self._is_busy, qualities)
        self._live: dict[str, LiveClip] = {}
        self._queue: list[str] = []
        self.version = 0  # grows with every change
        self.is_closed = False

    def begin(self) -> None:
        """Take up what is in the workspace, and go on with the work that was in hand."""
        self._workspace.drop_remains()
        self._previews.begin()
        with self._lock:
            self._take_up()
            running = [one for one in self._live.values() if one.record.state is State.RUNNING]
            waiting = [one for one in self._live.values() if one.record.state is State.WAITING]
            for live in running:
                self._set(live, State.WAITING)
            self._queue = [live.record.clip_id for live in (*running, *waiting)]
            self._next()

    def look_for_new(self) -> None:
        """Take up clips that a second call of the command has put into the workspace."""
        with self._lock:
            self._take_up()

    def add(self, record: ClipRecord) -> None:
        """Take up a clip; one that is here already stays as it is."""
        with self._lock:
            if record.clip_id in self._live:
                return
            folder = self._workspace.clip_folder(record.clip_id)
            live = self._live[record.clip_id] = LiveClip(record=record, folder=folder)
            live.remember()
            self._changed()
            self._looks.find_facts(live)

    def views(self) -> list[dict[str, Any]]:
        """Everything that the page shows, a clip each."""
        with self._lock:
            return [live.shown() for live in self._live.values()]

    def source_of(self, clip_id: str, what: str) -> Path | None:
        """The file behind one thing that the page shows; None if there is none of that name."""
        with self._lock:
            return self._of(clip_id).file_of(what)

    def look(self, clip_id: str, *, time_s: float, quality: str) -> None:
        """Show what a moment will become.

        Raises:
            NoSuchClipError: If it is not there.
            UsageError: If the quality is none.

        """
        Choices(quality=quality)
        with self._lock:
            live = self._of(clip_id)
            if live.record.facts:
                self._looks.look(live, time_s, quality)

    def try_out(self, clip_id: str, *, start_s: float, choices: Choices) -> None:
        """Make two seconds, before and after."""
        with self._lock:
            live = self._of(clip_id)
            if not live.record.facts or (live.trial and live.trial["state"] == "making"):
                return
            trial = live.trial = {
                "state": "making", "start_s": start_s, "progress": None, "error": "", "number": self.version,
                "quality": choices.quality, "strength": choices.strength,
            }  # fmt: skip
            order = {
                "work": "trial", "target": str(live.folder.view("trial")), "start_s": max(0.0, start_s),
                "length_s": TRIAL_S, "job": self._job(choices), "lock": str(live.folder.path / "trial.lock"),
            }  # fmt: skip

            def on_news(news: Message) -> None:
                if news["event"] == "progress":
                    trial["progress"] = news
                elif news["event"] == "done":
                    trial["state"] = "ready"
                elif news["event"] in ("failed", "stopped"):
                    trial.update(state="failed", error=live.worded(news.get("error", "")))
                self._changed()

            self._begin_other(live, order, on_news, lambda: trial.get("state") == "making" and trial.update(
                state="failed", error="it ended unexpectedly; maybe there is not enough memory"))  # fmt: skip

    def make_copy(self, clip_id: str, of: str) -> None:
        """Make a small copy that every browser plays of the source or the result.

        Raises:
            UsageError: If it is asked for something else.

        """
        if of not in ("source", "result"):
            raise UsageError("a copy for viewing is made of the source or of the result")
        with self._lock:
            live = self._of(clip_id)
            source = self.source_of(clip_id, of)
            if source is None or live.record.facts.get("kind") != "clip" or live.copies.get(of) in ("making", "ready"):
                return
            live.copies[of] = "making"
            target = live.folder.view(f"{of}.copy.mp4")
            lock = str(live.folder.path / f"{of}.copy.lock")
            order = {"work": "copy", "source": str(source), "target": str(target), "lock": lock}
            number = live.num_starts

            def is_wanted() -> bool:
                return of == "source" or live.num_starts == number

            def on_news(news: Message) -> None:
                if news["event"] not in ("done", "failed"):
                    return
                if is_wanted():
                    live.copies[of] = "ready" if news["event"] == "done" else live.worded(news["error"])
                elif live.copies.get(of) is None:  # of a result that has been made again; a newer copy replaces it
                    target.unlink(missing_ok=True)
                self._changed()

            self._begin_other(live, order, on_news, lambda: live.copies.update({of: "it ended unexpectedly"})
                              if is_wanted() and live.copies.get(of) == "making" else None)  # fmt: skip

    def start(self, clip_id: str, choices: Choices) -> None:
        """Put a clip into the queue."""
        with self._lock:
            live = self._of(clip_id)
            record = live.record
            if record.state in (*_IS_AT_WORK, State.LOOKING) or not record.facts:
                return
            record.choices, record.error, record.warnings = choices, "", []
            record.result, record.summary = "", {}
            live.num_starts += 1
            live.copies.pop("result", None)
            live.folder.view("result.copy.mp4").unlink(missing_ok=True)
            live.progress = None
            self._queue.append(clip_id)
            self._set(live, State.WAITING)
            self._next()

    def pause(self, clip_id: str) -> None:
        """Let a clip rest where it is; those that wait for it do so on."""
        with self._lock:
            live = self._of(clip_id)
            if live.record.state not in (State.WAITING, State.RUNNING):
                return
            if clip_id in self._queue:
                self._queue.remove(clip_id)
            if live.worker is not None:
                live.worker.tell({"order": "pause"})
            self._set(live, State.PAUSED)

    def resume(self, clip_id: str) -> None:
        """Go on with a paused clip, after those that are at work."""
        with self._lock:
            live = self._of(clip_id)
            if live.record.state is State.PAUSED:
                self._queue.insert(0, clip_id)
                self._set(live, State.WAITING)
                self._next()

    def cancel(self, clip_id: str) -> None:
        """Give a clip's work up; nothing of it is kept."""
        with self._lock:
            live = self._of(clip_id)
            if live.record.state in _IS_AT_WORK:
                self._stop(live, lambda: self._given_up(live))

    def drop(self, clip_id: str) -> None:
        """Remove a clip from the studio; a file that is read where it lies stays."""
        with self._lock:
            live = self._of(clip_id)
            self._previews.forget(clip_id)
            for other in live.others:
                threading.Thread(target=other.end, args=(_NO_PATIENCE_S,)).start()
            self._stop(live, lambda: self._dropped(live))

    def close(self) -> None:
        """End all processes; the work in hand stays at work in its record, and the next start goes on with it."""
        with self._lock:
            self.is_closed = True
            self.version += 1
            workers = [live.worker for live in self._live.values() if live.worker is not None]
            others = [other for live in self._live.values() for other in live.others]
        threads = [threading.Thread(target=one.end) for one in workers]
        threads += [threading.Thread(target=one.end, args=(_NO_PATIENCE_S,)) for one in others]
        threads.append(threading.Thread(target=self._previews.close))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _take_up(self) -> None:
        for record in self._workspace.records():
            self.add(record)

    def _of(self, clip_id: str) -> LiveClip:
        live = self._live.get(clip_id)
        if live is None:
            raise NoSuchClipError
        return live

    def _is_busy(self) -> bool:
        return any(live.record.state is State.RUNNING for live in self._live.values())

    def _changed(self) -> None:
        self.version += 1

    def _set(self, live: LiveClip, state: State) -> None:
        live.record.state = state
        self._changed()
        if live.record.clip_id not in self._live:
            return
        try:
            live.record.save(live.folder.path)
        except TargetError as error:  # the work itself goes on; a full disk ends it where it must
            told = f"the state of this clip is not kept ({error}); make room on the disk"
            if told not in live.record.warnings:
                live.record.warnings.append(told)

    def _job(self, choices: Choices) -> dict[str, Any]:
        """What `VideoJob` or `ImageJob` is told."""
        weights = self._networks.get("weights")
        chosen = {"weights": weights} if weights else {"quality": choices.quality}
        others = {name: value for name, value in self._networks.items() if name != "weights"}
        return {**others, **chosen, "strength": choices.strength}

    def _next(self) -> None:
        """Begin with the first clip that waits, if none is at work."""
        if self.is_closed or self._is_busy():
            return
        while self._queue:
            live = self._live.get(self._queue.pop(0))
            if live is not None and live.record.state is State.WAITING:
                self._set(live, State.RUNNING)
                if live.worker is None:
                    self._begin_work(live)
                elif not live.was_told:  # else its process is on its way out, and `_ended` begins the next
                    live.worker.tell({"order": "resume"})
                return
        for live in self._live.values():
            if live.record.state is State.READY and live.moment is not None:
                self._looks.measure(live)

    def _begin_work(self, live: LiveClip) -> None:
        live.was_told = False
        target = live.output()
        order = {
            "work": live.record.facts["kind"], "target": str(target), "views": str(live.folder.views),
            "job": self._job(live.record.choices), "lock": str(live.folder.path / "work.lock"),
        }  # fmt: skip
        live.worker = Child(
            _WORKER, lambda news: self._heard(live, target, news), lambda code: self._ended(live, code),
            niceness=_NICENESS,
        )  # fmt: skip
        live.worker.tell(self._order(live, order))

    @staticmethod
    def _order(live: LiveClip, order: Message) -> Message:
        record = live.record
        shared = {"order": "work", "source": record.source, "is_interlaced": record.facts["is_interlaced"],
                  "is_hdr": record.facts.get("is_hdr", False)}  # fmt: skip
        return {**shared, "views": str(live.folder.views), **order}

    def _begin_other(
        self, live: LiveClip, order: Message, on_news: Callable[[Message], None], on_no_news: Callable[[], object]
    ) -> None:
        def on_end(_code: int) -> None:
            with self._lock:
                live.others.remove(child)
                on_no_news()
                self._changed()

        def heard(news: Message) -> None:
            with self._lock:
                on_news(news)

        child = Child(_WORKER, heard, on_end, niceness=_NICENESS)
        live.others.append(child)
        child.tell(self._order(live, order))
        self._changed()

    def _heard(self, live: LiveClip, target: Path, news: Message) -> None:
        with self._lock:
            record, event = live.record, news["event"]
            if live.then is not None:
                return
            if event == "progress":
                live.progress = news
                self._changed()
            elif event == "warning":
                record.warnings.append(live.worded(news["message"]))
                self._changed()
            elif event == "done":
                live.was_told, record.result = True, str(target)
                summary = {**news["summary"], "num_bytes": target.stat().st_size}
                record.summary = {**summary, "text": live.worded(summary["text"])}
                self._set(live, State.DONE)
            elif event == "failed":
                live.was_told, record.error = True, live.worded(news["error"])
                self._set(live, State.FAILED)

    def _ended(self, live: LiveClip, _code: int) -> None:
        with self._lock:
            live.worker = None
            if live.then is not None:  # also when the studio is being closed: who removed a clip wants it gone
                then, live.then = live.then, None
                then()
            elif self.is_closed:
                return
            elif not live.was_told:
                live.record.error = "the work ended unexpectedly; maybe there is not enough memory"
                self._set(live, State.FAILED)
            elif live.record.state is State.RUNNING:  # it was started again while the process was ending
                self._begin_work(live)
            self._next()

    def _stop(self, live: LiveClip, then: Callable[[], None]) -> None:
        """End the clip's work, and do something after it."""
        if live.record.clip_id in self._queue:
            self._queue.remove(live.record.clip_id)
        if live.worker is None:
            then()
            self._next()
            return
        live.then = then
        self._changed()
        threading.Thread(target=live.worker.end, args=(_NO_PATIENCE_S,)).start()

    def _given_up(self, live: LiveClip) -> None:
        _empty(live.folder.out)
        live.progress = None
        self._set(live, State.READY)

    def _dropped(self, live: LiveClip) -> None:
        self._live.pop(live.record.clip_id, None)
        self._workspace.drop(live.record.clip_id)
        self._changed()


def _empty(folder: Path) -> None:
    for path in _inside(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _inside(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from list(folder.iterdir())
