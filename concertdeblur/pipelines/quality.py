"""Chooses the weight set of a clip: the best one, or the fast one if the best would take too long."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from concertdeblur import pretrained
from concertdeblur.deblurring.deblurrer import DeblurOptions
from concertdeblur.frame import Frame
from concertdeblur.pipelines.kept_networks import KeptNetworks

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import Deblurrer

TRIAL_HW = (360, 640)
PATIENCE_S = 1800.0  # without a GPU, a clip that would take longer with the best set gets the fast one
# A clip that takes less than that on a machine of one twentieth of the usual speed is not tried: a trial takes 4 s.
_SLOWEST_S_A_PIXEL = 1e-5
_NUM_TRIALS = 3
_TRIAL_FRAMES, _TRIAL_STEP_PX = 3, 4  # the trial moves, since frames of clips are restored along their motion


def load_for_clip(
    quality: pretrained.Quality, *, device: str, backend: str, num_frames: int | None, num_pixels: int,
    on_warning: Callable[[str], None] = lambda _message: None, kept: KeptNetworks | None = None,
) -> "Deblurrer":  # fmt: skip
    """The deblurrer of a quality.

    Args:
        quality: "best", "fast", or "auto": the fast set where there is one, there is no GPU, and the best one would
            take more than half an hour by a trial of some frames.
        device: As for `pretrained.load`.
        backend: As for `pretrained.load`.
        num_frames: Number of frames to deblur; None: it is not known, and counts as large.
        num_pixels: Number of pixels of a frame.
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
    num_all = num_pixels * num_frames if num_frames is not None else math.inf
    if num_all * _SLOWEST_S_A_PIXEL <= PATIENCE_S:
        return best
    best_s = kept.measured(best, seconds_a_pixel) * num_all if num_frames is not None else math.inf
    if best_s <= PATIENCE_S:
        return best
    fast = kept.load(pretrained.weights_of("fast"), device=device, backend=backend)
    long = f"about {_span(best_s)}" if num_frames is not None else "an unknown time"
    on_warning(
        f"with the weight set {pretrained.DEFAULT_WEIGHTS} this would take {long}, so the faster"
        f" {pretrained.FAST_WEIGHTS} is used, which gains a little less; --quality best insists"
    )
    return fast


def seconds_a_pixel(deblurrer: "Deblurrer") -> float:
    """Seconds to deblur one pixel of a video, with refining, measured on a few small frames."""
    _trial_s(deblurrer)  # the first frame compiles, and fills caches
    return min(_trial_s(deblurrer) for _ in range(_NUM_TRIALS)) / (TRIAL_HW[0] * TRIAL_HW[1])


def synthetic_frame(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A blurred texture, (height, width, 3) RGB, the same at every call: BRMR has something to look at."""
    noise = np.random.default_rng(0).uniform(0, 255, (height, width, 3))
    for axis in (0, 1):
        for _ in range(3):
            noise = (np.roll(noise, -2, axis) + np.roll(noise, -1, axis) + noise + np.roll(noise, 1, axis)) / 4
    spread = (noise - noise.mean()) / noise.std()
    return np.asarray(np.clip(128 + 50 * spread, 0, 255), dtype=np.uint8)


def _trial_s(deblurrer: "Deblurrer") -> float:
    still = synthetic_frame(*TRIAL_HW)
    moving = [np.roll(still, _TRIAL_STEP_PX * number, 1) for number in range(_TRIAL_FRAMES)]
    started_s = time.perf_counter()
    list(deblurrer.stream([Frame(pts=n, pixels=pixels) for n, pixels in enumerate(moving)], DeblurOptions()))
    return (time.perf_counter() - started_s) / _TRIAL_FRAMES


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.0f} minutes"
