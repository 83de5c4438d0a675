"""What the host finds out about a frame before the networks see it: its motion since the frame before.

Shape suffixes: R rows and Q columns of the blur's cells.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concertdeblur.deblurring.motion import Motion, MotionSearch, cell_velocities
from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, Pixels
from concertdeblur.models.blur_cells import BLUR_CELL_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFrame:
    """A frame and what the host knows of it; it travels through all stages beside what they make of it."""

    frame: Frame
    pixels: Pixels  # of the frame
    motion: Motion | None = None  # since the frame before; None where that shows another scene, or there is none
    velocities_RQ3: npt.NDArray[np.float32] | None = None  # of each blur cell, as `cell_velocities` gives them


class StreamSearch:
    """Looks at the frames of one stream, in order; not thread-safe."""

    def __init__(self) -> None:
        self._motion = MotionSearch()

    def next(self, frame: Frame) -> StreamFrame:
        """The next frame with its motion.

        Raises:
            UsageError: If the frame has no pixels, or not of a kind that can be deblurred.
        """
        if frame.pixels is None:
            raise UsageError("frames without RGB pixels cannot be deblurred; ask the reader for pixels")
        check_pixels(frame.pixels)
        motion = self._motion.next(frame.pixels)
        velocities_RQ3 = None
        if motion is not None:
            height, width = frame.pixels.shape[:2]
            velocities_RQ3 = cell_velocities(motion, height, width, BLUR_CELL_PX)
        return StreamFrame(frame=frame, pixels=frame.pixels, motion=motion, velocities_RQ3=velocities_RQ3)


def lone_frame(pixels: Pixels) -> StreamFrame:
    """A picture, of which there is no motion to know.

    Raises:
        UsageError: If it is not of a kind that can be deblurred.
    """
    check_pixels(pixels)
    return StreamFrame(frame=Frame(pts=0, pixels=pixels), pixels=pixels)


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is no RGB picture.

    Raises:
        UsageError: If shape or type is not one that can be deblurred.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(f"a frame must be (height, width, 3) RGB, but {pixels.shape = }")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise UsageError(f"a frame must be uint8, uint16 or float32, but {pixels.dtype = }")
