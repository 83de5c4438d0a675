"""How the studio and its processes talk: one JSON object a line, orders on standard input, news on standard output.

A process whose standard input ends is to end itself: so none outlives its studio, however that ended.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

Message = dict[str, Any]

_PATIENCE_S = 20.0  # for the frame in hand and the files of a segment


class Child:
    """One process of the studio, seen from the studio.

    Args:
        module: What it runs, as `python -m`.
        on_news: Called with each thing it tells, from a thread of its own.
        on_end: Called once, from the same thread, with its exit code.
        niceness: How far it stands back for others: the page has to answer while networks run.
    """

    def __init__(
        self, module: str, on_news: Callable[[Message], None], on_end: Callable[[int], None], *, niceness: int = 0
    ) -> None:
        self._on_news, self._on_end = on_news, on_end
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", module, str(niceness)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name=f"news of {module}", daemon=True)
        self._thread.start()

    def tell(self, message: Message) -> None:
        """Give an order; one that has ended hears nothing."""
        assert self._process.stdin is not None
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def ask_to_end(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def end(self, patience_s: float = _PATIENCE_S) -> None:
        """Ask it to end, wait, and end it by force if it does not; `on_end` has been called then."""
        self.ask_to_end()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._on_news(json.loads(line))
        finally:  # whatever happens to what it tells, its end is noticed
            self.ask_to_end()
            self._process.stdout.close()
            self._on_end(self._process.wait())


class Studio:
    """The studio, seen from one of its processes.

    Args:
        on_order: Called with each order, from a thread of its own.
        on_gone: Called once there will be no more orders: the studio has ended, or wants this process to end.
    """

    def __init__(self, on_order: Callable[[Message], None], on_gone: Callable[[], None]) -> None:
        self._on_order, self._on_gone = on_order, on_gone
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what libraries print is no news
        self._writing = threading.Lock()
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def tell(self, event: str, **facts: Any) -> None:
        """Tell the studio something; one that has gone hears nothing."""
        line = json.dumps({"event": event, **facts}, default=str) + "\n"
        with self._writing, contextlib.suppress(OSError):
            self._out.write(line)
            self._out.flush()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._on_order(json.loads(line))
        self._on_gone()


def stand_back() -> None:
    """Take the niceness that the studio gave this process."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        os.nice(int(sys.argv[1]))
