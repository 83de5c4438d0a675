"""What the previewing process finds out about a clip: its facts, what a moment will become, how long it takes."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from concertdeblur.studio.live import LiveClip
from concertdeblur.studio.previews import Previews, Urgency
from concertdeblur.studio.records import State


class Looks:
    """Asks for what the page shows before any work; `clips` holds the lock when it calls.

    Args:
        previews: The previewing process.
        lock: Of all clips; answers come from other threads.
        set_state: Puts a clip into a state, the one it is in as well, and keeps its record.
        is_busy: Whether some clip is at work, so that nothing can be timed.
        qualities: What is timed.
    """

    def __init__(
        self, previews: Previews, lock: threading.RLock, set_state: Callable[[LiveClip, State], None],
        is_busy: Callable[[], bool], qualities: Sequence[str],
    ) -> None:  # fmt: skip
        self._previews, self._lock, self._set = previews, lock, set_state
        self._is_busy, self._qualities = is_busy, qualities

    def find_facts(self, live: LiveClip) -> None:
        """Find the facts of a new clip, then show its middle."""
        if live.record.facts or live.record.state is not State.LOOKING:
            return

        def on_answer(facts: dict[str, Any]) -> None:
            with self._lock:
                live.record.facts = facts
                live.record.warnings = [live.worded(each) for each in facts.pop("warnings")]
                self._set(live, State.READY)
                self.look(live, (facts["duration_s"] or 0) / 2, live.record.choices.quality)

        def on_failure(error: str) -> None:
            with self._lock:
                live.record.error = live.worded(error)
                self._set(live, State.FAILED)

        order = {"order": "facts", "path": live.record.source}
        self._previews.want(live.record.clip_id, Urgency.FACTS, order, on_answer=on_answer, on_failure=on_failure)

    def look(self, live: LiveClip, time_s: float, quality: str) -> None:
        """Show what a moment will become."""
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
                wanted = live.wanted_after(number)
                live.moment = {**facts, "number": number, "quality": quality, "error": "", "wanted": wanted}
                live.record.moment = {**live.moment, "wanted": None}
                live.tidy_moments(number)
                if live.record.facts["kind"] == "picture":
                    live.record.frame_s[quality] = facts["elapsed_s"]
                self._set(live, live.record.state)
                self.measure(live)

        def on_failure(error: str) -> None:
            with self._lock:
                live.moment = {**(live.moment or {"number": 0}), "wanted": None, "error": live.worded(error)}
                self._set(live, live.record.state)

        self._previews.want(live.record.clip_id, Urgency.MOMENT, order, on_answer=on_answer, on_failure=on_failure)
        self._set(live, live.record.state)

    def measure(self, live: LiveClip) -> None:
        """Find out how long the clip takes, unless that is known or something is at work."""
        record = live.record
        if self._is_busy() or record.facts.get("kind") != "clip":
            return
        for quality in self._qualities:
            if quality not in record.frame_s:
                order = {
                    "order": "pace", "path": record.source, "quality": quality,
                    "is_interlaced": record.facts["is_interlaced"],
                }  # fmt: skip
                self._previews.want(record.clip_id, Urgency.PACE, order, on_answer=self._measured(live, quality))

    def _measured(self, live: LiveClip, quality: str) -> Callable[[dict[str, Any]], None]:
        def on_answer(facts: dict[str, Any]) -> None:
            with self._lock:
                live.record.frame_s[quality] = facts["frame_s"]
                self._set(live, live.record.state)

        return on_answer
