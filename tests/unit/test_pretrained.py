"""Weight sets: the manifest names files beside it, and nothing else."""

import re
from pathlib import Path

import pytest

from concertdeblur.errors import WeightsError
from concertdeblur.pretrained import load
from tests.weight_sets import random_weight_set


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "a\\\\b", "", "..", "\\u0000"])
def test_a_weight_file_lies_beside_its_manifest(tmp_path: Path, name: str) -> None:
    manifest = random_weight_set(tmp_path / "set") / "manifest.toml"
    text = re.sub(r'file = "patch_generator\.safetensors"', lambda _: f'file = "{name}"', manifest.read_text())
    manifest.write_text(text)
    with pytest.raises(WeightsError, match="must be named without a folder"):
        load(tmp_path / "set", device="cpu", backend="torch")
