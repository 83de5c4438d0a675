"""Clips before a moving camera whose shutter is open for a part of each frame's time; they are averaged in light."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.tone import tone_curve
from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredFrame, Deblurrer
from concertdeblur.frame import Frame
from tests.pictures import photograph

Picture = npt.NDArray[np.uint8]
Light = npt.NDArray[np.float32]  # (height, width, 3), linear, 1 white

HEIGHT, WIDTH = 192, 288
NUM_FRAMES = 5
_MOMENTS = 12  # moments of an exposure


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A disc in the scene that is brighter than white, and lit in some frames."""

    lit: Sequence[bool]
    x: float = 150.0
    y: float = 90.0
    radius_px: float = 6.0
    brightness: float = 4.0

    def over(self, scene: Light, frame: int) -> Light:
        """The scene with the lamp; if it is off, its glass is dark."""
        y, x = np.mgrid[: scene.shape[0], : scene.shape[1]]
        disc = np.clip(self.radius_px + 0.5 - np.hypot(y - self.y, x - self.x), 0, 1)[..., None]
        shade = self.brightness if self.lit[frame] else 0.005
        return np.asarray(scene + disc * (shade - scene), dtype=np.float32)


def scene() -> Light:
    """A photograph, larger than the view."""
    planes = tone_curve().linear(photograph(HEIGHT, 512) // 2)  # half as bright: a lamp stands out
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def panned(scene_of: Callable[[int], Light], *, step_px: float, exposure: float) -> list[Picture]:
    """A clip of a camera that moves `step_px` a frame to the right.

    Args:
        scene_of: Gives the scene by the number of the frame.
        step_px: How far the picture moves in a frame.
        exposure: Share of a frame's time in which the shutter is open, around its middle; 0 is sharp.
    """
    return [exposed(scene_of(number), number * step_px, exposure * step_px) for number in range(NUM_FRAMES)]


def exposed(light: Light, shift_px: float, smear_px: float) -> Picture:
    """The view at `shift_px` to the right, smeared around it."""
    offsets = smear_px * ((np.arange(_MOMENTS) + 0.5) / _MOMENTS - 0.5) if smear_px else np.zeros(1)
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for offset in offsets:
        move = np.array([[1, 0, -(shift_px + offset)], [0, 1, 0]])
        total += cv2.warpAffine(light, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    seen = np.clip(total / len(offsets), 0, 1)
    return tone_curve().encoded(np.ascontiguousarray(seen.transpose(2, 0, 1), dtype=np.float32))


def deblurred(deblurrer: Deblurrer, clip: Sequence[Picture], *, heatmap: bool = False) -> list[DeblurredFrame]:
    """The clip as `video` deblurs it."""
    frames = (Frame(pts=number, pixels=pixels) for number, pixels in enumerate(clip))
    return list(deblurrer.stream(frames, DeblurOptions(heatmap=heatmap)))
