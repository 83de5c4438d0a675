"""How a run ends: every error is one sentence and an exit code."""

import contextlib
import errno
import os
import sys
import traceback
from pathlib import Path

import click
from click.exceptions import NoArgsIsHelpError

from concertdeblur.cli.console import printable, say, write_event
from concertdeblur.cli.display import Display
from concertdeblur.errors import ConcertDeblurError, Interrupted, UsageError

_NO_MEMORY = (
    "out of memory", "can't allocate memory", "insufficient memory", "cannot allocate memory", "can't start new thread",
)  # fmt: skip
_LOOP = "Symlink loop from "  # so begins what pathlib says of a link that leads back to itself
_MOST_LETTERS = 200  # most letters of a message that was not written for users


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
        with contextlib.suppress(OSError):  # it may be standard output that failed
            write_event("error", {"message": printable(message), "exit_code": code})
    return code


def show_traceback(error: BaseException) -> None:
    """Write where an error came from, for a bug report."""
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


def warn_of_failure(shown: Display, source: Path, error: Exception, *, debug: bool) -> str:
    """Say in one line why one item of several failed; gives the sentence.

    Args:
        shown: Where it is said.
        source: The item.
        error: What went wrong with it.
        debug: Write the traceback before the line.

    """
    if debug:
        show_traceback(error)
    sentence, _ = describe_error(error)
    shown.failure(sentence if source.name in sentence else f"{source}: {sentence}")
    return sentence


def describe_error(error: BaseException) -> tuple[str, int]:
    """The sentence for a user, and the exit code: 2 for usage, 130 if interrupted, 1 for all else."""
    text = " ".join(str(error).split())
    if isinstance(error, ConcertDeblurError):
        return text, 2 if isinstance(error, UsageError) else 130 if isinstance(error, Interrupted) else 1
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else "concertdeblur"
        message = " ".join(error.format_message().split())
        return f"{message}{'' if message.endswith(('.', '?')) else '.'} See '{command} --help'.", error.exit_code
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
    if isinstance(error, RuntimeError) and text.startswith(_LOOP):
        return f"{text.removeprefix(_LOOP).strip(chr(39))}: is a link that leads back to itself", 1
    short = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."
    kind = f"{type(error).__name__}: {short}" if text else type(error).__name__
    return (
        f"this is a bug in concertdeblur ({kind}); please report it in the project's issue tracker,"
        " with the command and what it prints with --debug"
    ), 1


def _named(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


def open_missing_streams() -> None:
    """Give standard streams that are closed (`>&-`, some services) a place where nothing arrives.

    Without it the next file that is opened would get their number, and what libraries print would land in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def flush_output() -> None:
    """Write what standard output still holds, while an error can still be reported.

    Raises:
        OSError: If it cannot be written. It is dropped then, so that Python's own last flush raises nothing.

    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
