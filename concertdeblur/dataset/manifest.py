"""`manifest.json` says what a data set was made of and with, so that a run can tell whether it may go on there."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concertdeblur.dataset.findings import Finding
from concertdeblur.dataset.frames import FRAMES_FILE
from concertdeblur.dataset.pairs import METADATA_FILE
from concertdeblur.dataset.picks import FRAMES_FOLDER
from concertdeblur.dataset.sources import Failure, Source
from concertdeblur.dataset.versions import versions
from concertdeblur.dataset.workspace import MANIFEST_FILE, Workspace, read_json
from concertdeblur.errors import DatasetError, TargetError

_FORMAT = 1
WATCHED_FILES = (FRAMES_FILE, f"train/{METADATA_FILE}", f"test/{METADATA_FILE}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """The manifest that an earlier run left in the folder."""

    versions: Mapping[str, str]  # versions of the packages that the earlier run used
    sources: tuple[Source, ...]  # their paths are not known any more
    manifest: Mapping[str, Any]  # as it was read

    def under(self, address: str) -> list[Source]:
        """The sources that an address of the list stood for."""
        inside = address.rstrip("/")
        return [
            one
            for one in self.sources
            if one.address == address or one.address.startswith((f"{inside}/", f"{inside}#"))
        ]

    def check_kinship(self, sources: Sequence[Source], on_warning: Callable[[str], None]) -> None:
        """Warn of each source that is not in the list any more.

        Raises:
            TargetError: If no source is in the list any more: the folder then holds another data set.

        """
        now = {source.sha256 for source in sources}
        gone = [source for source in self.sources if source.sha256 not in now]
        if self.sources and sources and len(gone) == len(self.sources):
            raise TargetError("the folder holds a data set of other sources; name another folder with --out")
        for source in gone if sources else ():
            on_warning(f"{source.address}: is not in the list any more; its frames are taken out")


def manifest_of(
    options: Mapping[str, Any], findings: Sequence[Finding], failures: Sequence[Failure], files: Mapping[str, str]
) -> dict[str, Any]:
    """The manifest as plain values. It names no time of day, so that equal runs write equal manifests."""
    return {
        "format": _FORMAT,
        "is_complete": True,
        "versions": versions(),
        "options": _plain(options),
        "sources": [_source_facts(finding) for finding in findings],
        "failed": [asdict(failure) for failure in failures],
        "sha256": dict(files),
    }


def begin(workspace: Workspace, options: Mapping[str, Any], on_warning: Callable[[str], None]) -> Before:
    """Claim the folder for these options, or make sure that its data set was made with them.

    A run that was ended before it had any frame claims nothing. Of a data set that is there already, files that
    somebody edited are put aside; nothing else is changed yet (`reopen` does that).

    Raises:
        TargetError: If the folder holds a data set of other options.
        DatasetError: If the manifest cannot be read.

    """
    path = workspace.path(MANIFEST_FILE)
    manifest = read_json(path)
    if not path.exists() or _has_no_frames(workspace, manifest):
        started = {"format": _FORMAT, "is_complete": False, "versions": versions(), "options": _plain(options)}
        workspace.write_json(path, started)
        return Before(versions=versions(), sources=(), manifest=started)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("options"), dict):
        raise _nonsense(path)
    if manifest.get("format") != _FORMAT:
        raise TargetError(f"{workspace.folder}: was built by another version of concertdeblur; name another folder")
    for name, value in _plain(options).items():
        if name not in manifest["options"]:
            raise _nonsense(path)
        if (was := manifest["options"][name]) != value:
            raise TargetError(
                f"{workspace.folder}: holds a data set built with {name} {was}, not {value}; name another folder"
            )
    try:
        sources = tuple(map(_source_from, manifest.get("sources", ())))
        before = Before(versions=dict(manifest["versions"]), sources=sources, manifest=manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _nonsense(path) from error
    _keep_edited(workspace, [manifest.get("sha256"), manifest.get("sha256_next")], on_warning)
    return before


def reopen(workspace: Workspace, before: Before, files: Mapping[str, str] | None = None) -> None:
    """Mark the data set as being worked on.

    The digests of the files that were written before stay in the manifest. So edits by hand can be told from our own
    files, wherever this run ends.

    Args:
        workspace: The data set's folder.
        before: The manifest that was found there.
        files: Name -> sha256 of the files that will be written next; None: none yet.
    """
    known = {**before.manifest, "is_complete": False, **({} if files is None else {"sha256_next": dict(files)})}
    workspace.write_json(workspace.path(MANIFEST_FILE), known)


def _has_no_frames(workspace: Workspace, manifest: object) -> bool:
    """Whether a manifest is of runs that never got as far as a frame."""
    is_begun = isinstance(manifest, dict) and manifest.get("is_complete") is False and not manifest.get("sources")
    return is_begun and not any(workspace.path(name).exists() for name in (FRAMES_FILE, FRAMES_FOLDER))


def _nonsense(path: Path) -> DatasetError:
    return DatasetError(f"{path}: is no manifest any more; put it right, or build into another folder")


def _source_facts(finding: Finding) -> dict[str, Any]:
    source = finding.source
    return {
        "source": source.title, "address": source.address, "sha256": source.sha256, "licence": source.licence,
        "split": finding.split, "num_frames": finding.num_frames, "num_pairs": finding.num_pairs,
        "duration_s": finding.scan.duration_s, "num_shots": finding.scan.num_shots, "left_out": finding.dropped,
    }  # fmt: skip


def _source_from(row: Mapping[str, Any]) -> Source:
    return Source(
        address=str(row["address"]), path=Path(), sha256=str(row["sha256"]), title=str(row["source"]),
        licence=str(row["licence"]),
    )  # fmt: skip


def file_sha256(path: Path) -> str:
    """SHA-256 of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def text_sha256(text: str) -> str:
    """SHA-256 of a text as `Workspace.write_text` writes it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _keep_edited(workspace: Workspace, known: Sequence[object], on_warning: Callable[[str], None]) -> None:
    """Rename the files that somebody changed by hand, because this run will write them again."""
    ours = [files for files in known if isinstance(files, dict)]
    for name in WATCHED_FILES:
        path, digests = workspace.folder / name, [files[name] for files in ours if name in files]
        if not digests or not path.is_file() or file_sha256(path) in digests:
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
