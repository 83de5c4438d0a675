"""Before and after side by side, whichever way the clip is turned."""

import numpy as np

from concertdeblur.frame import Pixels, StreamInfo, Turn


def side_by_side(before: Pixels, after: Pixels, *, turn: Turn) -> Pixels:
    """Both pictures as one; once a player has turned it, the picture before is on the left."""
    is_in_order = (turn.num_quarters in (0, 1)) != turn.is_mirrored
    joined: Pixels = np.concatenate(
        (before, after) if is_in_order else (after, before), axis=0 if turn.swaps_sides else 1
    )
    return joined


def doubled_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of `side_by_side` pictures of a stream."""
    if info.turn.swaps_sides:
        return 2 * info.height, info.width
    return info.height, 2 * info.width
