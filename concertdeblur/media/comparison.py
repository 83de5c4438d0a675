"""Before and after side by side, whichever way the clip is turned."""

import numpy as np

from concertdeblur.frame import Pixels, StreamInfo


def side_by_side(before: Pixels, after: Pixels, *, rotation_deg: int) -> Pixels:
    """Both pictures as one; once a player has turned it by `rotation_deg`, the picture before is on the left."""
    quarter_turns = round(rotation_deg / 90) % 4
    pair = (before, after) if quarter_turns in (0, 1) else (after, before)
    joined: Pixels = np.concatenate(pair, axis=1 if quarter_turns % 2 == 0 else 0)
    return joined


def doubled_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of `side_by_side` pictures of a stream."""
    if round(info.rotation_deg / 90) % 2:
        return 2 * info.height, info.width
    return info.height, 2 * info.width
