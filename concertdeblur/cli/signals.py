"""Signals that ask a run to end: Ctrl-C, SIGTERM, a closed terminal."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from concertdeblur.errors import Interrupted


@contextmanager
def stop_on_signals(
    *, silent: bool, piece: str = "frame", lost: str = "the output is not written"
) -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into a set event; a second SIGINT interrupts at once.

    Args:
        silent: Do not tell a terminal that the piece in hand is finished first.
        piece: What is finished first.
        lost: What comes of the work if it is interrupted at once.

    Raises:
        Interrupted: After a second SIGINT.

    """
    stop, has_come, is_cut = threading.Event(), False, False

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal has_come, is_cut
        if not has_come:
            has_come = True
            stop.set()
            if number == signal.SIGINT and not silent and sys.stderr.isatty():
                # past Python's buffers, which the interrupted code may be writing to just now
                told = f"\r\x1b[KStopping after this {piece}; Ctrl-C again ends at once.\n"
                os.write(sys.stderr.fileno(), told.encode())
        elif number == signal.SIGINT:
            is_cut = True
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third one ends even what hangs in C code
            raise KeyboardInterrupt

    with _handling(on_signal):
        try:
            yield stop
        except Interrupted:
            raise
        except BaseException as error:
            # compiled callers make other errors of a KeyboardInterrupt; and Ctrl-C in a terminal ends the ffmpeg
            # program that we write to, which fails the run before the stop is seen
            if is_cut or has_come:
                at_once = " at once" if is_cut else ""
                raise Interrupted(f"stopped{at_once}; {lost}") from error
            raise


@contextmanager
def interrupt_on_signals() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end a short job where it is.

    Raises:
        Interrupted: After any of them.

    """
    is_cut = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_cut
        is_cut = True
        raise KeyboardInterrupt

    with _handling(on_signal):
        try:
            yield
        except Interrupted:
            raise
        except BaseException as error:
            if is_cut:
                raise Interrupted("stopped; nothing is written") from error
            raise


@contextmanager
def _handling(on_signal: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)  # the terminal is closed
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
