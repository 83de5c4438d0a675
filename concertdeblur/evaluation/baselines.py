"""Weight folders of the baselines, and how they restore a picture of any size.

A folder holds `generator.safetensors` (fp16 or fp32), `manifest.toml` with kind, sizes and sha256, and
`provenance.json`.
"""

import hashlib
import json
import platform
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from concertdeblur.deblurring.tensors import to_tensor
from concertdeblur.engines import Engine, make_engine
from concertdeblur.errors import SettingsError, WeightsError
from concertdeblur.evaluation.contenders import Contender, Restored
from concertdeblur.evaluation.metrics import Frame
from concertdeblur.models.baselines import Baseline, BaselineSettings, Kind, build_baseline
from concertdeblur.pretrained import WeightFile
from concertdeblur.runtime import Runtime
from concertdeblur.settings import read_settings
from concertdeblur.version import __version__

_NETWORK, _FILE = "generator", "generator.safetensors"
_MARGINS_DB: dict[Kind, float] = {"multi_scale": 2.03, "deblurgan": 3.36}  # BRMR's lead over each in the paper
_LABELS: dict[Kind, str] = {"multi_scale": "multi-scale CNN", "deblurgan": "DeblurGAN"}
_NOTES: dict[Kind, str] = {
    "multi_scale": "multi-scale CNN (Nah 2017): L1 on all scales, as its authors' later release has it",
    "deblurgan": "DeblurGAN: L1 in place of the perceptual loss, whose VGG weights are not to be had",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineManifest:
    """The contents of a baseline's `manifest.toml`."""

    kind: Kind
    settings: BaselineSettings
    files: tuple[WeightFile, ...]


def is_baseline(folder: Path) -> bool:
    """Whether a folder holds a baseline, and not a weight set."""
    try:
        return "kind" in tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


def save_baseline(
    folder: Path, kind: Kind, settings: BaselineSettings, network: Baseline, *, provenance: dict[str, Any]
) -> None:
    """Write a baseline's folder; weights are written as fp16, which halves the file and does not change PSNR.

    Args:
        folder: Created if missing; files of the same names are replaced.
        kind: Which baseline.
        settings: Its sizes.
        network: Its weights.
        provenance: Plain data on how it was made; versions are added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    part = folder / f"{_FILE}.part"
    save_file(tensors, part)
    part.replace(folder / _FILE)
    digest = hashlib.sha256((folder / _FILE).read_bytes()).hexdigest()
    lines = [f'kind = "{kind}"', "", "[settings]", f"width = {settings.width}", f"num_blocks = {settings.num_blocks}"]
    lines += ["", "[[files]]", f'network = "{_NETWORK}"', f'file = "{_FILE}"', f'sha256 = "{digest}"']
    versions = {"concertdeblur": __version__, "torch": torch.__version__, "python": platform.python_version()}
    text = json.dumps({**provenance, "versions": versions}, indent=1, sort_keys=True)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")
    (folder / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_baseline(folder: Path) -> tuple[Kind, Baseline]:
    """Load and check a baseline.

    Raises:
        WeightsError: If it is missing, altered, or does not fit its own sizes.
    """
    try:
        manifest = read_settings(folder / "manifest.toml", BaselineManifest)
    except SettingsError as error:
        raise WeightsError(f"no baseline: {error}") from error
    if [row.network for row in manifest.files] != [_NETWORK]:
        raise WeightsError(f"{folder}: the manifest must name one file, that of the {_NETWORK}")
    path = folder / manifest.files[0].file
    network = build_baseline(manifest.kind, manifest.settings)
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != manifest.files[0].sha256:
            raise WeightsError(f"weights altered: {path} is not the file that the manifest names")
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except OSError as error:
        raise WeightsError(f"weights missing: {path} ({error.strerror})") from error
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path}: does not fit the sizes in the manifest") from error
    return manifest.kind, network


class BaselineRestorer:
    """Restores whole pictures with a baseline; not thread-safe."""

    def __init__(self, network: Baseline, runtime: Runtime) -> None:
        self._multiple_px = network.multiple_px
        self._runtime = runtime
        self._engine: Engine = make_engine(network, runtime)

    def restore(self, blurred: Frame) -> Restored:
        """Restore a picture of any size, (height, width, 3) in [0, 1]; its edge is repeated at the bottom and right."""
        height, width = blurred.shape[:2]
        frame = to_tensor(blurred, self._runtime.device)
        padded = F.pad(frame, (0, -width % self._multiple_px, 0, -height % self._multiple_px), mode="replicate")
        with torch.inference_mode():
            made = self._engine(padded)[0, :, :height, :width].clamp(0, 1)
        return Restored(pixels=np.ascontiguousarray(made.permute(1, 2, 0).cpu().numpy()))


def baseline_contender(name: str, folder: Path, runtime: Runtime) -> Contender:
    """A baseline's column.

    Raises:
        WeightsError: As `load_baseline`.
    """
    kind, network = load_baseline(folder)
    label = _LABELS[kind] if name == kind else name
    restore = BaselineRestorer(network, runtime).restore
    return Contender(key=name, label=label, restore=restore, margin_db=_MARGINS_DB[kind], note=_NOTES[kind])
