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


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of its findings, and what it wrote."""
    work = tmp_path_factory.mktemp("campaign")
    args = [sys.executable, "-m", "tests.campaign", "--short", "--seed", "1", "--work", str(work)]
    ended = subprocess.run(
        args, cwd=_ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=1800
    )
    assert ended.returncode in (0, 1), ended.stderr
    return work, ended.stdout


@pytest.mark.parametrize("part", PARTS)
def test_a_few_cases_of_each_part_find_nothing(part: str, campaign: tuple[Path, str]) -> None:
    work, told = campaign
    found = work / part / "findings.jsonl"
    assert not found.exists(), found.read_text(encoding="utf-8")
    (num_cases,) = re.findall(rf"^== {part}: (\d+) cases", told, re.MULTILINE)
    assert int(num_cases) >= PARTS[part].short
