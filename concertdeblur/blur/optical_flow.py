"""Where the pixels of one frame are in the next."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture

Plane = npt.NDArray[Any]
Flow = npt.NDArray[np.float32]  # (height, width, 2): how far (x, y) each pixel of one frame has moved in the next

LEAST_SIDE_PX = 24  # smaller frames have no room for a search


def flow(first: Picture, second: Picture) -> Flow:
    """DIS flow (Kroeger et al. 2016) between grey levels (height, width)."""
    # a new instance each time: it is not thread-safe, and remembers nothing useful
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(search.calc(first, second, np.zeros((*first.shape, 2), np.float32)), np.float32)


def mismatch(there: Flow, back: Flow) -> npt.NDArray[np.float32]:
    """How far from its place each pixel comes back by the flow there and back, px."""
    returned = there + sampled(back, moved_places(there))
    return np.asarray(np.hypot(returned[..., 0], returned[..., 1]), dtype=np.float32)


def mean_change(first: Picture, second: Picture, there: Flow) -> float:
    """Mean difference, in grey levels, between a frame and its moved neighbour."""
    return float(cv2.absdiff(first, sampled(second, moved_places(there))).mean())


def moved_places(by: Flow) -> Flow:
    """Absolute places (x, y) that a flow points to."""
    height, width = by.shape[:2]
    return np.asarray(by + pixel_grid(0, height, width), dtype=np.float32)


def pixel_grid(start: int, stop: int, width: int) -> Flow:
    """Coordinates (x, y) of each pixel of rows `start` to `stop`, (rows, width, 2)."""
    grid = np.empty((stop - start, width, 2), np.float32)
    grid[..., 0] = np.arange(width, dtype=np.float32)
    grid[..., 1] = np.arange(start, stop, dtype=np.float32)[:, None]
    return grid


def sampled(plane: Plane, places: Flow) -> Plane:
    """The plane's values at other places, by linear interpolation; beyond the border, those of the border."""
    x, y = places[..., 0], places[..., 1]
    found = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=plane.dtype)
