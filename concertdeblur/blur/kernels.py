"""The seven uniform blurs of the concert set (paper section 3.1; sizes by level: ours, docs/method.md).

They work on 8-bit gamma-encoded RGB pixels, as OpenCV sees them, with OpenCV's default border
(reflection without repeating the edge pixel). The capture chain of a real camera is another module.
"""

from enum import StrEnum
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]


class Kernel(StrEnum):
    """A blur of the concert set; the order is the paper's."""

    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"
    AVERAGING = "averaging"
    GAUSSIAN = "gaussian"
    MEDIAN = "median"
    BILATERAL = "bilateral"
    RESIZING = "resizing"


def line_length_px(level: float) -> int:
    """Length of the horizontal and vertical kernels: odd, 5 to 21 px for level 0 to 1."""
    return round(5 + 16 * level) | 1


def box_side_px(level: float) -> int:
    """Side of the averaging kernel: odd, 3 to 13 px for level 0 to 1."""
    return round(3 + 10 * level) | 1


def gaussian_sigma_px(level: float) -> float:
    """Standard deviation of the Gaussian kernel: 0.8 to 3.2 px for level 0 to 1."""
    return 0.8 + 2.4 * level


def median_side_px(level: float) -> int:
    """Side of the median window: odd, 3 to 9 px for level 0 to 1."""
    return round(3 + 6 * level) | 1


def resizing_factor(level: float) -> float:
    """Factor of the down- and upscaling: 1.5 to 4 for level 0 to 1."""
    return 1.5 + 2.5 * level


def blur(picture: Picture, kernel: Kernel, level: float) -> Picture:
    """Blur one picture with one of the seven kernels.

    Args:
        picture: (height, width, 3) RGB, uint8, gamma-encoded.
        kernel: Which of the seven.
        level: Strength of the blur, 0 (weak) to 1 (strong); the paper's protocol uses 0.5.

    Returns:
        The blurred picture, same shape and type.

    Raises:
        ValueError: If level lies outside [0, 1].

    """
    if not 0 <= level <= 1:
        raise ValueError(f"level must lie in [0, 1], but {level = }")
    match kernel:
        case Kernel.HORIZONTAL:
            blurred = cv2.blur(picture, (line_length_px(level), 1))
        case Kernel.VERTICAL:
            blurred = cv2.blur(picture, (1, line_length_px(level)))
        case Kernel.AVERAGING:
            blurred = cv2.blur(picture, (box_side_px(level), box_side_px(level)))
        case Kernel.GAUSSIAN:
            blurred = cv2.GaussianBlur(picture, (0, 0), gaussian_sigma_px(level))
        case Kernel.MEDIAN:
            blurred = cv2.medianBlur(picture, median_side_px(level))
        case Kernel.BILATERAL:
            blurred = cv2.bilateralFilter(picture, int(5 + 8 * level), 75, 75)
        case Kernel.RESIZING:
            blurred = _resized_down_and_up(picture, resizing_factor(level))
    return np.asarray(blurred, dtype=np.uint8)


def _resized_down_and_up(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    small_size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.resize(picture, small_size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
