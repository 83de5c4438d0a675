"""How sharp each region of a frame is, by its luma alone; this is fast enough for every frame of a clip.

Each region has two energies in each direction: one of differences 2 px apart (fine) and one of differences 8 px apart,
taken on the picture at a quarter of its size (coarse). The contrast of an edge is in both, so their ratio does not
depend on how bright the stage is. Blur reduces the fine energy first. Noise is subtracted from both, and differences
across the edges of 8x8 coding blocks are left out.

Legend: H, W frame; R, C rows and columns of regions; D direction (0: along x, 1: along y).
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_BLOCK_PX = 8  # coding blocks of JPEG, MPEG and H.264 meet there
_LARGEST_REGION_PX, _SMALLEST_REGION_PX = 64, 16
_REGIONS_ACROSS = 8  # least number of regions along the short side
# Energy ratios of step edges after a Gaussian: 0.33 for sigma 0.3 px, 0.24 for 0.5 px, 0.15 for 1 px, 0.10 for 2 px. A
# picture that is a slope at both scales has 1/16.
_SHARP_RATIO, _SOFT_RATIO = 0.30, 1 / 16
_LEAST_COARSE_ENERGY = 25.0  # mean squared difference; below it a region has no edge to judge by
_NOISE_TO_COARSE = 1 / 16  # the coarse energy of white noise, as a share of its fine energy
_NOISE_MARGIN = 8.0  # the coarse energy must be larger than that of the noise by this factor
_NOISE_PERCENTILE = 5
_LEAST_NOISE_RATIO = 0.6  # fine to coarse energy; edges have less, white noise alone has 16
_SHARPER_PERCENTILE = 75
_LIT_LUMA = (24, 232)  # there is no noise outside: codecs remove it in black, and clipping does in white


@dataclass(frozen=True, kw_only=True, slots=True)
class Regions:
    """The measured energies of one frame."""

    fine_DRC: Floats
    coarse_DRC: Floats
    luma_RC: Floats  # mean level, 0 to 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharpness:
    """How sharp a frame's regions are; 0 soft, about 1 as sharp as pixels can be."""

    score_DRC: Floats  # 0 where there is nothing to judge by
    weight_DRC: Floats  # square root of the coarse energy without noise; 0 where there is nothing to judge by


def region_side_px(height: int, width: int) -> int:
    """Side of a region: 64 px, smaller in small frames; a multiple of 8."""
    side = min(height, width) // _REGIONS_ACROSS // _BLOCK_PX * _BLOCK_PX
    return max(_SMALLEST_REGION_PX, min(_LARGEST_REGION_PX, side))


