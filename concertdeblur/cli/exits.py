"""How a run ends: signals become a stop event, every error one sentence and an exit code."""

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click
from click.exceptions import NoArgsIsHelpError

from concertdeblur.cli.console import printable, say, write_event
from concertdeblur.errors import ConcertDeblurError, Interrupted, UsageError

_NO_MEMORY = ("out of memory", "can't allocate memory", "insufficient memory", "cannot allocate memory")
_MOST_LETTERS = 200  # of a message that was not written for users


@contextmanager
def stop_on_signals(
    *, silent: bool, piece: str = "frame", lost: str = "the output is not written"
) -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into a set event; a second SIGINT interrupts at once.

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
    """Let SIGINT and SIGTERM end a short job where it is.

    Raises:
        Interrupted: After either.

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
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def report_error(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Say in one sentence what went wrong; gives the exit code.

    Args:
        error: What ended the run.
        as_json: Write an `error` event, too.
        debug: Write the traceback before the sentence.

    """
    if debug:
        show_traceback(error)
    if isinstance(error, NoArgsIsHelpError):
        error.show()
        return error.exit_code
    message, code = describe_error(error)
    say(f"Error: {message}")
    if as_json:
        write_event("error", {"message": printable(message), "exit_code": code})
    return code


def show_traceback(error: BaseException) -> None:
    """Write where an error came from, for a bug report."""
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


def describe_error(error: BaseException) -> tuple[str, int]:
    """The sentence for a user, and the exit code: 2 for usage, 130 if interrupted, 1 for all else."""
    text = " ".join(str(error).split())
    if isinstance(error, ConcertDeblurError):
        return text, 2 if isinstance(error, UsageError) else 130 if isinstance(error, Interrupted) else 1
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "concertdeblur"
        return f"{' '.join(error.format_message().split())} See '{command} --help'.", error.exit_code
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split()), error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return "stopped", 130
    if isinstance(error, ImportError):
        return f"a needed package does not load ({text}); 'concertdeblur doctor' says what to install", 1
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY):
        return "there is not enough memory; close other programs, or use a smaller clip", 1
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the device{_named(error)}; nothing was written", 1
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{_named(error)}", 1
    short = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
    kind = f"{type(error).__name__}: {short}" if text else type(error).__name__
    return (
        f"this is a bug in concertdeblur ({kind}); please report it in the project's issue tracker,"
        " with the command and what it prints with --debug"
    ), 1


def _named(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


def flush_output() -> None:
    """Write what standard output still holds, while an error can still be reported.

    Raises:
        OSError: If it cannot be written; it is dropped then, so that Python's own last flush is quiet.

    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
