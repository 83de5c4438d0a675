"""The campaign against faults in its short form: a few cases of each part, the same ones every time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from concertdeblur.version import __version__
from tests.campaign.parts import PARTS
from tests.commands import environment

pytest.importorskip("fastapi", reason="the extra 'annotate' is not installed")
pytest.importorskip("yt_dlp", reason="the extra 'dataset' is not installed")

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of its findings, and what it wrote."""
    work = tmp_path_factory.mktemp("campaign")
    args = [sys.executable, "-m", "tests.campaign", "--short", "--seed", "1", "--work", str(work), "--report",
            str(work / "table.md")]  # fmt: skip
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


def test_the_report_counts_every_case_of_every_part(campaign: tuple[Path, str]) -> None:
    work, told = campaign
    head, _, *rest = (work / "table.md").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d, concertdeblur {re.escape(__version__)}, seed 1\.", head)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in rest if line.startswith("|")][2:]
    assert {row[0] for row in rows} == set(PARTS)
    for part in PARTS:
        (num_cases,) = re.findall(rf"^== {part}: (\d+) cases", told, re.MULTILINE)
        assert sum(int(row[2]) for row in rows if row[0] == part) == int(num_cases)
    for _, _, cases, done, refused, others, faults in rows:
        assert int(cases) == int(done) + int(refused) + int(faults) + sum(map(int, re.findall(r"(\d+) ", others)))
    assert any(line.startswith("long: identity, file to file: 2000 frames in ") for line in rest)


def test_a_report_into_no_folder_is_refused_before_the_campaign_begins(tmp_path: Path) -> None:
    args = [sys.executable, "-m", "tests.campaign", "long", "--count", "1", "--report", str(tmp_path / "none" / "a.md")]
    ended = subprocess.run(args, cwd=_ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=600)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"there is no folder {tmp_path / 'none'}" in ended.stderr
