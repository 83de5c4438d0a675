"""The command line as a process of its own, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]


def command(*args: object) -> list[str]:
    """`concertdeblur` with these arguments, whether or not its script is on PATH."""
    return [sys.executable, "-m", "concertdeblur", *map(str, args)]


def environment(**changes: str) -> dict[str, str]:
    """This process's, with one thread for the networks; the package is found from any folder."""
    paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **changes}


def run(*args: object, folder: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run to its end; standard output and error as text."""
    return subprocess.run(
        command(*args), cwd=folder, env=environment(**changes), capture_output=True, text=True, check=False, timeout=120
    )


def events(stdout: str) -> list[dict[str, Any]]:
    """The JSON lines of a run."""
    return [json.loads(line) for line in stdout.splitlines()]
