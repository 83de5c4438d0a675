"""The package's face."""

import subprocess
import sys

import pytest

import concertdeblur


def test_all_is_sorted_and_complete() -> None:
    assert concertdeblur.__all__ == sorted(concertdeblur.__all__)
    for name in concertdeblur.__all__:
        assert getattr(concertdeblur, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = concertdeblur.nothing


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import concertdeblur, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
