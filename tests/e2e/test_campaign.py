"""The campaign against faults in its short form: a few cases of each part, the same ones every time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.parts import PARTS
from tests.commands import environment

pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
pytest.importorskip("yt_dlp", reason="the extra 'dataset' is not installed")

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", PARTS)
def test_a_few_cases_of_each_part_find_nothing(part: str, tmp_path: Path) -> None:
    args = [sys.executable, "-m", "tests.campaign", part, "--short", "--seed", "1", "--work", str(tmp_path / "work")]
    ended = subprocess.run(args, cwd=_ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=900)
    found = tmp_path / "work" / part / "findings.jsonl"
    assert ended.returncode == 0, ended.stderr + ended.stdout + (found.read_text() if found.exists() else "")
    (num_cases,) = re.findall(rf"^== {part}: (\d+) cases", ended.stdout, re.MULTILINE)
    assert int(num_cases) >= min(PARTS[part].short, 3)
