"""Blur pairs of one frame: its crops, each with the seven kernels, as files and as rows of `metadata.jsonl`."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from concertdeblur.blur.capture import CaptureSettings, capture
from concertdeblur.blur.kernels import Kernel, blur
from concertdeblur.dataset.crops import choose_crops, cut
from concertdeblur.dataset.frames import Box, FrameRecord
from concertdeblur.dataset.split import SplitName
from concertdeblur.dataset.workspace import Workspace

Picture = npt.NDArray[np.uint8]

METADATA_FILE = "metadata.jsonl"
MID_LEVEL = 0.5  # "mid" of docs/method.md
CAPTURE = "capture"
_MARGIN_PX = 32  # around a crop for the capture chain
_CAPTURE_SETTINGS = CaptureSettings(sharp_share=0, flat_share=0)  # every pair is blurred, and shows this frame


@dataclass(frozen=True, kw_only=True, slots=True)
class PairOptions:
    """Which pairs are made of a frame."""

    size_px: int | None = 256  # side of a crop, as in the paper; None: the whole frame
    num_crops: int = 1
    levels: tuple[float, ...] | Literal["random"] = (MID_LEVEL,)
    num_captures: int = 0  # pairs by the capture chain for each crop
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """One line of `metadata.jsonl`; files are relative to the split's folder."""

    file_name: str  # the blurred picture
    sharp_file_name: str
    shot_type: str
    shot_type_by: str
    source: str
    timestamp_s: float
    kernel: str
    level: float | None  # None for capture
    seed: int  # everything random in this pair follows it
    sharpness: float
    licence: str

    def to_json(self) -> dict[str, object]:
        """Plain values, in this order."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPlace:
    """Where the pairs of one source go."""

    workspace: Workspace
    split: SplitName
    licence: str
    is_fresh: bool = False  # existing pairs are written anew

    def has(self, file: str) -> bool:
        """Whether a picture is there already; an existing file is always complete."""
        return not self.is_fresh and self.workspace.path(self.split, file).exists()

    def write(self, file: str, picture: Picture) -> None:
        """Write a picture."""
        self.workspace.write_png(self.workspace.path(self.split, file), picture)


def derived_seed(*parts: object) -> int:
    """A seed of 32 bits that depends on the given values only."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4], "big")


def make_pairs(
    record: FrameRecord,
    picture: Picture,
    options: PairOptions,
    *,
    place: PairPlace,
) -> Iterator[PairRow]:
    """Write the pairs of one frame that are not there yet.

    Args:
        record: The frame.
        picture: (height, width, 3) RGB, the whole frame.
        options: Which pairs are made.
        place: Where they go.

    """
    for crop in frame_crops(record, picture, options):
        name = f"{record.frame_id}-full" if options.size_px is None else f"{record.frame_id}-y{crop.y}x{crop.x}"
        sharp, sharp_file = cut(picture, crop), f"{name}-sharp.png"
        for kernel, level, seed in _blurs(name, options):
            file = f"{name}-{kernel}-{round(level * 1000):04d}.png"
            if not place.has(file):
                place.write(file, blur(sharp, kernel, level))
            yield _row(record, place.licence, file, sharp_file, kernel=kernel, level=level, seed=seed)
        if not place.has(sharp_file):
            place.write(sharp_file, sharp)
        for number in range(options.num_captures):
            file, own_sharp = f"{name}-capture-{number:02d}.png", f"{name}-capture-{number:02d}-sharp.png"
            seed = derived_seed(options.seed, name, CAPTURE, number)
            if not (place.has(file) and place.has(own_sharp)):
                blurred, exposed = captured(picture, crop, seed)
                place.write(own_sharp, exposed)
                place.write(file, blurred)
            yield _row(record, place.licence, file, own_sharp, kernel=CAPTURE, level=None, seed=seed)


def captured(picture: Picture, crop: Box, seed: int) -> tuple[Picture, Picture]:
    """The crop as a real camera would blur it, and the sharp crop under the same tone curve.

    Args:
        picture: The whole frame, from which content moves in over the crop's border.
        crop: The part of the frame.
        seed: Everything random follows it.

    """
    top, left = max(0, crop.y - _MARGIN_PX), max(0, crop.x - _MARGIN_PX)
    region = picture[top : crop.y + crop.height + _MARGIN_PX, left : crop.x + crop.width + _MARGIN_PX]
    pair = capture(np.ascontiguousarray(region), np.random.default_rng(seed), _CAPTURE_SETTINGS)
    inner = Box(crop.y - top, crop.x - left, crop.height, crop.width)
    return cut(pair.blurred, inner), cut(pair.sharp, inner)


def _row(
    record: FrameRecord, licence: str, file: str, sharp_file: str, *, kernel: str, level: float | None, seed: int
) -> PairRow:
    return PairRow(
        file_name=file,
        sharp_file_name=sharp_file,
        shot_type=record.shot_type,
        shot_type_by=record.shot_type_by,
        source=record.source,
        timestamp_s=record.timestamp_s,
        kernel=str(kernel),
        level=level,
        seed=seed,
        sharpness=record.sharpness,
        licence=licence,
    )


def frame_crops(record: FrameRecord, picture: Picture, options: PairOptions) -> list[Box]:
    """The parts of a frame that become pairs."""
    if options.size_px is None:
        return [Box(0, 0, *picture.shape[:2])]
    return choose_crops(picture, options.size_px, count=options.num_crops, faces=record.faces)


def _blurs(name: str, options: PairOptions) -> Iterator[tuple[Kernel, float, int]]:
    """(kernel, level, seed) of every pair by one of the seven kernels."""
    for kernel in Kernel:
        if options.levels == "random":
            seed = derived_seed(options.seed, name, kernel)
            yield kernel, round(float(np.random.default_rng(seed).uniform(0, 1)), 3), seed
            continue
        for level in options.levels:
            yield kernel, level, derived_seed(options.seed, name, kernel, level)
