"""Who asks the previewing process: one thing after the other, what is looked at before what is measured."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from concertdeblur.studio.pipes import Child, Message

_MODULE = "concertdeblur.studio.previewer"


class Urgency(IntEnum):
    """What comes first."""

    FACTS = 0
    MOMENT = 1
    PACE = 2  # is put off when something else is wanted


@dataclass(frozen=True, slots=True)
class _Wish:
    urgency: Urgency
    order: Message
    on_answer: Callable[[dict[str, Any]], None]
    on_failure: Callable[[str], None]


class Previews:
    """The previewing process and what is wanted of it; safe for several threads.

    Args:
        networks: What deblurs, as `previewing.Networks` takes it.
    """

    def __init__(self, networks: dict[str, Any]) -> None:
        self._networks = networks
        self._lock = threading.RLock()
        self._tickets = itertools.count(1)
        self._child: Child | None = None
        self._asked: dict[int, tuple[tuple[str, str], _Wish]] = {}  # by ticket: what the process has in hand
        self._wanted: dict[tuple[str, str], _Wish] = {}
        self._is_closed = False

    def begin(self) -> None:
        """Start the process, so that it has loaded what it needs when the first clip comes."""
        with self._lock:
            if self._child is None and not self._is_closed:
                self._child = Child(_MODULE, self._heard, self._ended)
                self._child.tell({"order": "networks", "networks": self._networks})

    def want(
        self, clip_id: str, urgency: Urgency, order: Message, *, on_answer: Callable[[dict[str, Any]], None],
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Ask for something; what was wanted of the same kind for the same clip is forgotten unless it is in hand.

        Args:
            clip_id: Of the clip.
            urgency: Its kind.
            order: What the process is told, without its ticket.
            on_answer: Called with the answer, from another thread.
            on_failure: Called with a sentence instead.

        """
        with self._lock:
            kind = f"{urgency}{order.get('quality', '')}" if urgency is Urgency.PACE else str(urgency)
            self._wanted[clip_id, kind] = _Wish(urgency, order, on_answer, on_failure)
            self._send()

    def forget(self, clip_id: str) -> None:
        """Want nothing more for a clip."""
        with self._lock:
            self._wanted = {key: wish for key, wish in self._wanted.items() if key[0] != clip_id}

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._is_closed = True
            self._wanted.clear()
            child = self._child
        if child is not None:
            child.end(patience_s=3)

    def _send(self) -> None:
        """Hand the most urgent wish over if the process is idle, or measures and would put that off."""
        if self._is_closed or not self._wanted:
            return
        most = min(self._wanted, key=lambda key: self._wanted[key].urgency)
        wish = self._wanted[most]
        if any(other.urgency <= max(wish.urgency, Urgency.MOMENT) for _, other in self._asked.values()):
            return
        if self._asked and wish.urgency is Urgency.PACE:
            return
        self.begin()
        assert self._child is not None
        del self._wanted[most]
        ticket = next(self._tickets)
        self._asked[ticket] = (most, wish)
        self._child.tell({**wish.order, "ticket": ticket})

    def _heard(self, news: Message) -> None:
        with self._lock:
            key, wish = self._asked.pop(news["ticket"])
            if news["event"] == "put off":
                self._wanted.setdefault(key, wish)
            self._send()
        if news["event"] == "answer":
            wish.on_answer(news["facts"])
        elif news["event"] == "failed":
            wish.on_failure(news["error"])

    def _ended(self, _code: int) -> None:
        with self._lock:
            failed, self._asked, self._child = list(self._asked.values()), {}, None
        for _, wish in failed:
            wish.on_failure("the preview ended unexpectedly; maybe there is not enough memory")
        with self._lock:
            self._send()
