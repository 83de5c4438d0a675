"""Before and after side by side, whichever way the clip is turned."""

import numpy as np

from concertdeblur.frame import Orientation, Pixels, StreamInfo


def side_by_side(before: Pixels, after: Pixels, *, orientation: Orientation) -> Pixels:
    """Both pictures as one; once a player has turned it, the picture before is on the left."""
    is_in_order = (orientation.num_quarters in (0, 1)) != orientation.is_mirrored
    joined: Pixels = np.concatenate(
        (before, after) if is_in_order else (after, before), axis=0 if orientation.swaps_sides else 1
    )
    return joined


def doubled_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of `side_by_side` pictures of a stream."""
    if info.orientation.swaps_sides:
        return 2 * info.height, info.width
    return info.height, 2 * info.width
