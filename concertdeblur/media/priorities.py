"""Takes back the real-time priority that some encoders give themselves.

SVT-AV1, run as root (in a container, say), gives its threads and the thread that opens it Linux's highest real-time
priority, and every thread made later inherits it. Threads of ordinary priority then hardly run, and networks that wait
for one of theirs wait for ever.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def keeping_priorities() -> Iterator[None]:
    """Restore, at the end of the block, the scheduling policy of every thread; new threads get this thread's."""
    if sys.platform != "linux":
        yield
        return
    before = {thread: _policy(thread) for thread in _threads(os.getpid())}
    usual = _policy(0)
    try:
        yield
    finally:
        for thread in _threads(os.getpid()):
            _set_policy(thread, before.get(thread) or usual)


def lend_priority(pid: int) -> None:
    """Give every thread of another process this thread's scheduling policy."""
    if sys.platform == "linux":
        for thread in _threads(pid):
            _set_policy(thread, _policy(0))


if sys.platform == "linux":

    def _threads(pid: int) -> list[int]:
        try:
            return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
        except OSError:  # ended, or no /proc
            return []

    def _policy(thread: int) -> tuple[int, int] | None:
        """Policy and real-time priority; 0 is the calling thread."""
        try:
            return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
        except OSError:  # ended meanwhile
            return None

    def _set_policy(thread: int, wanted: tuple[int, int] | None) -> None:
        if wanted is not None and _policy(thread) not in (wanted, None):
            with contextlib.suppress(OSError):  # it has ended; or this is forbidden, but then so was raising it
                os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))
