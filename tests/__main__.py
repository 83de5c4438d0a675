"""All checks: `python -m tests` runs lint, format, types, layers, tests with coverage; fails if any fails.

Files of tests run side by side, one on each core, with one thread each (`tests/conftest.py`). Tests that measure time
are marked `alone`: they run after the others, one by one, with all cores.
"""

import subprocess
import sys
import time
from pathlib import Path

from concertdeblur.cpus import available_cpus

_MOST_WORKERS = 4  # a worker takes up to 2 GB of memory
ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
_PYTEST = (sys.executable, "-m", "pytest", "--cov", "--durations=20")
CHECKS = (
    ("lint", [BIN / "ruff", "check", "."]),
    ("format", [BIN / "ruff", "format", "--check", "."]),
    ("types", [BIN / "mypy"]),
    ("layers", [BIN / "lint-imports"]),
    # a file stays in one worker, which keeps its servers, browsers and clusters for it; slow files are the first
    ("tests", [*_PYTEST, "-m", "not alone", "-n", str(min(_MOST_WORKERS, available_cpus())), "--dist", "loadfile",
               "--no-loadscope-reorder", "--cov-report=", "--cov-fail-under=0"]),
    ("tests alone", [*_PYTEST, "-m", "alone", "--cov-append", "--cov-report=term"]),
)  # fmt: skip


def main() -> int:
    """Run every check, also after one has failed, and return 1 if any has."""
    failed = []
    for name, command in CHECKS:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        started = time.monotonic()
        code = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
        ended = "ok" if code == 0 else f"FAILED with exit code {code}"  # negative: of a signal
        sys.stdout.write(f"== {name}: {ended} ({time.monotonic() - started:.0f} s)\n")
        if code:
            failed.append(name)
    sys.stdout.write(f"\n{'failed: ' + ', '.join(failed) if failed else 'all checks passed'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
