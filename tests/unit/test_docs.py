"""The documents name files, functions and folders that exist, and link to each other."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "concertdeblur"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the sdist has no docs folder")


def names_in(path: Path) -> set[str]:
    """Functions and classes of a module, and methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_each_way_names_functions_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\| `(\S+\.py)` \| (.+?) \|", text, re.MULTILINE)
    assert len(steps) > 50
    missing = [
        f"{file}: {name}"
        for file, functions in steps
        for name in re.findall(r"`([\w.]+)`", functions)
        if not (PACKAGE / file).is_file() or name not in names_in(PACKAGE / file)
    ]
    assert not missing


def test_the_tree_names_every_folder_of_the_package() -> None:
    tree = (DOCS / "architecture.md").read_text(encoding="utf-8").split("```")[1].split("tests/\n")[0]
    drawn = set(re.findall(r"(\w+)/", tree)) | set(re.findall(r"(\w+\.py)", tree))
    folders = {path.parent.name for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert drawn >= folders | modules
    assert all((PACKAGE / name).exists() or list(PACKAGE.rglob(name)) for name in drawn - {"concertdeblur"})


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/method.md",
                                  "docs/glossary.md", "docs/performance.md", "docs/reliability.md", "docs/scale.md",
                                  "docs/studio.md"])  # fmt: skip
def test_links_lead_to_files(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_sections_of_the_experiments_that_the_code_points_to_exist() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8"), re.MULTILINE)
    pointed: list[tuple[str, str]] = []
    for path in PACKAGE.rglob("*.py"):
        text = re.sub(r"\s*\n\s*#?\s*", " ", path.read_text(encoding="utf-8"))
        pointed += re.findall(r'EXPERIMENTS\.md, (\d{4}-\d\d-\d\d), \\?"(.+?)\\?"', text)
    assert len(pointed) > 5
    assert not [both for both in pointed if not any(title.startswith(both[0]) and both[1] in title for title in titles)]
