"""A run's folder: what it was begun with, and whether this run may go on there."""

import dataclasses
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from concertdeblur.errors import SettingsError, TrainingError
from concertdeblur.models import Architecture
from concertdeblur.settings import parse_json, settings_from_table
from concertdeblur.training.data.pictures import REPLACED, StoreContents, is_store
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.window_store import MINED_PARTS, delete_parts
from concertdeblur.version import __version__

STAGES = ("analysis", "igan", "mining", "pgan", "video-igan", "smear", "video-pgan")  # in their order
_ELSEWHERE = "name another folder with --out, or throw that run away with --restart (without --stage)"
STAGE_FILES = {name: f"{name}.safetensors" for name in STAGES}
STORES = (PICTURES, CLIP_PAIRS, SEQUENCES, SCENES) = ("pictures", "clip_pairs", "sequences", "scenes")


def check_stores(folder: Path, sources: Mapping[str, Path]) -> None:
    """See whether a training may keep its stores in this folder, where they replace what has their names.

    Args:
        folder: The run's folder; it need not exist.
        sources: Folders of the data by their options, as "--real".

    Raises:
        TrainingError: If a folder that is no store has such a name, or the data lie there.
    """
    for name in (*STORES, REPLACED):
        for option, source in sources.items():
            if source.resolve().is_relative_to((folder / name).resolve()):
                raise TrainingError(
                    f"{option} {source}: training would replace this folder by a store of its own; name another folder"
                    " with --out"
                )
        for path in (folder / name, folder / f"{name}.part"):
            if path.exists() and not (_holds_stores if name == REPLACED else is_store)(path):
                raise TrainingError(
                    f"{path} is not of a training, which would replace it by a store of its own; name another folder"
                    " with --out, or rename that one"
                )


def _holds_stores(folder: Path) -> bool:
    return folder.is_dir() and all(path.name in STORES and is_store(path) for path in folder.iterdir())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made if it is not there, for one training at a time.

    The lock ends with its process, however that ends.

    Raises:
        TrainingError: If another training holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written ({error.strerror}); name another folder with --out"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"{folder}: another training is working in this folder; wait for it, or name another --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


