"""Motion samples: crops of frames that move, with all inputs that G_i has in a video.

They come from real pairs, from averages of sharp clips, from sharp sequences, from clips that are rendered from
photographs during training, and from cells that a still camera sees. A sample is a pure function of (seed, index).

Shape suffixes: U uses, N samples, T planes of taps, G channels of guesses, C channels, H height, W width (h, w: a value
for SMEAR_PX px).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.moving_scenes import MovingScene, SceneSettings, moving_scene
from concertdeblur.models.blur_cells import BEFORE_PX, BLUR_CELL_PX
from concertdeblur.models.exposure_share import counted_share
from concertdeblur.models.path_search import PathSearch, with_beliefs
from concertdeblur.models.path_taps import Flow, Path, plane_in, taps_of
from concertdeblur.models.prepared import HINT_PX, SMEAR_PX
from concertdeblur.training.data.guesses import Guesser, Guesses, guesses_of
from concertdeblur.training.data.pictures import PictureStore
from concertdeblur.training.data.samples import SampleStream
from concertdeblur.training.data.sequences import Kind, SequenceStore, StoredSequence, searched_luma
from concertdeblur.training.data.tones import drawn_tone

MotionKind = Literal["real", "clips", "sharp", "rendered", "still"]
_TRIES = 5  # most random places in a frame, until one moves
# how far off the exposures of paths are, and smears that are guessed from one picture
_EXPOSURE_SPREAD = 0.07
_GUESSED_TURN_RAD, _GUESSED_SPREAD = 0.14, 0.15
_MOVING_PX, _MOVING_PERCENTILE = 1.0, 80  # a place moves if this percentile of its smear is as large
_CONTENT_SHARE = 0.1  # share of places that are taken though they stand still


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionSettings:
    """The kinds of motion samples. Only the ratio of the first five numbers counts, among the kinds that are there.

    G_p's windows show real pairs, averages of clips and sharp sequences in the same ratio; rendered scenes have a share
    of their own (`rendered_windows`).
    """

    real: float = 0.4  # share of real pairs (--real)
    clips: float = 0.2  # share of averages of sharp clips (--clips)
    sharp: float = 0.06  # share of sharp sequences
    rendered: float = 0.27  # share of clips that are rendered from the training pictures
    still: float = 0.07  # share of cells that a still camera sees
    dropped: float = 0.06  # share of all samples that lack one of their neighbours
    lone: float = 0.1  # share of all samples that lack both, and of which the path is guessed, as in a picture
    toned: float = 0.65  # share of moving samples that are shown as another camera would have filmed them
    copies: int = 8  # reduced copies of each real sequence that is learned from
    as_filmed: float = 0.08  # share of real samples as filmed; the others are of all copies alike
    held_out: float = 0.25  # share of each real sequence that is held out to judge by; 0: all of it is learned from
    # The most frames as filmed that are stored. One of 1280x720 takes 45 MB of disk space: 6 bytes for each px and its
    # truth, 8 for guesses, 3 for results of G_i, and the same for each px of 8 copies, which have 1.35 times as many
    # (one at a quarter of the size has a sixteenth); 0.9 MB for the flow between frames and between results, and for
    # that of each copy. Up to 20 frames of a sequence take nearly as much again, as sharp ones.
    most_real_frames: int = 650
    # Rendered scenes that are stored for the G_p of videos; 0: it learns on none. One takes 7 MB of disk space: 4 for
    # frames, truths and flow, 3 for guesses, results and the flow between these.
    stored_scenes: int = 400
    stored_lights: float = 0.5  # share of the stored scenes that have lights, which G_p darkens if it has seen too few
    rendered_windows: float = 0.28  # share of G_p's windows that show stored scenes, if it has others, too
    scene: SceneSettings = field(default=SceneSettings())

    def __post_init__(self) -> None:
        shares = (self.real, self.clips, self.sharp, self.rendered, self.still)
        if min(shares) < 0 or not self.rendered + self.still:
            raise ValueError(f"shares of motion samples must not be negative, nor rendered and still both 0: {shares}")
        names = ("dropped", "lone", "toned", "as_filmed", "stored_lights", "rendered_windows")
        if not all(0 <= getattr(self, name) <= 1 for name in names):
            raise ValueError(f"{', '.join(names[:-1])} and {names[-1]} must lie in [0, 1]")
        if not 0 <= self.held_out <= 0.5:
            raise ValueError(f"held_out must lie in [0, 0.5], but it is {self.held_out}")
        if self.most_real_frames < 1 or min(self.copies, self.stored_scenes) < 0:
            raise ValueError("most_real_frames must be 1 at least; copies and stored_scenes must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionCrops:
    """N crops of frames that move, in memory as they are stored; there may be no planes of guesses and taps."""

    blurred_NCHW: Tensor  # uint8
    sharp_NCHW: Tensor  # uint8
    guess_NGHW: Tensor  # float16
    taps_NTHW: Tensor  # uint8
    smear_N2hw: Tensor  # float32, px in an exposure

    def __len__(self) -> int:
        return len(self.blurred_NCHW)


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBatch:
    """Motion samples; each step that uses them gets other crops."""

    crops: tuple[MotionCrops, ...]


@dataclass(frozen=True, slots=True)
class _Moving:
    """Three frames, the truth of the middle one, its path and its guesses, before a crop is cut."""

    frames: tuple[Picture, Picture, Picture]
    sharp: Picture
    path: Path
    guess: Guesses
    field: float | None = None  # as `searched_luma` takes it


@dataclass(frozen=True, slots=True)
class _Crop:
    blurred: Picture
    sharp: Picture
    guess: Guesses  # (G, H, W)
    taps: npt.NDArray[np.uint8]  # (T, H, W)
    smear: npt.NDArray[np.float32]  # (H, W, 2)


class MotionStream:
    """An endless, seekable stream of motion samples.

    Args:
        pictures: Pictures from which clips are rendered.
        cells: Cells for the still camera.
        sequences: Stored sequences of the split `train`; None: there are none.
        guesser: Makes guesses at rendered frames; guesses at `sequences` are stored. None: the same crops, but without
            guesses and taps, for methods that see one frame.
        settings: The kinds of samples.
        seed: With the index of a sample, this decides everything.
        batch_size: Samples of a batch.
        crop_px: Side of the crops.
        uses: Crops of each sample, each for another step; a clip is rendered once for all of them.
    """

    def __init__(
        self, pictures: PictureStore, cells: SampleStream, sequences: SequenceStore | None,
        guesser: Guesser | None, settings: MotionSettings, *, seed: int, batch_size: int, crop_px: int, uses: int,
    ) -> None:  # fmt: skip
        self._pictures = [pictures.read(number) for number in range(len(pictures))]
        self._cells, self._guesser, self._settings = cells, guesser or _no_guess, settings
        self._sequences, self._is_bare = sequences, guesser is None
        self._guesses = None if sequences is None or guesser is None else guesses_of(sequences)
        self._seed, self._batch_size, self._crop_px, self._uses = seed, batch_size, crop_px, uses
        stored: tuple[Kind, ...] = ("real", "clips", "sharp")
        self._of_kind = {kind: [] if sequences is None else sequences.of_kind(kind) for kind in stored}
        made: tuple[MotionKind, ...] = ("rendered", "still")
        self._kinds: list[MotionKind] = [*(kind for kind in stored if self._of_kind[kind]), *made]
        self._row_shares = {kind: row_shares(rows, settings.as_filmed) for kind, rows in self._of_kind.items() if rows}
        shares = np.array([getattr(settings, kind) for kind in self._kinds])
        self._shares = shares / shares.sum()

    def batch(self, number: int) -> MotionBatch:
        """Make a batch by its number."""
        first = number * self._batch_size
        made = [self._sample(first + place) for place in range(self._batch_size)]
        return MotionBatch(crops=tuple(_collated([crops[use] for crops in made]) for use in range(self._uses)))

    def _sample(self, index: int) -> list[_Crop]:
        """The crops of a sample, one for each use."""
        rng = np.random.default_rng([self._seed, index])
        kind = self._kinds[int(rng.choice(len(self._kinds), p=self._shares))]
        if kind == "rendered" or kind == "still":
            moving = self._rendered(rng) if kind == "rendered" else self._still(index)
            is_moving = kind == "rendered"
            return [
                self._cropped(moving, self._place(moving, rng), rng, is_moving=is_moving) for _ in range(self._uses)
            ]
        return [self._of_sequence(kind, rng) for _ in range(self._uses)]

    def _of_sequence(self, kind: Kind, rng: np.random.Generator) -> _Crop:
        """A crop of a stored frame; something moves in it, if a few tries find such a place."""
        store, guesses = self._sequences, self._guesses
        assert store is not None
        rows = self._of_kind[kind]
        row = rows[int(rng.choice(len(rows), p=self._row_shares[kind]))]
        for attempt in range(_TRIES):
            number = int(rng.integers(row.inner.start, row.inner.stop))
            path = store.path(row, number)
            place = _drawn_place(rng, row.height, row.width, self._crop_px)
            if (attempt and rng.random() < _CONTENT_SHARE) or _moves(path, row, place):
                break
        frames = store.frame(row, number - 1), store.frame(row, number), store.frame(row, number + 1)
        guess = _no_guess(frames[1]) if guesses is None else guesses.read(row, number)
        moving = _Moving(frames, store.sharp(row, number), path, guess, row.field)
        return self._cropped(moving, place, rng)

    def _rendered(self, rng: np.random.Generator) -> _Moving:
        scene = moving_scene(self._pictures, rng, side_px=BLUR_CELL_PX, settings=self._settings.scene)
        path = scene_path(scene)
        before, frame, after = scene.frames
        return _Moving((before, frame, after), scene.sharp, path, self._guesser(frame, path.velocity()), scene.field)

    def _still(self, index: int) -> _Moving:
        """A cell as three frames of a camera that stands still."""
        sample = self._cells.sample(index)
        inner = slice(BEFORE_PX, BEFORE_PX + BLUR_CELL_PX)
        frame, sharp = (np.ascontiguousarray(picture[inner, inner]) for picture in (sample.blurred, sample.sharp))
        nothing = np.zeros((*searched_luma(frame).shape, 2), np.float32)
        path = Path(to_before=nothing, to_after=nothing)
        return _Moving((frame, frame, frame), sharp, path, self._guesser(frame, path.velocity()))

    def _place(self, moving: _Moving, rng: np.random.Generator) -> tuple[slice, slice]:
        height, width = moving.sharp.shape[:2]
        return _drawn_place(rng, height, width, self._crop_px)

    def _cropped(
        self, moving: _Moving, place: tuple[slice, slice], rng: np.random.Generator, *, is_moving: bool = True
    ) -> _Crop:
        """A crop. Time may be reversed, a neighbour may be missing, and sides may be mirrored and turned.

        What moves may have other colours; guesses at cells of a still camera are too exact to follow.
        """
        before: Picture | None
        after: Picture | None
        (before, frame, after), sharp = moving.frames, moving.sharp[place]
        guess = moving.guess[:, place[0], place[1]]
        if is_moving and rng.random() < self._settings.toned:
            tone = drawn_tone(rng)
            before, frame, after, sharp = (tone.of(picture) for picture in (before, frame, after, sharp))
            if not self._is_bare:
                guess = tone.of_guesses(guess)
        to_before, to_after = moving.path.to_before, moving.path.to_after
        if rng.random() < 0.5:
            before, after, to_before, to_after = after, before, to_after, to_before
        if rng.random() < self._settings.dropped:
            to_before = None
        exposure = _spread(moving.path.exposure, _EXPOSURE_SPREAD, rng)
        path = Path(to_before=to_before, to_after=to_after, exposure=exposure)
        if rng.random() < self._settings.lone:
            before, after, path = None, None, _guessed(path, rng)
        smear = path.smear()
        assert smear is not None
        crop = _Crop(
            blurred=frame[place],
            sharp=sharp,
            guess=guess,
            taps=_no_taps(sharp) if self._is_bare else _taps(before, frame, after, path, moving.field, place),
            smear=plane_in(smear, frame.shape[0], frame.shape[1], *place),
        )
        return _turned(crop, *(rng.random(3) < 0.5))


def _taps(
    before: Picture | None, frame: Picture, after: Picture | None, path: Path, field: float | None,
    place: tuple[slice, slice],
) -> npt.NDArray[np.uint8]:  # fmt: skip
    """The taps of a crop, with the belief in either neighbour that a video's frame has."""
    of_before, of_after = (None if some is None else searched_luma(some, field) for some in (before, after))
    path = with_beliefs(path, of_before, searched_luma(frame, field), of_after, *frame.shape[:2])
    return taps_of(before, frame, after, path, area=place)


