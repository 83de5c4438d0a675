"""Chooses the weight set of a clip: the best one, or the fast one if the best would take too long."""

import math
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concertdeblur import pretrained
from concertdeblur.deblurring.stream_speed import frame_seconds
from concertdeblur.deblurring.working_size import STEP_PX, working_size
from concertdeblur.pipelines.kept_networks import KeptNetworks

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer

PATIENCE_S = 1800.0  # without a GPU, a clip that would take longer with the best set gets the fast one
# Of the working size. A clip that takes less than PATIENCE_S on so slow a machine, with a tenth of the usual speed, is
# not tried: a trial takes some seconds.
_SLOWEST_S_A_PIXEL = 3e-5
_MOST_PX = 1280 * 720  # larger frames are tried at this size, or so


def load_for_clip(
    quality: pretrained.Quality, *, device: str, backend: str, num_frames: int | None, height: int, width: int,
    on_warning: Callable[[str], None] = lambda _message: None, kept: KeptNetworks | None = None,
) -> "Deblurrer":  # fmt: skip
    """The deblurrer of a quality.

    Args:
        quality: "best", "fast", or "auto": the fast set where there is one, there is no GPU, and the best one would
            take more than half an hour by a trial of some frames.
        device: As for `pretrained.load`.
        backend: As for `pretrained.load`.
        num_frames: Number of frames to deblur; None: it is not known, and counts as large.
        height: Of a frame.
        width: Of a frame.
        on_warning: Called if the fast set is taken.
        kept: What was loaded and measured before.

    Raises:
        WeightsError: If a set is missing or altered.
        UsageError: If device or backend cannot be used here.

    """
    kept = kept or KeptNetworks()
    best = kept.load(pretrained.weights_of(quality), device=device, backend=backend)
    if quality != "auto" or best.runtime.device.type != "cpu" or not pretrained.has_fast():
        return best
    best_s = math.inf
    if num_frames is not None:
        if num_frames * math.prod(working_size(height, width)) * _SLOWEST_S_A_PIXEL <= PATIENCE_S:
            return best
        best_s = num_frames * kept.measured(best, (height, width), seconds_a_frame)
    if best_s <= PATIENCE_S:
        return best
    fast = kept.load(pretrained.weights_of("fast"), device=device, backend=backend)
    long = f"about {_span(best_s)}" if num_frames is not None else "an unknown time"
    on_warning(
        f"with the weight set {pretrained.DEFAULT_WEIGHTS} this would take {long}, so the faster"
        f" {pretrained.FAST_WEIGHTS} is used, which gains a little less; --quality best insists"
    )
    return fast


def seconds_a_frame(deblurrer: "Deblurrer", height: int, width: int) -> float:
    """Seconds for a frame of a video, with refining, once the stream is under way: measured on a few frames."""
    size = _trial_size(height, width)
    seconds = fmean(frame_seconds(deblurrer, synthetic_frame(*size)))
    return seconds * (height * width) / math.prod(size)


def _trial_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) at which frames of a size are tried: their own, or a smaller one with the same sides.

    Frames that are restored at a part of their size are tried so, too.
    """
    share = min(1.0, math.sqrt(_MOST_PX / (height * width)))
    if min(height, width) >= STEP_PX:
        share = max(share, STEP_PX / min(height, width))
    return math.ceil(height * share), math.ceil(width * share)


def synthetic_frame(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A blurred texture, (height, width, 3) RGB, the same at every call: BRMR has something to look at."""
    noise = np.random.default_rng(0).uniform(0, 255, (height, width, 3))
    for axis in (0, 1):
        for _ in range(3):
            noise = (np.roll(noise, -2, axis) + np.roll(noise, -1, axis) + noise + np.roll(noise, 1, axis)) / 4
    spread = (noise - noise.mean()) / noise.std()
    return np.asarray(np.clip(128 + 50 * spread, 0, 255), dtype=np.uint8)


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.0f} minutes"