class RunFolder:
    """Remembers what a run was begun with. The store of pictures in the folder is not a part of the run.

    Args:
        path: The folder; it need not exist.
        recipe: The recipe of this run.
        sources: Folders of the data by their options, as "--real"; they are told where other data are refused.
        start_sha256: Digest of the weight set that the run starts from; empty: fresh networks.
    """

    def __init__(
        self, path: Path, recipe: Recipe, *, sources: dict[str, str] | None = None, start_sha256: str = ""
    ) -> None:
        self.path = path
        self._recipe, self._sources, self._start_sha256 = recipe, sources or {}, start_sha256
        self._file = path / "run.json"

    @property
    def is_begun(self) -> bool:
        """Whether a run has left something here."""
        return self._file.exists() or any((self.path / name).exists() for name in STAGE_FILES.values())

    def check(self, *, resume: bool, is_anew: bool = False) -> list[str]:
        """See whether this run may go on here.

        Args:
            resume: Whether there must be a run to go on with.
            is_anew: Whether a run that is here will be thrown away, so that it may be any other one.

        Returns:
            Settings that have changed since the run was begun, if that is allowed: "igan.steps 100 -> 200".

        Raises:
            TrainingError: If the folder holds another run, or none where there must be one.
        """
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file; name a folder with --out")
        if not self.is_begun:
            if resume:
                raise TrainingError(f"{self.path}: no run to go on with; leave --resume out to begin one")
            return []
        if is_anew:
            return []
        before, now = self._read(), self._plain()
        for key, what in (("name", "recipe"), ("architecture", "architecture"), ("seed", "seed")):
            if before[key] != now[key]:
                named = f" '{before[key]}'" if key != "architecture" else ""
                raise TrainingError(f"{self.path} holds a run of another {what}{named}; {_ELSEWHERE}")
        self._check_start(before)
        return _changes(before, now)

    def _check_start(self, before: dict[str, Any]) -> None:
        sha256 = before.get("start_sha256", self._start_sha256)  # runs of older versions do not say it
        if sha256 == self._start_sha256:
            return
        named = f"--start-from {before.get('start_from')}" if sha256 else "fresh networks, without --start-from"
        of_then = f" as it was then (its manifest has sha256 {sha256[:12]}...)" if sha256 else ""
        raise TrainingError(f"{self.path} holds a run that began with {named}{of_then}; take that, {_ELSEWHERE}")

    def check_data(self, data: StoreContents) -> None:
        """See whether a run that is here is on these data.

        Raises:
            TrainingError: If it is on others.
        """
        if not self.is_begun:
            return
        before = self._read()
        if before["data_sha256"] != data.sha256:
            sources = before.get("sources") or {}
            told = f" ({' '.join(f'{option} {folder}' for option, folder in sources.items())})" if sources else ""
            raise TrainingError(f"{self.path} holds a run on other data{told}; {_ELSEWHERE}")

    @contextmanager
    def keeping_stores(self) -> Iterator[None]:
        """Stores of a begun run that are replaced in this block come back if it ends with an error.

        So do those that were replaced in the block of a call that was killed.
        """
        kept, done = self.path / REPLACED, self.path / f"{REPLACED}.part"
        self._put_back(kept)
        shutil.rmtree(done, ignore_errors=True)
        if not self.is_begun:
            yield
            return
        kept.mkdir()
        try:
            yield
        except BaseException:
            self._put_back(kept)
            raise
        kept.replace(done)  # from now on nothing comes back
        shutil.rmtree(done, ignore_errors=True)

    def _put_back(self, kept: Path) -> None:
        for store in kept.iterdir() if kept.is_dir() else ():
            shutil.rmtree(self.path / store.name, ignore_errors=True)
            store.replace(self.path / store.name)
        shutil.rmtree(kept, ignore_errors=True)

    def begin(self, data: StoreContents) -> None:
        """Note what the run goes on with, and on which data.

        Raises:
            TrainingError: If the folder holds a run on other data.
        """
        self.check_data(data)
        self.path.mkdir(parents=True, exist_ok=True)
        plain = self._plain() | {"data_sha256": data.sha256, "sources": self._sources, "version": __version__}
        plain["start_sha256"] = self._start_sha256
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        part.replace(self._file)

    def restart(self, stage: str | None = None) -> None:
        """Delete what a run has made here, from a stage on; the store of pictures stays.

        Args:
            stage: Name of the stage; None: everything.
        """
        if not self.is_begun:
            return
        names = list(STAGE_FILES)
        first = names.index(stage) if stage in names else len(names) if stage else 0
        for name in names[first:]:
            (self.path / STAGE_FILES[name]).unlink(missing_ok=True)
            shutil.rmtree(self.path / "tensorboard" / name, ignore_errors=True)
            if name == "mining":
                delete_parts(self.path / MINED_PARTS)
        shutil.rmtree(self.path / "weights", ignore_errors=True)
        if stage is None:
            for name in ("curves.jsonl", "run.json"):
                (self.path / name).unlink(missing_ok=True)

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self._recipe)))
        return plain

    def _read(self) -> dict[str, Any]:
        try:
            before: dict[str, Any] = parse_json(self._file.read_text(encoding="utf-8"))
            # old names of settings become the present ones, and settings that are missing get their defaults
            architecture = settings_from_table(before["architecture"], Architecture, where=str(self._file))
            before["architecture"] = json.loads(json.dumps(dataclasses.asdict(architecture)))
            for key in ("name", "architecture", "seed", "data_sha256"):
                _ = before[key]
        except (OSError, ValueError, KeyError, TypeError, SettingsError) as error:
            raise TrainingError(
                f"{self.path} holds checkpoints, but no run.json that says of what; name another folder with --out,"
                " or throw them away with --restart (without --stage)"
            ) from error
        return before


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Settings that differ, by their dotted names."""
    found: list[str] = []
    for key, value in now.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found += [f"{key}.{change}" for change in _changes(old, value)]
        elif old != value:
            found.append(f"{key} {old} -> {value}")
    return found
