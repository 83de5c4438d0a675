"""Weight sets: the manifest names files beside it, and nothing else."""

import re
from pathlib import Path

import pytest

from concertdeblur.errors import WeightsError
from concertdeblur.pretrained import load, read_manifest
from tests.weight_sets import random_weight_set


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "a\\\\b", "", "..", "\\u0000"])
def test_a_weight_file_lies_beside_its_manifest(tmp_path: Path, name: str) -> None:
    manifest = random_weight_set(tmp_path / "set") / "manifest.toml"
    text = re.sub(r'file = "patch_generator\.safetensors"', lambda _: f'file = "{name}"', manifest.read_text())
    manifest.write_text(text)
    with pytest.raises(WeightsError, match="must be named without a folder"):
        load(tmp_path / "set", device="cpu", backend="torch")


def test_a_set_of_version_0_1_is_read(tmp_path: Path) -> None:
    manifest = random_weight_set(tmp_path / "set") / "manifest.toml"
    text = re.sub(r"refine_share = .*", "windows_per_cell = 0.3", manifest.read_text())
    assert "windows_per_cell" in text
    manifest.write_text(text)
    assert read_manifest(tmp_path / "set").brmr.refine_share == pytest.approx(0.075)


@pytest.mark.parametrize("recipe", ["Mädchen 🎸", 'a "b" \\ c', "a\x7fb\tc", "日本"])
def test_any_name_of_a_recipe_comes_back(tmp_path: Path, recipe: str) -> None:
    assert read_manifest(random_weight_set(tmp_path / "set", recipe=recipe)).recipe == recipe
