"""Known holes of the installed packages, by pip-audit, where that is here and reaches its data.

It is no dependency of ours, not even of `dev`: it brings thirty packages. `pipx install pip-audit` gives it a place of
its own, from where it looks at the packages of this interpreter.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

_TIMEOUT_S = 240


def known_holes() -> tuple[str, list[str]]:
    """What was looked at or why nothing was, in words; and each hole, as "package version: name"."""
    name = shutil.which("pip-audit") or str(Path(sys.executable).with_name("pip-audit"))
    if not Path(name).exists():
        return "skipped, pip-audit is not installed", []
    args = (name, "--path", sysconfig.get_path("purelib"), "--progress-spinner", "off", "--format", "json")
    try:
        told = subprocess.run(args, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        rows: list[dict[str, Any]] = json.loads(told.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return "skipped, pip-audit does not reach its data here", []
    known = [row for row in rows if "skip_reason" not in row]  # it counts packages that its data lacks as sound
    if not known:
        return f"skipped, the data that pip-audit reaches here has none of the {len(rows)} packages", []
    holes = [f"{row['name']} {row['version']}: {hole['id']}" for row in known for hole in row["vulns"]]
    left_out = f"; {len(rows) - len(known)} more are not in its data" if len(known) < len(rows) else ""
    return f"{len(holes)} in {len(known)} packages{left_out}", holes
