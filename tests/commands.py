"""Runs the command line in a process of its own, as a user does, or in this process, where modules are loaded once."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from concertdeblur.cli.program import cli

_ROOT = Path(__file__).parents[1]


def command(*args: object) -> list[str]:
    """The command `concertdeblur` with these arguments, whether its script is on PATH or not."""
    return [sys.executable, "-m", "concertdeblur", *map(str, args)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with one thread for the networks; the package is found from any folder."""
    paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **changes}


def run(*args: object, folder: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, however busy the machine is; standard output and error are text."""
    return subprocess.run(
        command(*args), cwd=folder, env=environment(**changes), capture_output=True, text=True, check=False, timeout=600
    )


def run_here(*args: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """As `run`, but in this process, since torch takes seconds to load. A warning is an error, and a bug is raised."""
    runner = CliRunner(catch_exceptions=False)
    texts = [str(arg) for arg in args]
    with contextlib.chdir(folder or Path.cwd()), _compiled_code_heard() as heard:
        ended = runner.invoke(cli, texts, prog_name="concertdeblur")
    return subprocess.CompletedProcess(texts, ended.exit_code, ended.stdout, "".join(heard) + ended.stderr)


@contextlib.contextmanager
def _compiled_code_heard() -> Iterator[list[str]]:
    """Text that FFmpeg or OpenCV write to standard error without Python; it is there at the end of the block."""
    heard: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            heard.append(file.read().decode(errors="replace"))


def events(stdout: str) -> list[dict[str, Any]]:
    """The JSON lines of a run."""
    return [json.loads(line) for line in stdout.splitlines()]
