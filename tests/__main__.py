"""All checks: `python -m tests` runs lint, format, types, layers, tests with coverage; fails if any fails."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CHECKS = (
    ("lint", [BIN / "ruff", "check", "."]),
    ("format", [BIN / "ruff", "format", "--check", "."]),
    ("types", [BIN / "mypy"]),
    ("layers", [BIN / "lint-imports"]),
    ("tests", [sys.executable, "-m", "pytest", "--cov", "--cov-report=term"]),
)


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
