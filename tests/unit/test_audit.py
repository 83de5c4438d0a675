"""What the campaign makes of pip-audit's answers: packages that its data lacks are not called sound."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.campaign import audit

_SOUND: dict[str, Any] = {"name": "click", "version": "8.5.1", "vulns": []}
_HOLED: dict[str, Any] = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
_UNKNOWN: dict[str, Any] = {"name": "ours", "skip_reason": "Dependency not found on PyPI: ours"}


def _audited(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> tuple[str, list[str]]:
    """With a pip-audit that answers so, if it is asked for JSON about a folder of packages."""
    program = folder / "pip-audit"
    (folder / "answer").write_text(answer)
    program.write_text(f'#!/bin/sh\n[ -d "$2/click" ] && [ "$6" = json ] && cat "{folder}/answer"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return audit.known_holes()


@pytest.mark.parametrize(
    ("rows", "told", "holes"),
    [
        ([_SOUND], "0 in 1 packages", []),
        ([_SOUND, _HOLED], "2 in 2 packages", ["pillow 1.0: PYSEC-1", "pillow 1.0: PYSEC-2"]),
        ([_SOUND, _UNKNOWN], "0 in 1 packages; 1 more are not in its data", []),
        ([_UNKNOWN, _UNKNOWN], "skipped, the data that pip-audit reaches here has none of the 2 packages", []),
    ],
)
def test_holes_are_counted_among_the_packages_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], told: str, holes: list[str]
) -> None:
    assert _audited(tmp_path, monkeypatch, json.dumps({"dependencies": rows})) == (told, holes)


@pytest.mark.parametrize("answer", ["", "no network", "[]", "{}"])
def test_an_answer_that_is_none_counts_as_no_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    assert _audited(tmp_path, monkeypatch, answer) == ("skipped, pip-audit does not reach its data here", [])


def test_without_pip_audit_the_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert audit.known_holes() == ("skipped, pip-audit is not installed", [])
