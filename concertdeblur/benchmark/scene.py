"""A clip like that of a concert, drawn for timing; it has motion, lights, dark parts, blur and grain."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur import Kernel, blur
from concertdeblur.media.drawn_clip import add_video, write_pictures

Picture: TypeAlias = npt.NDArray[np.uint8]

RATE_FPS = 25
_PAN_PX = 3  # a frame
_BLUR_LEVEL = 0.4
_GRAIN = 1.0  # standard deviation, in grey levels of 255


def sharp_frames(height: int, width: int, num_frames: int) -> Iterator[Picture]:
    """The sharp frames behind the blurred ones, (height, width, 3) RGB, the same at every call."""
    stage = _stage(height, width + _PAN_PX * num_frames)
    for number in range(num_frames):
        yield _lit(stage[:, _PAN_PX * number : _PAN_PX * number + width], number / RATE_FPS)


def blurred_frames(height: int, width: int, num_frames: int) -> Iterator[Picture]:
    """Frames (height, width, 3) RGB, the same at every call."""
    draw = np.random.default_rng(5)
    for sharp in sharp_frames(height, width, num_frames):
        soft = blur(sharp, Kernel.GAUSSIAN, _BLUR_LEVEL)
        grain = draw.standard_normal((height, width, 1), dtype=np.float32) * np.float32(_GRAIN)
        yield np.clip(soft + grain + np.float32(0.5), 0, 255).astype(np.uint8)


def write_clip(target: Path, *, height: int, width: int, num_frames: int) -> None:
    """Write the frames as h264 in BT.709; sides must be even. An existing file is replaced."""
    with av.open(str(target), "w") as output:
        options = {"crf": "16", "preset": "veryfast"}
        video = add_video(output, height=height, width=width, rate_fps=RATE_FPS, options=options)
        write_pictures(output, video, blurred_frames(height, width, num_frames))


def _stage(height: int, width: int) -> Picture:
    """The parts that stand still: curtain, banner, speakers, dark floor, and the heads of the crowd."""
    draw = np.random.default_rng(7)
    unit = height / 36
    scene = np.zeros((height, width, 3), np.uint8)
    scene[:] = (30 + 14 * np.sin(np.arange(width) / 4.0))[None, :, None].astype(np.uint8)
    scene[round(24 * unit) :] = 10  # the dark part
    for left in np.arange(2 * unit, width, 22 * unit):
        x = round(left)
        cv2.rectangle(scene, (x, round(10 * unit)), (x + round(8 * unit), round(24 * unit)), (58, 56, 62), -1)
        for y in np.arange(10.5 * unit, 24 * unit, 7):
            for column in np.arange(left + 4, left + 8 * unit - 4, 7):
                cv2.circle(scene, (round(column), round(y)), 2, (150, 146, 140), -1, cv2.LINE_AA)
        at = (x + round(9 * unit), round(16 * unit))
        cv2.putText(scene, "LIVE 1969", at, cv2.FONT_HERSHEY_DUPLEX, 0.09 * unit, (245, 232, 205), 2, cv2.LINE_AA)
        for string in range(6):
            y = round((19 + 0.5 * string) * unit)
            cv2.line(scene, (x + round(9 * unit), y), (x + round(21 * unit), y - round(unit)), (226, 200, 120), 1)
    for _ in range(width // 12):
        centre = (int(draw.integers(0, width)), round(float(draw.uniform(31, 36)) * unit))
        cv2.circle(scene, centre, max(1, round(1.4 * unit)), (6, 5, 9), -1, cv2.LINE_AA)
    return scene


def _lit(seen: Picture, time_s: float) -> Picture:
    """The stage under three moving beams."""
    height, width = seen.shape[:2]
    light = np.zeros((height // 4, width // 4, 3), np.float32)
    for number, colour in enumerate(((90, 60, 230), (230, 70, 60), (60, 200, 150))):
        top = width / 4 * (0.2 + 0.3 * number)
        foot = top + width / 16 * np.sin(1.3 * time_s + 2.1 * number)
        reach = width / 32
        corners = [[top - 2, 0], [top + 2, 0], [foot + reach, height / 5], [foot - reach, height / 5]]
        cv2.fillPoly(light, [np.array(corners).round().astype(np.int32)], [float(c) for c in colour], cv2.LINE_AA)
    soft = cv2.resize(cv2.GaussianBlur(light, (0, 0), 3), (width, height), interpolation=cv2.INTER_LINEAR)
    lit = seen * (0.8 + soft / 200) + 0.12 * soft
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)