def scene_path(scene: MovingScene) -> Path:
    """The path of a rendered clip's middle frame, searched as if it were a part of a frame of its field of view."""
    side, search = scene.sharp.shape[0], PathSearch()
    lumas = [searched_luma(frame, scene.field) for frame in scene.frames]
    before, after = (search.flows(*pair, side, side) for pair in pairwise(lumas))
    return Path(
        to_before=None if before is None else before[1],
        to_after=None if after is None else after[0],
        exposure=counted_share(scene.exposure),
    )


def _guessed(path: Path, rng: np.random.Generator) -> Path:
    """A path as one picture tells it: not quite right, and its sign is not known."""
    velocity = path.velocity()
    assert velocity is not None
    angle = rng.normal(0, _GUESSED_TURN_RAD)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=np.float32)
    length = np.float32(_spread(1.0, _GUESSED_SPREAD, rng) * rng.choice([-1, 1]))
    return Path(to_before=None, to_after=velocity @ turn * length, exposure=path.exposure)


def _spread(value: float, spread: float, rng: np.random.Generator) -> float:
    """A value, a little larger or smaller; the spread is the standard deviation of its logarithm."""
    return float(value * np.exp(rng.normal(0, spread)))


def row_shares(rows: list[StoredSequence], as_filmed: float) -> npt.NDArray[np.float64]:
    """The share of samples of each stored sequence.

    Args:
        rows: Sequences of a kind, as filmed and as reduced copies, which have the name of what they are copies of.
        as_filmed: Share of those as filmed, if there are copies of them; the copies have the others alike.
    """
    num_copies = Counter(row.name for row in rows if row.scale < 1)

    def share(row: StoredSequence) -> float:
        if not num_copies[row.name]:
            return 1.0
        return as_filmed if row.scale == 1 else (1 - as_filmed) / num_copies[row.name]

    shares = np.array([share(row) for row in rows])
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _no_guess(frame: Picture, _velocity: Flow | None = None) -> Guesses:
    return np.zeros((0, *frame.shape[:2]), np.float16)


