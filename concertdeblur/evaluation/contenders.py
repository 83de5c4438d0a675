"""The contenders of a comparison: the blurred input, baselines, and weight sets with and without refining."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.cam import Area, Map
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.metrics import Frame
from concertdeblur.models import Networks
from concertdeblur.pretrained import Manifest, find_weights, load_networks, read_manifest
from concertdeblur.runtime import Runtime

_GENERATED = DeblurOptions(refine=False)
_REFINED = DeblurOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """A deblurred picture, and the windows that BRMR tried and kept."""

    pixels: Frame
    tried: tuple[Area, ...] = ()
    kept: tuple[Area, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One column of the tables."""

    key: str
    label: str
    restore: Callable[[Frame], Restored]
    margin_db: float | None = None  # the paper's margin of BRMR over it
    note: str = ""


@dataclass(kw_only=True, slots=True)
class WeightSet:
    """A weight set, its networks, and deblurrers that stop after some rounds of refining."""

    name: str
    folder: Path
    manifest: Manifest
    networks: Networks
    runtime: Runtime
    _deblurrers: dict[int, Deblurrer] = field(default_factory=dict)

    @property
    def max_iterations(self) -> int:
        """The most rounds of refining, by the weight set's settings."""
        return self.manifest.brmr.max_iterations

    def deblurrer(self, max_iterations: int | None = None) -> Deblurrer:
        """The deblurrer, or one that stops after fewer rounds."""
        rounds = self.max_iterations if max_iterations is None else max_iterations
        if rounds not in self._deblurrers:
            brmr = dataclasses.replace(self.manifest.brmr, max_iterations=rounds)
            self._deblurrers[rounds] = Deblurrer(self.networks, brmr, self.runtime, name=self.name)
        return self._deblurrers[rounds]

    def generate(self, blurred: Frame) -> Restored:
        """The iGAN alone."""
        return Restored(pixels=_float(self.deblurrer().deblur_picture(blurred, _GENERATED).pixels))

    def refine(self, blurred: Frame, max_iterations: int | None = None) -> Restored:
        """Adversarial BRMR, without the cap that videos have."""
        made = self.deblurrer(max_iterations).deblur_picture(blurred, _REFINED)
        return Restored(pixels=_float(made.pixels), tried=made.windows_tried, kept=made.windows_kept)

    def heatmap(self, blurred: Frame) -> Frame:
        """What is still blurred in the refined picture, (height, width), 0 to 1."""
        options = dataclasses.replace(_REFINED, heatmap=True)
        heatmap = self.deblurrer().deblur_picture(blurred, options).heatmap
        assert heatmap is not None
        return heatmap

    def sharpness_map(self, picture: Frame) -> Map:
        """H^s - H^b of D_i(P, P), one value for 8x8 px; sides are multiples of 8."""
        frame = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None])).to(self.runtime.device)
        size = (picture.shape[0] // cam.MAP_PX, picture.shape[1] // cam.MAP_PX)
        with torch.inference_mode():
            found = self.networks.discriminator.to(self.runtime.device).eval()(frame, frame)
            if found.shape[1:] != size:  # the paper's 4x4 convolutions give 31x31 at 256x256
                found = torch.nn.functional.interpolate(found[:, None], size, mode="bilinear")[:, 0]
        return np.asarray(found[0].double().cpu().numpy(), dtype=np.float64)


def load_weight_set(weights: str | Path, runtime: Runtime, *, name: str | None = None) -> WeightSet:
    """Load and check a weight set.

    Raises:
        WeightsError: If it is missing, altered, or does not fit its own architecture.
    """
    folder = find_weights(weights)
    manifest = read_manifest(folder)
    return WeightSet(
        name=name or manifest.recipe, folder=folder, manifest=manifest, networks=load_networks(folder, manifest),
        runtime=runtime,
    )  # fmt: skip


def blurred_input() -> Contender:
    """The input as it is."""
    return Contender(key="blurred", label="blurred input", restore=lambda blurred: Restored(pixels=blurred))


def contenders_of(weights: WeightSet, *, prefix: str = "") -> tuple[Contender, Contender]:
    """A weight set's two columns: iGAN alone, and adversarial BRMR."""
    of = f"{prefix} " if prefix else ""
    return (
        Contender(
            key=f"{prefix}-igan" if prefix else "igan", label=f"{of}iGAN alone", restore=weights.generate,
            margin_db=None if prefix else 1.16,
        ),
        Contender(
            key=f"{prefix}-brmr" if prefix else "brmr", label=f"{of}adversarial BRMR",
            restore=weights.refine,
        ),
    )  # fmt: skip


def _float(pixels: object) -> Frame:
    return np.asarray(pixels, dtype=np.float32)
