"""All clips of the studio: what is known of each, what is being done with it, and the queue."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concertdeblur.errors import ConcertDeblurError, TargetError, UsageError
from concertdeblur.pictures.formats import default_suffix
from concertdeblur.pipelines.video_batch import find_items
from concertdeblur.studio.pipes import Child, Message
from concertdeblur.studio.previews import Previews, Urgency
from concertdeblur.studio.records import Choices, ClipRecord, State
from concertdeblur.studio.workspace import ClipFolder, Workspace

TRIAL_S = 2
_WORKER = "concertdeblur.studio.worker"
_NICENESS = 5
_IS_AT_WORK = (State.WAITING, State.RUNNING, State.PAUSED)
_NO_PATIENCE_S = 1.0  # where nothing is kept anyway


class NoSuchClipError(ConcertDeblurError, LookupError):
    """A request names a clip that is not there."""

    def __init__(self) -> None:
        super().__init__("there is no such clip; it may have been removed in another tab")


@dataclass(kw_only=True, slots=True)
class _Live:
    """A clip while the studio runs."""

    record: ClipRecord
    folder: ClipFolder
    moment: dict[str, Any] | None = None  # the frame that is looked at
    num_moments: int = 0
    trial: dict[str, Any] | None = None  # two seconds
    copies: dict[str, str] = field(default_factory=dict)  # of "source" and "result": making, ready, or why not
    progress: dict[str, Any] | None = None
    worker: Child | None = None
    others: list[Child] = field(default_factory=list)  # that make trials and copies
    then: Callable[[], None] | None = None  # what comes once the worker has ended as it was asked to
    was_told: bool = False  # how the work ended


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
        self._live: dict[str, _Live] = {}
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
            live = self._live[record.clip_id] = _Live(record=record, folder=folder)
            self._remember_moment(live)
            for kind in ("source", "result"):
                if folder.view(f"{kind}.copy.mp4").is_file():
                    live.copies[kind] = "ready"
            self._changed()
            self._find_facts(live)

    def views(self) -> list[dict[str, Any]]:
        """Everything that the page shows, a clip each."""
        with self._lock:
            return [self._view(live) for live in self._live.values()]

    def source_of(self, clip_id: str, what: str) -> Path | None:
        """The file behind one thing that the page shows; None if there is none of that name."""
        with self._lock:
            live = self._of(clip_id)
            number = live.moment["number"] if live.moment else 0
            view = live.folder.view
            table = {
                "source": Path(live.record.source), "source-copy": view("source.copy.mp4"),
                "result-copy": view("result.copy.mp4"), "trial-before": view("trial.before.mp4"),
                "trial-after": view("trial.after.mp4"), "newest-before": view("newest.before.jpg"),
                "newest-after": view("newest.after.jpg"), "moment-before": view(f"moment-{number}.before.jpg"),
                "moment-after": view(f"moment-{number}.after.jpg"), "moment-heat": view(f"moment-{number}.heat.jpg"),
            }  # fmt: skip
            if live.record.result:
                table["result"] = Path(live.record.result)
        path = table.get(what)
        return path if path is not None and path.is_file() else None

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
                self._look(live, time_s, quality)

    def try_out(self, clip_id: str, *, start_s: float, choices: Choices) -> None:
        """Make two seconds, before and after."""
        with self._lock:
            live = self._of(clip_id)
            if live.trial and live.trial["state"] == "making":
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
                    trial.update(state="failed", error=self._worded(live, news.get("error", "")))
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

            def on_news(news: Message) -> None:
                if news["event"] in ("done", "failed"):
                    live.copies[of] = "ready" if news["event"] == "done" else self._worded(live, news["error"])
                    self._changed()

            self._begin_other(live, order, on_news, lambda: live.copies.update({of: "it ended unexpectedly"})
                              if live.copies.get(of) == "making" else None)  # fmt: skip

    def start(self, clip_id: str, choices: Choices) -> None:
        """Put a clip into the queue."""
        with self._lock:
            live = self._of(clip_id)
            record = live.record
            if record.state in (*_IS_AT_WORK, State.LOOKING) or not record.facts:
                return
            record.choices, record.error, record.warnings = choices, "", []
            record.result, record.summary = "", {}
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

    def _of(self, clip_id: str) -> _Live:
        live = self._live.get(clip_id)
        if live is None:
            raise NoSuchClipError
        return live

    def _changed(self) -> None:
        self.version += 1

    def _set(self, live: _Live, state: State) -> None:
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

    def _view(self, live: _Live) -> dict[str, Any]:
        record = live.record
        total = record.facts.get("num_frames") or 0
        return {
            "id": record.clip_id, "name": record.name, "state": record.state, "error": record.error,
            "facts": record.facts, "warnings": record.warnings, "quality": record.choices.quality,
            "strength": record.choices.strength, "moment": live.moment, "trial": live.trial, "copies": live.copies,
            "progress": live.progress, "is_ending": live.then is not None,
            "estimate_s": {quality: frame_s * total for quality, frame_s in record.frame_s.items()} if total else {},
            "result": Path(record.result).name if record.result else "",
            "result_bytes": record.summary.get("num_bytes"), "summary": record.summary.get("text", ""),
        }  # fmt: skip

    def _worded(self, live: _Live, text: str) -> str:
        """A sentence for the page, which knows clips by their names."""
        text = text.replace(live.record.source, live.record.name)
        return text.replace(f"{live.folder.out}/", "").replace(f"{live.folder.views}/", "")

    def _find_facts(self, live: _Live) -> None:
        if live.record.facts or live.record.state is not State.LOOKING:
            return

        def on_answer(facts: dict[str, Any]) -> None:
            with self._lock:
                live.record.facts = facts
                live.record.warnings = [self._worded(live, each) for each in facts.pop("warnings")]
                self._set(live, State.READY)
                self._look(live, (facts["duration_s"] or 0) / 2, live.record.choices.quality)

        def on_failure(error: str) -> None:
            with self._lock:
                live.record.error = self._worded(live, error)
                self._set(live, State.FAILED)

        order = {"order": "facts", "path": live.record.source}
        self._previews.want(live.record.clip_id, Urgency.FACTS, order, on_answer=on_answer, on_failure=on_failure)

    def _look(self, live: _Live, time_s: float, quality: str) -> None:
        live.num_moments += 1
        number = live.num_moments
        wish = {"number": number, "time_s": time_s, "quality": quality}
        shown = live.moment if live.moment and live.moment.get("boxes") is not None else None
        live.moment = {**(shown or {"number": 0}), "wanted": wish, "error": ""}
        stem = live.folder.view(f"moment-{number}")
        order = {
            "order": "moment", "path": live.record.source, "kind": live.record.facts["kind"], "time_s": time_s,
            "quality": quality, "is_interlaced": live.record.facts["is_interlaced"], "stem": str(stem),
        }  # fmt: skip

        def on_answer(facts: dict[str, Any]) -> None:
            with self._lock:
                wanted = self._wanted(live, number)
                live.moment = {**facts, "number": number, "quality": quality, "error": "", "wanted": wanted}
                live.record.moment = {**live.moment, "wanted": None}
                self._tidy_moments(live, number)
                if live.record.facts["kind"] == "picture":
                    live.record.frame_s[quality] = facts["elapsed_s"]
                self._set(live, live.record.state)
                self._measure(live)

        def on_failure(error: str) -> None:
            with self._lock:
                live.moment = {**(live.moment or {"number": 0}), "wanted": None, "error": self._worded(live, error)}
                self._changed()

        self._previews.want(live.record.clip_id, Urgency.MOMENT, order, on_answer=on_answer, on_failure=on_failure)
        self._changed()

    @staticmethod
    def _remember_moment(live: _Live) -> None:
        """Show the moment that an earlier run showed, if its pictures are still there."""
        moment = live.record.moment
        if moment and live.folder.view(f"moment-{moment['number']}.after.jpg").is_file():
            live.moment, live.num_moments = moment, moment["number"]

    @staticmethod
    def _wanted(live: _Live, number: int) -> dict[str, Any] | None:
        """What is still to come after a moment: a newer wish."""
        wish: dict[str, Any] | None = (live.moment or {}).get("wanted")
        return wish if wish is not None and wish["number"] > number else None

    @staticmethod
    def _tidy_moments(live: _Live, number: int) -> None:
        """Remove pictures of moments, but for the last two: a page may be loading the one before."""
        for path in live.folder.views.glob("moment-*.jpg"):
            with contextlib.suppress(ValueError, OSError):
                if int(path.name.split(".")[0].removeprefix("moment-")) not in (number, number - 1):
                    path.unlink()

    def _measure(self, live: _Live) -> None:
        """Find out how long the clip takes, while nothing else is at work."""
        record = live.record
        is_busy = any(other.record.state is State.RUNNING for other in self._live.values())
        if is_busy or record.facts.get("kind") != "clip":
            return
        for quality in ("best",) if self._networks.get("weights") else ("best", "fast"):
            if quality not in record.frame_s:
                order = {
                    "order": "pace", "path": record.source, "quality": quality,
                    "is_interlaced": record.facts["is_interlaced"],
                }  # fmt: skip
                self._previews.want(record.clip_id, Urgency.PACE, order, on_answer=self._measured(live, quality))

    def _measured(self, live: _Live, quality: str) -> Callable[[dict[str, Any]], None]:
        def on_answer(facts: dict[str, Any]) -> None:
            with self._lock:
                live.record.frame_s[quality] = facts["frame_s"]
                self._set(live, live.record.state)

        return on_answer

    def _job(self, choices: Choices) -> dict[str, Any]:
        """What `VideoJob` or `ImageJob` is told."""
        weights = self._networks.get("weights")
        chosen = {"weights": weights} if weights else {"quality": choices.quality}
        others = {name: value for name, value in self._networks.items() if name != "weights"}
        return {**others, **chosen, "strength": choices.strength}

    def _next(self) -> None:
        """Begin with the first clip that waits, if none is at work."""
        if self.is_closed or any(live.record.state is State.RUNNING for live in self._live.values()):
            return
        while self._queue:
            live = self._live.get(self._queue.pop(0))
            if live is not None and live.record.state is State.WAITING:
                self._set(live, State.RUNNING)
                if live.worker is not None:
                    live.worker.tell({"order": "resume"})
                else:
                    self._begin_work(live)
                return
        for live in self._live.values():
            if live.record.state is State.READY and live.moment is not None:
                self._measure(live)

    def _begin_work(self, live: _Live) -> None:
        live.was_told = False
        target = output_of(live.record, live.folder)
        order = {
            "work": live.record.facts["kind"], "target": str(target), "views": str(live.folder.views),
            "job": self._job(live.record.choices), "lock": str(live.folder.path / "work.lock"),
            "rotation_deg": live.record.facts["rotation_deg"],
        }  # fmt: skip
        live.worker = Child(
            _WORKER, lambda news: self._heard(live, target, news), lambda code: self._ended(live, code),
            niceness=_NICENESS,
        )  # fmt: skip
        live.worker.tell(self._order(live, order))

    @staticmethod
    def _order(live: _Live, order: Message) -> Message:
        record = live.record
        shared = {"order": "work", "source": record.source, "is_interlaced": record.facts["is_interlaced"]}
        return {**shared, "views": str(live.folder.views), **order}

    def _begin_other(
        self, live: _Live, order: Message, on_news: Callable[[Message], None], on_no_news: Callable[[], object]
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

    def _heard(self, live: _Live, target: Path, news: Message) -> None:
        with self._lock:
            record, event = live.record, news["event"]
            if live.then is not None:
                return
            if event == "progress":
                live.progress = news
                self._changed()
            elif event == "warning":
                record.warnings.append(self._worded(live, news["message"]))
                self._changed()
            elif event == "done":
                live.was_told, record.result = True, str(target)
                summary = {**news["summary"], "num_bytes": target.stat().st_size}
                record.summary = {**summary, "text": self._worded(live, summary["text"])}
                self._set(live, State.DONE)
            elif event == "failed":
                live.was_told, record.error = True, self._worded(live, news["error"])
                self._set(live, State.FAILED)

    def _ended(self, live: _Live, _code: int) -> None:
        with self._lock:
            live.worker = None
            if self.is_closed:
                return
            if live.then is not None:
                then, live.then = live.then, None
                then()
            elif not live.was_told:
                live.record.error = "the work ended unexpectedly; maybe there is not enough memory"
                self._set(live, State.FAILED)
            self._next()

    def _stop(self, live: _Live, then: Callable[[], None]) -> None:
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

    def _given_up(self, live: _Live) -> None:
        _empty(live.folder.out)
        live.progress = None
        self._set(live, State.READY)

    def _dropped(self, live: _Live) -> None:
        self._live.pop(live.record.clip_id, None)
        self._workspace.drop(live.record.clip_id)
        self._changed()


def output_of(record: ClipRecord, folder: ClipFolder) -> Path:
    """Where the output of a clip goes: the name that `video` or `image` would give it in a folder."""
    source = Path(record.source)
    if record.facts["kind"] == "picture":
        return folder.out / f"{source.stem}.deblurred{default_suffix(source)}"
    written = find_items((source,), folder.out)[0].target
    return written.with_name(f"{written.stem}.deblurred{written.suffix}")


def _empty(folder: Path) -> None:
    for path in _inside(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _inside(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from list(folder.iterdir())
