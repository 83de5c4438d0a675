"""What is given out: the wheel's and the sdist's contents, metadata, versions in step, licences listed."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from concertdeblur import __version__
from tests.installed import ROOT, build

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_INFO = f"concertdeblur-{__version__}.dist-info"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


def _package_files() -> set[str]:
    """What the wheel must hold: all that git knows of the package, or, without git, all that lies there."""
    listed = subprocess.run(["git", "ls-files", "concertdeblur"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    if not names:
        paths = (path for path in (ROOT / "concertdeblur").rglob("*") if path.is_file())
        names = [str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts]
    return {name for name in names if not name.startswith("concertdeblur/weights/baselines/")}


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(_INFO)}
        weights = wheel.read("concertdeblur/weights/concert/image_generator.safetensors")
    assert names == _package_files()
    assert weights == (ROOT / "concertdeblur/weights/concert/image_generator.safetensors").read_bytes()
    assert built[1].stat().st_size < 35e6  # nearly all of it is the two weight sets


def test_the_sdist_holds_what_its_tests_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        assert all(member.isfile() for member in archive.getmembers())  # no links
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert names >= _package_files()
    assert names >= {"tests/installed.py", "README.md", "LICENSE", "THIRD_PARTY.md", "CHANGELOG.md", "CITATION.cff"}
    strays = ("docs/", "runs/", "concertdeblur/weights/baselines/")
    assert not [name for name in names if "__pycache__" in name or name.startswith(strays)]
    assert {name for name in names if name.startswith(".")} <= {".gitignore"}  # which hatchling always takes


def test_the_wheel_says_what_it_is(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        said = HeaderParser().parsestr(wheel.read(f"{_INFO}/METADATA").decode())
        scripts = wheel.read(f"{_INFO}/entry_points.txt").decode()
        names = set(wheel.namelist())
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("concertdeblur", __version__, "Apache-2.0")
    assert said["Requires-Python"] == ">=3.11"
    pythons = [line.rpartition(" ")[2] for line in said.get_all("Classifier", []) if "Python :: 3." in line]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert {"annotate", "cluster", "dataset", "evaluation", "openvino", "studio", "training"} < set(
        said.get_all("Provides-Extra", [])
    )
    assert "concertdeblur = concertdeblur.cli:main" in scripts
    assert {f"{_INFO}/licenses/LICENSE", f"{_INFO}/licenses/THIRD_PARTY.md"} <= names


def _released(changelog: str) -> list[tuple[int, ...]]:
    """Versions with a date, newest first as written."""
    found = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    return [tuple(map(int, version)) for version in found]


def test_versions_and_changelog_are_in_step() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## .*$", changelog, re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    released = _released(changelog)
    assert len(released) == len(headings) - 1, "each released version is written '## [1.2.3] - 2026-01-31'"
    assert released == sorted(released, reverse=True)
    here = tuple(map(int, __version__.split(".")))  # noqa: RUF048 - ours has three numbers
    unreleased = changelog.split("## [Unreleased]", 1)[1].split("\n## ", 1)[0].strip()
    if unreleased:  # work on the next one: its number may stand already
        assert not released or here >= released[0]
    else:
        assert here == released[0]


def test_a_citation_names_this_version_and_the_paper() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
    assert f"\nlicense: {_PROJECT['license']}\n" in text
    assert "10.1145/3343031.3351038" in text
    assert all(name in text for name in ("Lin", "Wei", "Liu", "Kuo", "Liao"))


def _requirements() -> list[str]:
    """What the project and its extras ask for."""
    groups = [_PROJECT["dependencies"], *_PROJECT["optional-dependencies"].values()]
    return sorted({line for group in groups for line in group})


def test_every_dependency_has_its_licence_listed() -> None:
    named = {Requirement(line).name for line in _requirements()}
    rows = re.findall(
        r"^\| ([\w-]+) \| ([^|]+) \|", (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = {name: licence.strip() for name, licence in rows}
    assert named <= set(listed), f"without a licence in THIRD_PARTY.md: {sorted(named - set(listed))}"
    assert all(listed.values())


def _pinned() -> dict[str, str]:
    """Every package of a full install, and its version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("name", _pinned())
def test_what_comes_with_a_dependency_is_free_or_named(name: str) -> None:
    """Licences of the GPL's kind, and FFmpeg in a wheel, are named in THIRD_PARTY.md; all others allow everything."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    told = " ".join(
        [found.metadata["License-Expression"] or "", (found.metadata["License"] or "").split("\n")[0],
         *(line for line in found.metadata.get_all("Classifier", []) if line.startswith("License ::"))]
    )  # fmt: skip
    asks_back = re.search(r"GPL|MPL|Mozilla|CDDL|EPL|Eclipse|EUPL|CC-BY-SA|CC-BY-NC|SSPL|Commons Clause", told)
    files = [file.as_posix() for file in found.files or ()]
    has_ffmpeg = any(re.search(r"\.libs/libavcodec|/binaries/ffmpeg-", file) for file in files)
    if asks_back or has_ffmpeg:
        text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8").replace("-", "_").lower()
        assert re.search(rf"\b{name.replace('-', '_').lower()}\b", text), f"{name} ({told}) is not in THIRD_PARTY.md"


@pytest.mark.parametrize("line", _requirements())
def test_every_dependency_is_pinned_to_a_version_that_the_project_allows(line: str) -> None:
    wanted = Requirement(line)
    pinned = {canonicalize_name(name): version for name, version in _pinned().items()}
    assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)])


def test_the_image_is_built_from_what_there_is() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert all((ROOT / source).exists() for source in sources)
    assert sources >= {"pyproject.toml", "constraints.txt", "concertdeblur", "README.md", *_PROJECT["license-files"]}
