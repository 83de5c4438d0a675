"""Chooses whole sources for testing, so that their share of the frames is nearest to the paper's 1/11."""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

SplitName = Literal["train", "test"]
TEST_SHARE = Fraction(1, 11)  # paper section 3.1: 280 of 3,080 pairs


def split_sources(num_frames: Mapping[str, int], seed: int) -> dict[str, SplitName]:
    """Give every source to training or to testing.

    The test set is one whose number of frames is nearest to 1/11 of all; of two equally near numbers the smaller one is
    taken. It never has no source, nor all. If several sets have that number, the seed decides.

    Args:
        num_frames: Frames of each source, by its sha256; only those with at least one.
        seed: The seed of the data set.

    """
    keys = sorted(num_frames, key=lambda key: hashlib.sha256(f"{seed}/{key}".encode()).digest())
    whole = sum(num_frames.values())
    assert all(num > 0 for num in num_frames.values())
    if len(keys) < 2:
        return dict.fromkeys(keys, "train")
    aim = whole * TEST_SHARE
    largest, best = int(aim) + max(num_frames.values()), max(1, round(aim))
    came_from: dict[int, tuple[int, str]] = {}  # sum of frames -> (the sum before, the source that was added)
    for key in keys:
        if best in came_from:
            break
        for total in [0, *came_from]:
            if total + num_frames[key] <= largest:
                came_from.setdefault(total + num_frames[key], (total, key))
    total = min((total for total in came_from if total < whole), key=lambda total: (abs(total - aim), total))
    chosen: set[str] = set()
    while total:
        total, key = came_from[total]
        chosen.add(key)
    return {key: "test" if key in chosen else "train" for key in keys}