def _no_taps(crop: Picture) -> npt.NDArray[np.uint8]:
    return np.zeros((0, *crop.shape[:2]), np.uint8)


def _drawn_place(rng: np.random.Generator, height: int, width: int, crop_px: int) -> tuple[slice, slice]:
    """A random place for a crop, at multiples of HINT_PX."""
    top, left = (int(rng.integers((length - crop_px) // HINT_PX + 1)) * HINT_PX for length in (height, width))
    return slice(top, top + crop_px), slice(left, left + crop_px)


def _moves(path: Path, row: StoredSequence, place: tuple[slice, slice]) -> bool:
    flow = path.to_after
    assert flow is not None
    down, across = row.flow_height / row.height, row.flow_width / row.width
    rows = slice(int(place[0].start * down), max(1, int(place[0].stop * down)))
    columns = slice(int(place[1].start * across), max(1, int(place[1].stop * across)))
    speed = np.hypot(flow[rows, columns, 0], flow[rows, columns, 1])
    return bool(np.percentile(speed, _MOVING_PERCENTILE) > _MOVING_PX)


def _turned(crop: _Crop, is_mirrored: bool, is_flipped: bool, is_transposed: bool) -> _Crop:
    """Three frames and their motion, mirrored, turned upside down and transposed at random."""

    def turned(values: npt.NDArray[Any], axes: tuple[int, int]) -> npt.NDArray[Any]:
        values = np.flip(values, axes[1]) if is_mirrored else values
        values = np.flip(values, axes[0]) if is_flipped else values
        return np.swapaxes(values, *axes) if is_transposed else values

    signs = np.array([-1 if is_mirrored else 1, -1 if is_flipped else 1], np.float32)
    smear = turned(crop.smear, (0, 1)) * signs
    if is_transposed:
        smear = smear[..., ::-1]
    return _Crop(
        blurred=turned(crop.blurred, (0, 1)),
        sharp=turned(crop.sharp, (0, 1)),
        guess=turned(crop.guess, (1, 2)),
        taps=turned(crop.taps, (1, 2)),
        smear=smear,
    )


def _collated(crops: list[_Crop]) -> MotionCrops:
    def stacked(of_crop: Callable[[_Crop], npt.NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.stack([of_crop(crop) for crop in crops]))

    smear_N2HW = stacked(lambda crop: crop.smear.transpose(2, 0, 1))
    return MotionCrops(
        blurred_NCHW=stacked(lambda crop: crop.blurred).permute(0, 3, 1, 2),
        sharp_NCHW=stacked(lambda crop: crop.sharp).permute(0, 3, 1, 2),
        guess_NGHW=stacked(lambda crop: crop.guess),
        taps_NTHW=stacked(lambda crop: crop.taps),
        smear_N2hw=torch.nn.functional.avg_pool2d(smear_N2HW, SMEAR_PX),
    )
