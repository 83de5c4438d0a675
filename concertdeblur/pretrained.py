"""Loads a weight set by its name: its files are checked, and a Deblurrer is made of them.

A weight set is a folder with a safetensors file for each network and a `manifest.toml`, which has the architecture,
BRMR's settings and the sha256 of every file.
"""

import dataclasses
import hashlib
import json
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from concertdeblur.deblurring.brmr import BrmrSettings, with_present_names
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.errors import SettingsError, WeightsError
from concertdeblur.models import Architecture, Networks, build_networks
from concertdeblur.runtime import choose_runtime
from concertdeblur.settings import read_table, settings_from_table
from concertdeblur.version import __version__

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
DEFAULT_WEIGHTS = "concert"
FAST_WEIGHTS = "concert-fast"  # at most 0.4 of the time a frame

Quality = Literal["auto", "best", "fast"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFile:
    """One file of a weight set."""

    network: str
    file: str  # its name; it lies beside the manifest
    sha256: str

    def __post_init__(self) -> None:
        if self.file in ("", ".", "..") or any(letter in self.file for letter in "/\\\0"):
            raise ValueError(f"a weight file must be named without a folder, but it is {self.file!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The contents of a weight set's `manifest.toml`."""

    recipe: str
    architecture: Architecture
    brmr: BrmrSettings
    files: tuple[WeightFile, ...]


def load(weights: str | Path = DEFAULT_WEIGHTS, *, device: str = "auto", backend: str = "auto") -> Deblurrer:
    """Load a weight set as a `Deblurrer`.

    Args:
        weights: Name of a shipped set ("concert"), or the folder of another one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        backend: "auto", "torch" or "openvino".

    Raises:
        WeightsError: If the set is missing, altered, or does not fit its own architecture.
        UsageError: If device or backend cannot be used here.

    """
    runtime = choose_runtime(device, backend)
    folder = find_weights(weights)
    manifest = read_manifest(folder)
    return Deblurrer(
        load_networks(folder, manifest), manifest.brmr, runtime, name=manifest.recipe, digest=digest_of(folder)
    )


def has_fast() -> bool:
    """Whether the fast set is shipped with this installation."""
    return (WEIGHTS_FOLDER / FAST_WEIGHTS / "manifest.toml").is_file()


def weights_of(quality: Quality) -> str:
    """The shipped set of a quality; for "auto" it is the best one (`pipelines/quality.py` chooses by the work).

    Raises:
        WeightsError: If there is no such quality, or its set is not there.

    """
    if quality not in ("auto", "best", "fast"):
        raise WeightsError(f"unknown quality '{quality}'; choose auto, best or fast")
    if quality == "fast" and not has_fast():
        raise WeightsError(f"the weight set {FAST_WEIGHTS} is not installed; take --quality best")
    return FAST_WEIGHTS if quality == "fast" else DEFAULT_WEIGHTS


def find_weights(weights: str | Path) -> Path:
    """The folder of a weight set: a shipped name, or a path."""
    shipped = WEIGHTS_FOLDER / str(weights)
    for folder in (shipped, Path(weights)):
        if (folder / "manifest.toml").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in WEIGHTS_FOLDER.glob("*/manifest.toml"))) or "none"
    raise WeightsError(f"no weight set '{weights}': neither a shipped one ({known}) nor a folder with a manifest.toml")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a weight set.

    Raises:
        WeightsError: If it cannot be read or understood.

    """
    try:
        path = folder / "manifest.toml"
        return settings_from_table(with_present_names(read_table(path)), Manifest, where=str(path))
    except SettingsError as error:
        raise WeightsError(str(error)) from error


def digest_of(folder: Path) -> str:
    """The sha256 of a weight set's manifest, which has that of each of its files."""
    return hashlib.sha256((folder / "manifest.toml").read_bytes()).hexdigest()


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a weight set with its sha256.

    Raises:
        WeightsError: If a file is missing or altered.

    """
    for row in manifest.files:
        path = folder / row.file
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise WeightsError(f"weights missing: {path} ({error.strerror}); install concertdeblur again") from error
        if digest != row.sha256:
            raise WeightsError(f"weights altered: {path} has sha256 {digest[:12]}..., expected {row.sha256[:12]}...")


def load_networks(folder: Path, manifest: Manifest) -> Networks:
    """The networks of a weight set, after checking its files.

    Raises:
        WeightsError: If a file is missing, altered, or belongs to another architecture.

    """
    check_files(folder, manifest)
    networks = build_networks(manifest.architecture)
    modules = networks.by_name()
    files = {row.network: row.file for row in manifest.files}
    if files.keys() != modules.keys():
        raise WeightsError(f"{folder}: the manifest must name one file for each of {', '.join(modules)}")
    for network, module in modules.items():
        try:
            tensors = {key: value.float() for key, value in load_file(folder / files[network]).items()}
            module.load_state_dict(tensors)
        except (SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{folder / files[network]}: does not fit the architecture in the manifest") from error
    return networks


def save_weight_set(
    folder: Path,
    networks: Networks,
    *,
    recipe: str,
    architecture: Architecture,
    brmr: BrmrSettings,
    provenance: dict[str, Any],
) -> None:
    """Write a weight set that `load` reads: weights, manifest with sha256, and `provenance.json`.

    Args:
        folder: Created if missing; files of the same names are replaced once all are written.
        networks: The networks, of this architecture.
        recipe: Name of the recipe that made them.
        architecture: Their sizes.
        brmr: Settings of refining that belong to them.
        provenance: Plain data on how they were made; versions are added.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        lines = [f"recipe = {_toml_value(recipe)}", "", "[architecture]", *_toml(dataclasses.asdict(architecture))]
        lines += ["", "[brmr]", *_toml(dataclasses.asdict(brmr))]
        for network, module in networks.by_name().items():
            path = part / f"{network}.safetensors"
            data = save({key: value.cpu().contiguous() for key, value in module.state_dict().items()})
            path.write_bytes(data)  # with `save_file` others could not read it
            digest = hashlib.sha256(data).hexdigest()
            lines += ["", "[[files]]", *_toml({"network": network, "file": path.name, "sha256": digest})]
        versions = {"concertdeblur": __version__, "torch": torch.__version__, "python": platform.python_version()}
        text = json.dumps({**provenance, "versions": versions}, indent=1, sort_keys=True)
        (part / "provenance.json").write_text(text + "\n", encoding="utf-8")
        (part / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for path in sorted(part.iterdir(), key=lambda path: path.name == "manifest.toml"):  # it comes last
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _toml(table: dict[str, Any]) -> list[str]:
    """Plain values and inline tables as TOML lines; None is left out."""
    return [f"{key} = {_toml_value(item)}" for key, item in table.items() if item is not None]


def _toml_value(item: Any) -> str:
    """A plain value or inline table: as in JSON, but TOML has no surrogate pairs, and takes DEL as an escape only."""
    if isinstance(item, dict):
        kept = {key: inner for key, inner in item.items() if inner is not None}
        return "{ " + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in kept.items()) + " }"
    return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
