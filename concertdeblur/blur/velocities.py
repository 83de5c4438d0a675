"""The velocity of a blurred picture, as if it were a frame of a video.

A network that is told the motion of a video's cells must learn how far to trust it: motion is measured with errors,
the shutter is open for any share of a frame's time, what moves need not be blurred, and often nothing is known.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concertdeblur.blur.draws import Range, log_uniform

Velocity = npt.NDArray[np.float32]  # (3,): px a frame to the right and down, and 1 if known


@dataclass(frozen=True, kw_only=True, slots=True)
class VelocitySettings:
    """How velocities are drawn."""

    unknown_share: float = 0.5
    shutter: Range = (0.15, 1.0)  # share of a frame's time in which it is open; its logarithm is drawn evenly
    angle_spread_rad: float = 0.14  # standard deviation: a path turns from frame to frame
    wild_share: float = 0.1  # share of pictures whose path turns by much more
    wild_spread_rad: float = 0.5
    length_spread: float = 0.15  # standard deviation of the length's logarithm
    noise_px: float = 0.15  # error of the motion search
    still_share: float = 0.3  # share that stands still, of the pictures that motion did not blur
    still_px: float = 0.3
    moving_px: Range = (0.5, 40.0)  # speed of those that move all the same; its logarithm is drawn evenly


def velocity(
    moved_px: tuple[float, float] | None, rng: np.random.Generator, settings: VelocitySettings = VelocitySettings()
) -> Velocity:
    """Draw the velocity that a motion search would find for a picture.

    Args:
        moved_px: How far it moved over its exposure, right and down. If this is None or next to nothing, it may have
            moved in any way during a short exposure.
        rng: Source of randomness.
        settings: How velocities are drawn.
    """
    s = settings
    if rng.random() < s.unknown_share:
        return np.zeros(3, np.float32)
    length = 0.0 if moved_px is None else math.hypot(*moved_px)
    if moved_px is None or length < s.still_px:
        angle = rng.uniform(0, 2 * math.pi)
        is_still = rng.random() < s.still_share
        speed = rng.uniform(0, s.still_px) if is_still else log_uniform(rng, s.moving_px)
    else:
        spread = s.wild_spread_rad if rng.random() < s.wild_share else s.angle_spread_rad
        angle = math.atan2(moved_px[1], moved_px[0]) + rng.normal(0, spread)
        speed = length / log_uniform(rng, s.shutter) * math.exp(rng.normal(0, s.length_spread))
    right, down = np.array([math.cos(angle), math.sin(angle)]) * speed + rng.normal(0, s.noise_px, 2)
    return np.array([right, down, 1], np.float32)
