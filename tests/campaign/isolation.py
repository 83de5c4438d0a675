"""One case in a process of its own, with limits on time and memory.

The process is forked from this one, where everything is imported already: a case takes milliseconds to start. How it
ends is part of what is tested: a process that dies or hangs is the finding.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 2**20
_PAGE_BYTES = resource.getpagesize()
_DUMPED_EARLIER_S = 2.0  # than the end of a process that hangs


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a case may take."""

    wall_s: float = 90.0  # a machine that does other things, too
    cpu_s: int = 30
    memory_bytes: int = 1536 * MIB  # beside what the forked process has from the start
    num_files: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a case ended."""

    result: Any  # what it gave; None if it did not come so far
    signal: int  # that ended it, 0 if none did
    is_hanging: bool  # it had to be killed
    stdout: str
    stderr: str
    wall_s: float
    peak_bytes: int

    @property
    def death(self) -> str:
        """Why it did not come to its end, in words; empty if it did."""
        if self.is_hanging:
            return "hang"
        if self.signal:
            return f"crash ({signal.Signals(self.signal).name})"
        return "" if self.result is not None else "crash (process gone)"


class Forked:
    """A case that is running: wait for it, or kill it."""

    def __init__(self, act: Callable[[], Any], folder: Path, limits: Limits) -> None:
        """Begin.

        Args:
            act: What to do there; gives what JSON can hold.
            folder: Takes what it writes to standard output and error, and its result.
            limits: What it may take.

        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limits, self._started_s = folder, limits, time.monotonic()
        for name in ("stdout", "stderr"):  # there even if it is killed at once
            (folder / name).write_bytes(b"")
        (folder / "result.json").unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _live(act, folder, limits)
        self._watch = os.pidfd_open(self.pid)

    def has_ended(self, within_s: float) -> bool:
        """Whether it ends in that time."""
        return bool(select.select([self._watch], [], [], max(0.0, within_s))[0])

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory ends."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Its end, within its limits."""
        is_hanging = not self.has_ended(self._started_s + self._limits.wall_s - time.monotonic())
        if is_hanging:
            self.kill()
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self._watch)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        result = self._folder / "result.json"
        return Ended(
            result=json.loads(result.read_text()) if result.exists() and not number else None,
            signal=0 if is_hanging else number,
            is_hanging=is_hanging or number == signal.SIGXCPU,
            stdout=(self._folder / "stdout").read_text(errors="replace"),
            stderr=(self._folder / "stderr").read_text(errors="replace"),
            wall_s=time.monotonic() - self._started_s,
            peak_bytes=usage.ru_maxrss * 1024,
        )


def warm() -> None:
    """Import what cases need, once, before the first is forked; torch alone takes seconds."""
    import concertdeblur.pipelines.build_dataset
    import concertdeblur.pipelines.deblur_image
    import concertdeblur.pipelines.deblur_video
    import concertdeblur.pipelines.image_batch
    import concertdeblur.pipelines.train
    import concertdeblur.pretrained  # noqa: F401

    for name in ("scenedetect", "yt_dlp", "fastapi", "uvicorn"):  # extras
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def isolated(act: Callable[[], Any], folder: Path, limits: Limits | None = None) -> Ended:
    """Do something in a process of its own, and see how that ends."""
    return Forked(act, folder, limits or Limits()).wait()


def _live(act: Callable[[], Any], folder: Path, limits: Limits) -> None:
    """The forked process: never returns."""
    code = 1
    try:
        os.setsid()
        for number, name in ((1, "stdout"), (2, "stderr")):
            descriptor = os.open(folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
            os.dup2(descriptor, number)
            os.close(descriptor)
        faulthandler.enable(file=2)
        faulthandler.dump_traceback_later(max(1.0, limits.wall_s - _DUMPED_EARLIER_S), file=2)  # a thread
        _limit(limits)
        warnings.simplefilter("ignore")  # as `main` of the command line does
        result = act()
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "result.json").write_text(json.dumps(result))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit(limits: Limits) -> None:
    here_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (here_bytes + limits.memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.num_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits.num_files,) * 2)


def command(*args: object) -> Callable[[], dict[str, int]]:
    """`concertdeblur` with these arguments, to be done in an isolated process; gives its exit code."""

    def act() -> dict[str, int]:
        from concertdeblur.cli.program import cli

        try:
            cli.main([str(arg) for arg in args])
        except SystemExit as ended:
            return {"code": int(ended.code or 0)}
        return {"code": 0}

    return act
