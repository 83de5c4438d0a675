"""Pictures about pictures: the heatmap over the frame, and before beside after."""

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.frame import Pixels, StreamInfo

_PICTURE_SHARE = 0.55  # of the overlay's brightness; the rest is the colour map's


def heat_overlay(pixels: Pixels, heatmap: npt.NDArray[np.float32]) -> Pixels:
    """The picture with the heatmap's colours over it, blue for sharp, red for still blurred.

    Args:
        pixels: (height, width, 3) RGB, uint8 or uint16.
        heatmap: (height, width), 0 sharp to 1 blurred.

    Returns:
        (height, width, 3) RGB of the type of `pixels`.
    """
    levels = np.clip(heatmap * 255, 0, 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    if pixels.dtype == np.uint8:
        return np.asarray(
            cv2.addWeighted(pixels.astype(np.uint8), _PICTURE_SHARE, colours, 1 - _PICTURE_SHARE, 0), np.uint8
        )
    mixed = _PICTURE_SHARE * pixels.astype(np.float32) + (1 - _PICTURE_SHARE) * 257 * colours.astype(np.float32)
    return np.clip(np.rint(mixed), 0, 65535).astype(np.uint16)


def side_by_side(before: Pixels, after: Pixels, *, rotation_deg: int) -> Pixels:
    """Both pictures as one: before is on the left once a player has turned it by `rotation_deg`."""
    quarter_turns = round(rotation_deg / 90) % 4
    pair = (before, after) if quarter_turns in (0, 1) else (after, before)
    joined: Pixels = np.concatenate(pair, axis=1 if quarter_turns % 2 == 0 else 0)
    return joined


def doubled_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of `side_by_side` pictures of a stream."""
    if round(info.rotation_deg / 90) % 2:
        return 2 * info.height, info.width
    return info.height, 2 * info.width
