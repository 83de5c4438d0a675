"""The clips of a folder, by their names: one list of suffixes for all commands."""

from pathlib import Path

from concertdeblur.media.containers import FORMATS

_READ_ONLY = "avi divx dv mpg mpeg m2v ts mts m2ts mod tod wmv flv f4v 3gp 3g2 mxf ogv qt vob asf"
CLIP_SUFFIXES = frozenset(FORMATS) | frozenset(f".{suffix}" for suffix in _READ_ONLY.split())


def looks_like_clip(path: Path) -> bool:
    """Whether a name ends like a clip's and is not hidden, like the file `._clip.mp4` that a Mac leaves on a stick."""
    return path.suffix.lower() in CLIP_SUFFIXES and not path.name.startswith(".")


def clips_in(folder: Path, *, recursive: bool) -> list[Path]:
    """The clips of a folder, sorted; hidden files and folders are passed over.

    Raises:
        OSError: If the folder cannot be read.

    """
    paths = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in paths
        if looks_like_clip(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