def measure(luma_HW: Luma, *, side_px: int | None = None) -> Regions:
    """Measure one frame; a last column or row of less than half a region belongs to its neighbour.

    Args:
        luma_HW: Gamma-encoded luma, at least 32x32.
        side_px: Side of a region, a multiple of 8; by default as `region_side_px`.

    """
    height, width = (length // _BLOCK_PX * _BLOCK_PX for length in luma_HW.shape)
    luma_HW = np.asarray(luma_HW[:height, :width], dtype=np.uint8)
    side = side_px or region_side_px(height, width)
    small_HW = _halved(_halved(luma_HW))
    rows, columns = (_pooling(length, side, step=1, is_fine=True) for length in (height, width))
    half_rows, half_columns = (_pooling(length, side, step=2) for length in (height, width))
    small_rows, small_columns = (_pooling(length, side, step=4) for length in (height, width))
    # every second row says as much about differences along x as all rows, and every second column about those along y
    fine = [
        _pooled(_squares_along_x(luma_HW[::2]), half_rows, columns.inner()),
        _pooled(_squares_along_y(np.ascontiguousarray(luma_HW[:, ::2])), rows.inner(), half_columns),
    ]
    coarse = [
        _pooled(_squares_along_x(small_HW), small_rows, small_columns.inner()),
        _pooled(_squares_along_y(small_HW), small_rows.inner(), small_columns),
    ]
    luma = _pooled(small_HW.astype(np.float32), small_rows, small_columns)
    return Regions(fine_DRC=np.stack(fine), coarse_DRC=np.stack(coarse), luma_RC=luma)


def judge(regions: Regions, noise: float | None = None) -> Sharpness:
    """Turn energies into sharpness, after the noise is subtracted.

    Args:
        regions: The measured energies.
        noise: Fine energy of the noise, if other frames say it better; by default that of `noise_energy`.

    """
    noise = noise_energy(regions) if noise is None else noise
    coarse_DRC = regions.coarse_DRC - noise * _NOISE_TO_COARSE
    fine_DRC = np.maximum(regions.fine_DRC - noise, 0)
    has_edges = coarse_DRC > max(_LEAST_COARSE_ENERGY, _NOISE_MARGIN * noise * _NOISE_TO_COARSE)
    ratio_DRC = fine_DRC / np.where(has_edges, coarse_DRC, 1)
    span = np.log(_SHARP_RATIO / _SOFT_RATIO)
    score_DRC = np.log(np.maximum(ratio_DRC, _SOFT_RATIO) / _SOFT_RATIO) / span
    weight_DRC = np.sqrt(np.maximum(coarse_DRC, 0))
    nothing = np.float32(0)
    return Sharpness(
        score_DRC=np.where(has_edges, score_DRC, nothing).astype(np.float32),
        weight_DRC=np.where(has_edges, weight_DRC, nothing).astype(np.float32),
    )


def absolute_sharpness(sharpness: Sharpness) -> float:
    """The sharpness of a frame's sharper regions, which can be compared between clips; 0 if it has hardly any edge.

    A region is as sharp as its softer direction, because motion along one axis blurs only that direction. Only the half
    of the regions with the strongest edges counts, because grain looks like detail in the others.
    """
    weight_DRC, score_DRC = sharpness.weight_DRC, sharpness.score_DRC
    both_RC = (weight_DRC > 0).all(axis=0)
    if both_RC.sum() < _fewest_regions(both_RC.size):
        return 0.0
    weight, score = weight_DRC.sum(axis=0)[both_RC], score_DRC.min(axis=0)[both_RC]
    strongest = np.argsort(-weight, kind="stable")[: max(3, len(weight) // 2)]
    return weighted_percentile(score[strongest], weight[strongest] ** 2, _SHARPER_PERCENTILE)


def weighted_percentile(values: Floats, weights: Floats, percentile: float) -> float:
    """The least value such that values up to it have this share of the weight."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] * percentile / 100)])


def _fewest_regions(num_regions: int) -> int:
    return max(3, num_regions // 40)


def noise_energy(regions: Regions) -> float:
    """The fine energy of the noise: that of the flattest lit regions, without the part that edges explain.

    In a frame full of texture the estimate is too high. All frames of a shot have the same noise, so take a low
    quantile over them.
    """
    low, high = _LIT_LUMA
    lit_RC = (regions.luma_RC > low) & (regions.luma_RC < high)
    if lit_RC.sum() < _REGIONS_ACROSS:
        return 0.0
    fine, coarse = (energy_DRC.mean(axis=0)[lit_RC] for energy_DRC in (regions.fine_DRC, regions.coarse_DRC))
    flattest = np.argpartition(fine, int(len(fine) * _NOISE_PERCENTILE / 100))[int(len(fine) * _NOISE_PERCENTILE / 100)]
    if fine[flattest] > _LEAST_NOISE_RATIO * coarse[flattest]:
        return float(fine[flattest])
    return max(0.0, float(fine[flattest] - _SHARP_RATIO * coarse[flattest]))


def _halved(picture_HW: Luma) -> Luma:
    height, width = picture_HW.shape
    return np.asarray(cv2.resize(picture_HW, (width // 2, height // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _squares_along_x(picture_HW: Luma) -> Floats:
    """Squared differences between the left and right neighbour of each pixel; two columns fewer."""
    difference = cv2.absdiff(picture_HW[:, 2:], picture_HW[:, :-2])
    return np.asarray(cv2.multiply(difference, difference, dtype=cv2.CV_32F), dtype=np.float32)


def _squares_along_y(picture_HW: Luma) -> Floats:
    difference = cv2.absdiff(picture_HW[2:], picture_HW[:-2])
    return np.asarray(cv2.multiply(difference, difference, dtype=cv2.CV_32F), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pooling:
    """How lines of pixels are averaged over regions."""

    starts: npt.NDArray[np.intp]  # the first line of each region
    weights: Floats  # weight of each line in its region's mean
    region_weights: Floats  # sum of the weights of each region's lines
    is_even: bool  # whether all lines count alike

    def inner(self) -> "_Pooling":
        """The same without the first and the last line, for which there are no differences."""
        return replace(self, starts=np.maximum(self.starts - 1, 0), weights=self.weights[1:-1])


def _pooled(values_HW: Floats, rows: _Pooling, columns: _Pooling) -> Floats:
    """(rows, columns) means, by sums: a matrix product would start threads, and its result depend on their number."""
    if rows.is_even:  # the axis whose lines all count alike goes first, by plain sums
        sums_RW = np.concatenate([cv2.reduce(part, 0, cv2.REDUCE_SUM) for part in np.split(values_HW, rows.starts[1:])])
        means_RC = np.add.reduceat(sums_RW * columns.weights, columns.starts, axis=1) * rows.region_weights[:, None]
    else:
        assert columns.is_even
        parts = np.split(values_HW, columns.starts[1:], axis=1)
        sums_HC = np.concatenate([cv2.reduce(part, 1, cv2.REDUCE_SUM) for part in parts], axis=1)
        means_RC = np.add.reduceat(sums_HC * rows.weights[:, None], rows.starts, axis=0) * columns.region_weights
    return np.asarray(means_RC, dtype=np.float32)


@lru_cache(maxsize=64)
def _pooling(length_px: int, side_px: int, *, step: int, is_fine: bool = False) -> _Pooling:
    """The regions of `side_px` along an axis of which every `step`-th line is used.

    With fine differences, those across the edges of coding blocks are left out.
    """
    num_regions = max(1, round(length_px / side_px))
    position_px = np.arange(length_px // step) * step
    region = np.minimum(position_px // side_px, num_regions - 1)
    phase = position_px % _BLOCK_PX
    counts = (phase > 0) & (phase < _BLOCK_PX - 1) if is_fine else np.ones(len(position_px), bool)
    nums = np.maximum(1, np.bincount(region, weights=counts, minlength=num_regions))
    starts = np.searchsorted(region, np.arange(num_regions))
    return _Pooling(
        starts=starts,
        weights=(counts / nums[region]).astype(np.float32),
        region_weights=(1 / nums).astype(np.float32),
        is_even=bool(counts.all()),
    )
