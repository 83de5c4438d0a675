"""One clip while the studio runs: its record, what is being made of it, and what the page shows of it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concertdeblur.pipelines.image_batch import MARK, written_name
from concertdeblur.pipelines.video_batch import find_items
from concertdeblur.studio.pipes import Child
from concertdeblur.studio.records import ClipRecord
from concertdeblur.studio.workspace import ClipFolder, in_unicode, shortened


@dataclass(kw_only=True, slots=True)
class LiveClip:
    """A clip; not thread-safe: `clips` holds its lock."""

    record: ClipRecord
    folder: ClipFolder
    moment: dict[str, Any] | None = None  # the frame that is looked at
    num_moments: int = 0
    trial: dict[str, Any] | None = None  # two seconds
    copies: dict[str, str] = field(default_factory=dict)  # of "source" and "result": making, ready, or why not
    num_starts: int = 0  # of its work: a result is made again with other settings under the same name
    progress: dict[str, Any] | None = None
    worker: Child | None = None
    others: list[Child] = field(default_factory=list)  # that make trials and copies
    then: Callable[[], None] | None = None  # what comes once the worker has ended as it was asked to
    was_told: bool = False  # how the work ended

    def remember(self) -> None:
        """Take up what an earlier run made to be looked at, as far as it is still there."""
        moment = self.record.moment
        if moment and self.folder.view(f"moment-{moment['number']}.after.jpg").is_file():
            self.moment, self.num_moments = moment, moment["number"]
        for kind in ("source", "result"):
            if self.folder.view(f"{kind}.copy.mp4").is_file():
                self.copies[kind] = "ready"

    def shown(self) -> dict[str, Any]:
        """What the page shows."""
        record = self.record
        total = record.facts.get("num_frames") or 0
        return {
            "id": record.clip_id, "name": record.name, "state": record.state, "error": record.error,
            "facts": record.facts, "warnings": record.warnings, "quality": record.choices.quality,
            "strength": record.choices.strength, "moment": self.moment, "trial": self.trial, "copies": self.copies,
            "progress": self.progress, "is_ending": self.then is not None,
            "frame_s": record.frame_s,
            "estimate_s": {quality: frame_s * total for quality, frame_s in record.frame_s.items()} if total else {},
            "result": in_unicode(Path(record.result).name) if record.result else "", "result_number": self.num_starts,
            "result_bytes": record.summary.get("num_bytes"), "summary": record.summary.get("text", ""),
        }  # fmt: skip

    def file_of(self, what: str) -> Path | None:
        """The file behind one thing that the page shows; None if there is none of that name."""
        number = self.moment["number"] if self.moment else 0
        view = self.folder.view
        table = {
            "source": Path(self.record.source), "source-copy": view("source.copy.mp4"),
            "result-copy": view("result.copy.mp4"), "trial-before": view("trial.before.mp4"),
            "trial-after": view("trial.after.mp4"), "newest-before": view("newest.before.jpg"),
            "newest-after": view("newest.after.jpg"), "moment-before": view(f"moment-{number}.before.jpg"),
            "moment-after": view(f"moment-{number}.after.jpg"), "moment-heat": view(f"moment-{number}.heat.jpg"),
        }  # fmt: skip
        if self.record.result:
            table["result"] = Path(self.record.result)
        path = table.get(what)
        return path if path is not None and path.is_file() else None

    def worded(self, text: str) -> str:
        """A sentence for the page, which knows clips by their names."""
        text = text.replace(self.record.source, self.record.name)
        return in_unicode(text.replace(f"{self.folder.out}/", "").replace(f"{self.folder.views}/", ""))

    def output(self) -> Path:
        """Where the output goes: the name that `video` or `image` would give it beside its input, if it is not long."""
        source = Path(self.record.source)
        source = source.with_name(shortened(source.name))
        if self.record.facts["kind"] == "picture":
            return self.folder.out / written_name(source, mark=MARK)
        return self.folder.out / find_items((source,), None)[0].target.name

    def wanted_after(self, number: int) -> dict[str, Any] | None:
        """The moment that is still to come after one; None if there is none."""
        wish: dict[str, Any] | None = (self.moment or {}).get("wanted")
        return wish if wish is not None and wish["number"] > number else None

    def tidy_moments(self, number: int) -> None:
        """Remove pictures of moments, but for the last two: a page may be loading the one before."""
        for path in self.folder.views.glob("moment-*.jpg"):
            with contextlib.suppress(ValueError, OSError):
                if int(path.name.split(".")[0].removeprefix("moment-")) not in (number, number - 1):
                    path.unlink()
