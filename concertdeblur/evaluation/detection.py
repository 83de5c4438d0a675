"""Blur detection: how well D_i finds the one blurred patch of a sharp picture (docs/method.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import cv2
import numpy as np

from concertdeblur.blur import Kernel, blur
from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring import cam
from concertdeblur.deblurring.cam import PATCH_PX, SEARCH_STRIDE_PX, Area, Map
from concertdeblur.evaluation.contenders import WeightSet
from concertdeblur.evaluation.pairs import SIDE_PX, EvaluationPair
from concertdeblur.evaluation.statistics import Estimate, estimate

Where = Literal["grid", "anywhere"]
PAPER_IOU = 0.676
_LAST_PX = SIDE_PX - PATCH_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A blurred patch, and the place where D_i found it, in px of the picture."""

    pair: EvaluationPair  # the pair of the sharp picture
    kernel: Kernel
    patch: Area
    found: Area

    @property
    def iou(self) -> float:
        """Intersection over union of the two."""
        return overlap(self.patch, self.found)


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionReport:
    """Mean IoU: patches on the 64-px grid with the 64-px search, and patches anywhere with a dense search."""

    grid: Estimate
    grid_by_chance: float  # IoU of a random window of the grid
    anywhere: Estimate
    grid_by_kernel: dict[str, Estimate]
    level: float


def overlap(a: Area, b: Area) -> float:
    """Intersection over union."""
    shared = a.within(b)
    inside = shared.height * shared.width
    return inside / (a.height * a.width + b.height * b.width - inside)


def partly_blurred(sharp: Picture, kernel: Kernel, level: float, patch: Area) -> Picture:
    """P: a patch of the blurred picture in the sharp one; both (256, 256, 3)."""
    made = sharp.copy()
    made[patch.of_pixels()] = blur(sharp, kernel, level)[patch.of_pixels()]
    return made


def draw_patch(where: Where, rng: np.random.Generator) -> Area:
    """Where the blurred patch lies."""
    step = SEARCH_STRIDE_PX if where == "grid" else 1
    y, x = (int(n) * step for n in rng.integers(_LAST_PX // step, size=2, endpoint=True))
    return Area(y=y, x=x, height=PATCH_PX, width=PATCH_PX)


def find_patch(map_hw: Map, where: Where) -> Area:
    """The most blurred window, found by the 64-px search or by a dense one over the upsampled H^b."""
    if where == "grid":
        return cam.most_blurred(map_hw, cam.cells_of(SIDE_PX, SIDE_PX)[0])[0]
    blurred = cv2.resize(-0.5 * map_hw, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    total = np.asarray(cv2.integral(blurred), dtype=np.float64)
    n = PATCH_PX
    sums = total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return Area(y=int(y), x=int(x), height=n, width=n)


def trials_of(
    weights: WeightSet, sharp: Picture, *, pair: EvaluationPair, level: float, rng: np.random.Generator
) -> dict[Where, list[Trial]]:
    """A trial of each kind with each kernel, which gives the mean over a random kernel without its chance."""
    made: dict[Where, list[Trial]] = {"grid": [], "anywhere": []}
    for kernel in Kernel:
        for where, trials in made.items():
            patch = draw_patch(where, rng)
            given = partly_blurred(sharp, kernel, level, patch).astype(np.float32) / np.float32(255)
            found = find_patch(weights.sharpness_map(given), where)
            trials.append(Trial(pair=pair, kernel=kernel, patch=patch, found=found))
    return made


def summarise(grid: Sequence[Trial], anywhere: Sequence[Trial], *, level: float, seed: int) -> DetectionReport:
    """Mean IoU of both kinds."""

    def mean(trials: Sequence[Trial]) -> Estimate:
        return estimate([t.iou for t in trials], [t.pair.group for t in trials], seed=seed)

    by_kernel = {kernel.value: mean([trial for trial in grid if trial.kernel is kernel]) for kernel in Kernel}
    return DetectionReport(
        grid=mean(grid), grid_by_chance=_chance(), anywhere=mean(anywhere), grid_by_kernel=by_kernel, level=level
    )


def _chance() -> float:
    starts = range(0, _LAST_PX + 1, SEARCH_STRIDE_PX)
    areas = [Area(y=y, x=x, height=PATCH_PX, width=PATCH_PX) for y, x in product(starts, starts)]
    return float(np.mean([overlap(a, b) for a, b in product(areas, areas)]))
