"""Training samples: (blurred, sharp) crops, each a pure function of (seed, index)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.blur.capture import capture
from concertdeblur.blur.kernels import Kernel, Picture, blur, line_length_px
from concertdeblur.blur.velocities import Velocity, velocity
from concertdeblur.models.blur_cells import BEFORE_PX, BLUR_CELL_PX, surrounded_index
from concertdeblur.models.concert import BLUR_TYPES
from concertdeblur.training.data.drawings import drawing
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.data.pictures import PictureStore

SURROUNDED_PX = len(surrounded_index(0, 10**6))
_MARGIN_PX = 24  # this margin is blurred, too, and then cut off; it is more than half of the largest kernel (21 px)

_NUM_TAKEN = 4  # random crops, of which the plainest is taken
_UNKNOWN_LEVEL = 0.5  # the middle of the range misleads the analysis least


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """How training samples are made; shares are probabilities."""

    sharp_share: float = 0.1
    motion_share: float = 0.1  # linear motion at any angle, up to 21 px
    nonlinear_weight: float = 0.8  # median and bilateral, relative to the five linear kernels
    capture_share: float = 0.3  # what a camera does (blur.capture): shake, moving objects, defocus, noise, compression
    framed_share: float = 0.5  # the picture ends where the cell ends; else it goes on
    noise_share: float = 0.25  # Gaussian noise, 0.3 to 3 grey levels
    jpeg_share: float = 0.25  # quality 70 to 98
    dark_share: float = 0.15  # multiplied by 0.05 to 1: stages are dark
    shrink_share: float = 0.3  # scaled down by up to 1.6 before cropping
    plain_share: float = 0.0  # the crop with the least detail of four is taken, because its spectrum misleads
    drawn_share: float = 0.0  # the picture is drawn instead of photographed (drawings.py)
    pair_share: float = 0.0  # an unchanged pair of the data is taken, if it has any

    def __post_init__(self) -> None:
        shares = {field.name: getattr(self, field.name) for field in fields(self) if field.name.endswith("_share")}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must lie in [0, 1], but it is {share}")
        if not 0 <= self.nonlinear_weight < math.inf:
            raise ValueError(f"nonlinear_weight must be a number of 0 at least, but it is {self.nonlinear_weight}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """N cells with their surroundings (`blur_cells.looped` makes windows of them), and labels for the analysis."""

    surrounded_blurred: Tensor  # (N, 3, SURROUNDED_PX, SURROUNDED_PX), float32 in [0, 1]
    surrounded_sharp: Tensor
    type_N: Tensor  # index into BLUR_TYPES
    level_N: Tensor  # 0 to 1
    framed_N: Tensor  # whether the picture ends where the cell ends
    velocities_N3: Tensor  # velocity of each cell, and whether it is known (blur.velocities)

    @property
    def blurred_NCHW(self) -> Tensor:
        """The blurred cells, (N, 3, BLUR_CELL_PX, BLUR_CELL_PX)."""
        return _inner(self.surrounded_blurred)

    @property
    def sharp_NCHW(self) -> Tensor:
        """The sharp cells."""
        return _inner(self.surrounded_sharp)


def _inner(surrounded: Tensor) -> Tensor:
    inner = slice(BEFORE_PX, BEFORE_PX + BLUR_CELL_PX)
    return surrounded[:, :, inner, inner].contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class Sample:
    """A cell before it is part of a batch."""

    blurred: Picture  # surrounded
    sharp: Picture
    type_index: int
    level: float
    is_framed: bool
    velocity: Velocity = field(default_factory=lambda: np.zeros(3, np.float32))


class SampleStream:
    """An endless, seekable stream of training batches."""

    def __init__(
        self,
        store: PictureStore,
        settings: SampleSettings,
        *,
        seed: int,
        batch_size: int,
        pairs: PairStore | None = None,
    ) -> None:
        self._store = store
        self._pairs = pairs if pairs is not None and len(pairs) and settings.pair_share > 0 else None
        self._settings = settings
        self._seed = seed
        self._batch_size = batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step; it depends on seed and step only."""
        return self.cells(step, range(self._batch_size))

    def cells(self, step: int, places: Iterable[int]) -> Batch:
        """Some cells of the batch of a step, by their places in it."""
        return collate([self.sample(step * self._batch_size + place) for place in places])

    def sample(self, index: int) -> Sample:
        """One sample by its number among all."""
        rng = np.random.default_rng([self._seed, index])
        s = self._settings
        if self._pairs is not None and rng.random() < s.pair_share:
            return self._pair(self._pairs, rng)
        is_framed = rng.random() < s.framed_share
        margin = 0 if is_framed else _MARGIN_PX
        side_px = BLUR_CELL_PX if is_framed else SURROUNDED_PX + 2 * margin
        num_taken = _NUM_TAKEN if rng.random() < s.plain_share else 1
        region = min((self._region(rng, side_px) for _ in range(num_taken)), key=_detail)
        if rng.random() < s.dark_share:
            region = np.asarray(cv2.convertScaleAbs(region, alpha=rng.uniform(0.05, 1)), dtype=np.uint8)
        level = float(rng.random())
        inner = slice(margin, len(region) - margin)
        if rng.random() < s.capture_share:
            pair = capture(region, rng)
            blurred, sharp, moved_px = pair.blurred[inner, inner], pair.sharp[inner, inner], pair.moved_px
            type_index = 0 if np.array_equal(blurred, sharp) else BLUR_TYPES.index("capture")
        else:
            made, type_index, moved_px = _blurred(rng, region, level, s)
            blurred, sharp = _degraded(rng, made[inner, inner], s), region[inner, inner]
        if is_framed:
            blurred, sharp = surrounded(blurred), surrounded(sharp)
        return Sample(blurred, sharp, type_index, level if type_index else 0.0, is_framed, velocity(moved_px, rng))

    def _pair(self, pairs: PairStore, rng: np.random.Generator) -> Sample:
        number = int(rng.integers(len(pairs)))
        pair = pairs.pair(number)
        is_framed = rng.random() < self._settings.framed_share or pair.shorter_side_px < SURROUNDED_PX
        blurred, sharp = pairs.read_cut(number, rng, BLUR_CELL_PX if is_framed else SURROUNDED_PX)
        if is_framed:
            blurred, sharp = surrounded(blurred), surrounded(sharp)
        # a blur that is none of the seven is a camera's: of the capture chain, or of averaged frames as in GOPRO
        type_index = BLUR_TYPES.index(pair.kernel if pair.kernel in BLUR_TYPES else "capture")
        level = _UNKNOWN_LEVEL if pair.level is None else pair.level
        return Sample(blurred, sharp, type_index, level, is_framed)

    def _region(self, rng: np.random.Generator, side_px: int) -> Picture:
        if rng.random() < self._settings.drawn_share:
            return drawing(side_px, rng)
        picture = self._store.read(int(rng.integers(len(self._store))))
        scale = rng.uniform(1, 1.6) if rng.random() < self._settings.shrink_share else 1.0
        wanted = min(round(side_px * scale), *picture.shape[:2])
        y = int(rng.integers(picture.shape[0] - wanted + 1))
        x = int(rng.integers(picture.shape[1] - wanted + 1))
        region = picture[y : y + wanted, x : x + wanted]
        if wanted < side_px:  # its reflection surrounds a picture that is too small
            short = side_px - wanted
            around = ((short // 2, short - short // 2),) * 2
            region = np.pad(region, (*around, (0, 0)), mode="reflect")
        elif wanted > side_px:
            region = np.asarray(cv2.resize(region, (side_px, side_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        # OpenCV turns pictures in blocks: numpy's strided copy took a quarter of a sample's time
        region = np.ascontiguousarray(region)
        if rng.random() < 0.5:
            region = np.asarray(cv2.flip(region, 1), dtype=np.uint8)
        if rng.random() < 0.5:
            region = np.asarray(cv2.transpose(region), dtype=np.uint8)
        return region


def _detail(region: Picture) -> float:
    """Mean difference of horizontal neighbours, in every other pixel of green."""
    green = region[::2, ::2, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=1)).mean())


def surrounded(cell: Picture) -> Picture:
    """A picture of one cell with its reflection around it."""
    around = (BEFORE_PX, SURROUNDED_PX - BEFORE_PX - BLUR_CELL_PX) * 2
    return np.asarray(cv2.copyMakeBorder(cell, *around, cv2.BORDER_REFLECT_101), dtype=np.uint8)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into tensors."""
    return Batch(
        surrounded_blurred=to_tensor(np.stack([s.blurred for s in samples])),
        surrounded_sharp=to_tensor(np.stack([s.sharp for s in samples])),
        type_N=torch.tensor([s.type_index for s in samples]),
        level_N=torch.tensor([s.level for s in samples]),
        framed_N=torch.tensor([s.is_framed for s in samples]),
        velocities_N3=torch.from_numpy(np.stack([s.velocity for s in samples])),
    )


def collate_pictures(blurred: list[Picture], sharp: Picture) -> Batch:
    """A batch of versions of one picture, which ends where the cell ends."""
    samples = [Sample(surrounded(b), surrounded(sharp), 1, 0.0, True) for b in blurred]
    return collate(samples)


def to_tensor(pictures_NHWC: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1], channels_last."""
    return torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2).float().div_(255)


def motion_blurred(picture: Picture, angle_deg: float, length_px: float) -> Picture:
    """Blur along a line of any angle (degrees, counter-clockwise from the x axis) and length."""
    side = 2 * math.ceil(length_px / 2) + 3
    centre = side / 2
    dx, dy = math.cos(math.radians(angle_deg)) * length_px / 2, -math.sin(math.radians(angle_deg)) * length_px / 2
    scale = 16  # the line is drawn larger and then averaged, so that its ends lie within pixels
    drawn = np.zeros((side * scale, side * scale), np.float32)
    start = (round((centre - dx) * scale), round((centre - dy) * scale))
    end = (round((centre + dx) * scale), round((centre + dy) * scale))
    cv2.line(drawn, start, end, 1.0, scale)
    kernel = cv2.resize(drawn, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), dtype=np.uint8)


def _blurred(
    rng: np.random.Generator, region: Picture, level: float, settings: SampleSettings
) -> tuple[Picture, int, tuple[float, float] | None]:
    """The blurred region, the index of its type, and how far motion moved it."""
    draw = rng.random()
    if draw < settings.sharp_share:
        return region, 0, None
    if draw < settings.sharp_share + settings.motion_share:
        angle, length = rng.uniform(0, 180), line_length_px(level)
        moved_px = length * math.cos(math.radians(angle)), -length * math.sin(math.radians(angle))
        return motion_blurred(region, angle, length), BLUR_TYPES.index("motion"), moved_px
    weights = np.array([settings.nonlinear_weight if k in (Kernel.MEDIAN, Kernel.BILATERAL) else 1.0 for k in Kernel])
    kernel = list(Kernel)[int(rng.choice(len(Kernel), p=weights / weights.sum()))]
    return blur(region, kernel, level), BLUR_TYPES.index(kernel.value), None


def _degraded(rng: np.random.Generator, picture: Picture, settings: SampleSettings) -> Picture:
    if rng.random() < settings.noise_share:
        noise = rng.normal(0, rng.uniform(0.3, 3), picture.shape)
        picture = np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg_share:
        quality = int(rng.integers(70, 99))
        encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        picture = np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])
    return picture
