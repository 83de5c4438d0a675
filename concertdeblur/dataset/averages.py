"""Pairs from clips' own motion as a data set: the folder layout of `build-dataset`, for `train` and `evaluate`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from concertdeblur.blur.averaging import crispness, timed_pairs
from concertdeblur.dataset.pairs import CAPTURE, METADATA_FILE, PairRow
from concertdeblur.dataset.split import SplitName, split_sources
from concertdeblur.dataset.workspace import Workspace
from concertdeblur.errors import DatasetError, SourceError

_UNKNOWN = "unknown"


def write_averages(
    clips: Sequence[Path], folder: Path, *, seed: int = 0, max_pairs: int = 64, sides_px: tuple[int, int] = (256, 448)
) -> int:
    """Write pairs by `blur.averaging` of several clips; whole clips go to `train` or `test`.

    Args:
        clips: Clips, best shaky or moving ones.
        folder: Where `train` and `test` go; pictures of the same name are replaced.
        seed: Decides the pairs and the split.
        max_pairs: At most so many a clip.
        sides_px: Least and most side of the pairs: as much as a clip has.

    Returns:
        How many pairs were written.

    Raises:
        SourceError: If a clip cannot be read or is smaller than the pairs.
        DatasetError: If no clip gave a pair.
        TargetError: If the folder cannot be written.

    """
    workspace = Workspace(folder)
    keys = {clip: _sha256(clip) for clip in clips}
    splits = split_sources(dict.fromkeys(keys.values(), 1), seed)
    rows: dict[SplitName, list[PairRow]] = {"train": [], "test": []}
    for clip in sorted(keys, key=lambda clip: keys[clip]):
        split = splits[keys[clip]]
        made = timed_pairs(clip, seed=seed, max_pairs=max_pairs, sides_px=sides_px)
        for number, (time_s, pair) in enumerate(made):
            name = f"{keys[clip][:12]}-average-{number:04d}"
            luma = np.asarray(cv2.cvtColor(pair.sharp, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
            row = PairRow(
                file_name=f"{name}.png", sharp_file_name=f"{name}-sharp.png", shot_type=_UNKNOWN,
                shot_type_by=_UNKNOWN, source=clip.name, timestamp_s=round(time_s, 3), kernel=CAPTURE, level=None,
                seed=seed, sharpness=round(crispness(luma), 3), licence=_UNKNOWN,
            )  # fmt: skip
            workspace.write_png(workspace.path(split, row.file_name), pair.blurred)
            workspace.write_png(workspace.path(split, row.sharp_file_name), pair.sharp)
            rows[split].append(row)
    for split, of_split in rows.items():
        if of_split:
            lines = "".join(json.dumps(row.to_json()) + "\n" for row in of_split)
            workspace.write_text(workspace.path(split, METADATA_FILE), lines)
    if not any(rows.values()):
        raise DatasetError(f"none of {len(clips)} clips gave a pair: they are soft, still, or full of cuts")
    return sum(map(len, rows.values()))


def _sha256(clip: Path) -> str:
    try:
        with clip.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{clip}: cannot be read ({error.strerror})") from error
