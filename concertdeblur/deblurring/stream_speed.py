"""How long a frame of a video takes: measured on a picture that moves, once the stream is under way."""

import time
from collections.abc import Callable
from contextlib import closing
from itertools import count, islice

import numpy as np

from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.frame import Frame, Pixels

NUM_TIMED = 4  # frames
_NUM_BEGINNING = 2  # frames before them, after which all stages are at work
NUM_FRAMES = _NUM_BEGINNING + NUM_TIMED
_STEP_PX = 4  # how far the picture moves from frame to frame, since frames are restored along their motion


def frame_seconds(
    deblurrer: Deblurrer, still: Pixels, *, on_frame: Callable[[], None] = lambda: None
) -> tuple[float, ...]:
    """Seconds for each of NUM_TIMED frames of a video, with refining.

    Args:
        deblurrer: What deblurs.
        still: The picture that moves, (height, width, 3).
        on_frame: Called after each of NUM_FRAMES frames.
    """
    moving = (Frame(pts=number, pixels=np.roll(still, _STEP_PX * number, 1)) for number in count())
    ends_s = []
    with closing(deblurrer.stream(moving, DeblurOptions())) as stream:
        for _ in islice(stream, NUM_FRAMES):
            ends_s.append(time.perf_counter())
            on_frame()
    return tuple(np.diff(ends_s[_NUM_BEGINNING - 1 :]).tolist())
