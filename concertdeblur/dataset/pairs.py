"""Blur pairs of one frame: its crops, each with the seven kernels, as files and as rows of `metadata.jsonl`."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Kernel, blur
from concertdeblur.dataset.crops import choose_crops, cut
from concertdeblur.dataset.frames import Box, FrameRecord
from concertdeblur.dataset.split import SplitName
from concertdeblur.dataset.workspace import Workspace

Picture = npt.NDArray[np.uint8]

METADATA_FILE = "metadata.jsonl"
MID_LEVEL = 0.5  # METHOD.md's "mid"
CAPTURE = "capture"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairOptions:
    """Which pairs are made of a frame."""

    size_px: int | None = 256  # side of a crop, as in the paper; None: the whole frame
    num_crops: int = 1
    levels: tuple[float, ...] | Literal["random"] = (MID_LEVEL,)
    num_captures: int = 0  # pairs by the capture chain, a crop
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
    seed: int  # of what is random in this pair
    sharpness: float
    licence: str

    def to_json(self) -> dict[str, object]:
        """Plain values, in this order."""
        return asdict(self)


def derived_seed(*parts: object) -> int:
    """A seed of 32 bits for one thing, the same wherever and whenever it is made."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4], "big")


def make_pairs(
    record: FrameRecord,
    picture: Picture,
    options: PairOptions,
    *,
    split: SplitName,
    licence: str,
    workspace: Workspace,
    is_fresh: bool = False,
) -> Iterator[PairRow]:
    """Write the pairs of one frame that are not there yet.

    Args:
        record: The frame.
        picture: (height, width, 3) RGB, the whole frame.
        options: Which pairs.
        split: Where they go.
        licence: Of the source.
        workspace: The data set.
        is_fresh: Write all of them anew.

    """

    def write(file: str, made: Callable[[], Picture]) -> None:
        path = workspace.path(split, file)
        if is_fresh or not path.exists():
            workspace.write_png(path, made())

    for crop in frame_crops(record, picture, options):
        name = f"{record.frame_id}-full" if options.size_px is None else f"{record.frame_id}-y{crop.y}x{crop.x}"
        sharp = cut(picture, crop)
        sharp_file = f"{name}-sharp.png"
        for kernel, level, seed in _blurs(name, options):
            file = f"{name}-{kernel}-{round(level * 1000):04d}.png"
            write(file, partial(blur, sharp, kernel, level))
            yield PairRow(
                file_name=file,
                sharp_file_name=sharp_file,
                shot_type=record.shot_type,
                shot_type_by=record.shot_type_by,
                source=record.source,
                timestamp_s=record.timestamp_s,
                kernel=kernel,
                level=level,
                seed=seed,
                sharpness=record.sharpness,
                licence=licence,
            )
        write(sharp_file, partial(np.asarray, sharp))


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
