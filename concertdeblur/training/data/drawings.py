"""Random drawings of things that people build: bars, bricks, trusses, lamps in rows, letters, plain shapes.

Stages have many of them, and photographs have few. The spectrum of equal bars has zeros at the same frequencies as that
of a blur that is as long as the bars are wide. A network that never saw bars takes them for blurred.
"""

import math
import string
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.draws import log_uniform
from concertdeblur.blur.kernels import Picture

Planes: TypeAlias = npt.NDArray[np.float32]  # (3, height, width), 0 to 1
Mask: TypeAlias = npt.NDArray[np.uint8]  # (height, width), 0 to 255

_OVERSAMPLING = 2  # masks are drawn larger by this factor
_WIDTHS_PX = (1.0, 14.0)  # widths of bars, lamps and strokes
_SOFTNESS_PX = (0.3, 0.8)  # standard deviation of the blur of a lens that counts as sharp
_ROOM = 1.3  # a mask is turned, so it is larger than its visible part by this factor
_TILT = 0.12  # how far a mask's corners move, as a share of its side: things are seldom seen straight on
_GRAIN = 1.5  # most film grain, grey levels
_LAYERS = (1, 4)


def drawing(side_px: int, rng: np.random.Generator) -> Picture:
    """A picture, (side, side, 3) RGB, as sharp as a photograph is."""
    planes = np.zeros((3, side_px, side_px), np.float32) if rng.random() < 0.2 else _shade(side_px, rng)
    for _ in range(int(rng.integers(*_LAYERS, endpoint=True))):
        draw = _THINGS[int(rng.integers(len(_THINGS)))]
        cover = _seen(draw, side_px, rng) * np.float32(rng.uniform(0.15, 1))
        planes += cover * (_shade(side_px, rng) - planes)
    grain = rng.standard_normal((side_px, side_px), np.float32)
    grain = np.float32(rng.uniform(0, _GRAIN)) * cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.3, 1))
    return np.asarray(cv2.merge(list(np.clip(np.rint(255 * planes + grain), 0, 255).astype(np.uint8))))


def _shade(side_px: int, rng: np.random.Generator) -> Planes:
    """A colour, or grey, under a light that changes slowly from place to place."""
    colour = rng.uniform(0, 1, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0, 1))
    rough = rng.uniform(0.6, 1, (3, 3)).astype(np.float32)
    light = cv2.resize(rough, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(colour.astype(np.float32)[:, None, None] * light, dtype=np.float32)


def _seen(
    draw: Callable[[int, np.random.Generator], Mask], side_px: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A mask as it is seen, turned and tilted, through the lens; (side, side), 0 to 1."""
    large = round(_OVERSAMPLING * _ROOM * side_px)
    mask = draw(large, rng)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64) * large / 2
    angle = rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    tilted = corners @ turn.T + rng.uniform(-_TILT, _TILT, (4, 2)) * large
    size = _OVERSAMPLING * side_px
    move = cv2.getPerspectiveTransform((corners + large / 2).astype(np.float32), (tilted + size / 2).astype(np.float32))
    seen = cv2.warpPerspective(mask, move, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    seen = cv2.GaussianBlur(seen, (0, 0), _OVERSAMPLING * rng.uniform(*_SOFTNESS_PX))
    small = cv2.resize(seen, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32) * np.float32(1 / 255)


def _width(rng: np.random.Generator) -> float:
    """A random width of bars, lamps or strokes, px of a mask."""
    return _OVERSAMPLING * log_uniform(rng, _WIDTHS_PX)


def _bars(side: int, rng: np.random.Generator) -> Mask:
    """Equal bars side by side."""
    width = _width(rng)
    period = width * log_uniform(rng, (1.5, 12))
    wave = (np.arange(side) + rng.uniform(0, period)) % period < width
    return np.tile(wave.astype(np.uint8) * 255, (side, 1))


def _bricks(side: int, rng: np.random.Generator) -> Mask:
    """The joints between bricks or tiles."""
    width = max(1, round(_width(rng)))
    height, length = (width * log_uniform(rng, (3, 15)) for _ in range(2))
    offset = rng.choice([0, 0.5]) * length
    mask = np.zeros((side, side), np.uint8)
    for row in range(int(side / height) + 1):
        top = round(row * height)
        mask[top : top + width] = 255
        for left in np.arange(row % 2 * offset, side, length):
            mask[top : round(top + height), round(left) : round(left) + width] = 255
    return mask


def _lamps(side: int, rng: np.random.Generator) -> Mask:
    """Round or square lamps in rows, some of them off."""
    width = _width(rng)
    period = max(4.0, width * log_uniform(rng, (1.3, 8)))
    away = np.abs(np.arange(side, dtype=np.float32) % period - period / 2)
    is_inside = np.add.outer(away**2, away**2) < (width / 2) ** 2
    if rng.random() < 0.4:
        is_inside = np.logical_and.outer(away < width / 2, away < width / 2)
    number = (np.arange(side) // period).astype(int)
    is_on = rng.random((number[-1] + 1, number[-1] + 1)) < rng.uniform(0.3, 1)
    return np.asarray(255 * (is_inside & is_on[number][:, number]), dtype=np.uint8)


def _truss(side: int, rng: np.random.Generator) -> Mask:
    """Beams of two chords and a zigzag between them."""
    mask = np.zeros((side, side), np.uint8)
    width = max(1, round(_width(rng)))
    for _ in range(int(rng.integers(1, 4))):
        top, depth = rng.uniform(0, side), width * log_uniform(rng, (4, 20))
        xs = np.arange(-depth, side + depth, depth * rng.uniform(0.7, 1.5))
        ys = np.where(np.arange(len(xs)) % 2, top, top + depth)
        zigzag = np.rint(np.stack([xs, ys], 1)).astype(np.int32)
        cv2.polylines(mask, [zigzag], False, 255, width, cv2.LINE_AA)
        for y in (round(top), round(top + depth)):
            cv2.line(mask, (0, y), (side, y), 255, width, cv2.LINE_AA)
    return mask


def _letters(side: int, rng: np.random.Generator) -> Mask:
    """Lines of text."""
    mask = np.zeros((side, side), np.uint8)
    thickness = max(1, round(_width(rng) / 2))
    scale = thickness * rng.uniform(0.3, 0.8)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
    letters = list(string.ascii_letters + string.digits + "  ")
    for bottom in np.arange(30 * scale, side + 30 * scale, 45 * scale):
        text = "".join(rng.choice(letters, max(1, round(side / (20 * scale)))))
        cv2.putText(mask, text, (0, round(bottom)), font, scale, 255, thickness, cv2.LINE_AA)
    return mask


def _shapes(side: int, rng: np.random.Generator) -> Mask:
    """A few large plain shapes."""
    mask = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 8))):
        centre, reach = rng.uniform(0, side, 2), log_uniform(rng, (0.02, 0.3)) * side
        if rng.random() < 0.4:
            axes = [max(1, round(reach * rng.uniform(0.3, 1))) for _ in range(2)]
            cv2.ellipse(mask, np.rint(centre).astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, 255, -1)
        else:
            corners = centre + reach * rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(mask, [np.rint(cv2.convexHull(corners.astype(np.float32))).astype(np.int32)], 255)
    return mask


_THINGS = (_bars, _bricks, _lamps, _truss, _letters, _shapes)
