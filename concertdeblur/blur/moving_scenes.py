"""Short clips of moving scenes, rendered from photographs: blurred frames as a camera records them, and the truth.

A photograph stands before a moving camera, which shifts, rolls and zooms along smooth random paths with hand tremor.
Layers cut out of other photographs move before it by themselves. Lamps and pools of stage light blink, sweep and change
their colour from frame to frame. Every frame is the mean over its exposure, taken in linear light in steps of about a
pixel; then sensor noise and a codec are applied. The sharp truth of a frame is the scene in the middle of its exposure.

Unlike `capture`, which makes single pictures, the frames of a clip follow the same motion, so that a network can learn
what neighbouring frames and their optical flow say about blur.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.compression import h264_clip, jpeg
from concertdeblur.blur.kernels import Picture

Plane: TypeAlias = npt.NDArray[np.float32]
Displacement: TypeAlias = Callable[[float], npt.NDArray[np.float64]]  # time in frame intervals -> (x, y) px

NUM_FRAMES = 3  # the usual number: one frame and its neighbours
_LONGEST_PX = 48.0  # the longest path in a frame interval, at the widest field of view
_TREMOR = (0.3, 2.2)  # radians a frame interval: hands tremble with 4 to 10 Hz, clips have 24 to 60 frames a second
_MARGIN_PX = 80  # around the visible part, so that the camera has something to move over
_LEAST_DETAIL = 8.0  # least standard deviation of a crop, in grey levels
_MOST_TRIES = 32  # tries to find such a crop
_MOST_STEPS = 160
_LAYER_COUNTS, _LAYER_SHARES = (0, 1, 2), (0.45, 0.35, 0.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSettings:
    """Shares are probabilities."""

    still_share: float = 0.1  # the camera does not move
    lights_share: float = 0.3  # lamps that blink or stay, pools of light that change
    beyond_white_share: float = 0.15  # what the photograph shows as white is several times brighter
    dark_share: float = 0.25  # the level is 0.12 to 0.6
    long_exposure_share: float = 0.55  # 0.75 to 1 of the frame interval, as in the dark; else 0.05 to 0.75
    encoded_mean_share: float = 0.25  # the mean is taken of encoded values, as in GOPRO's pairs
    noise_share: float = 0.5
    h264_share: float = 0.3
    jpeg_share: float = 0.1


@dataclass(frozen=True, slots=True)
class MovingScene:
    """What was rendered."""

    frames: npt.NDArray[np.uint8]  # (frames, side, side, 3), blurred
    truths: npt.NDArray[np.uint8]  # (truths, side, side, 3), of the frames in the middle
    field: float  # how wide the field of view is: 1 is a frame of 1280x720, 0.25 one of 320x180
    exposure: float  # share of a frame interval

    @property
    def sharp(self) -> Picture:
        """The truth of the middle frame, (side, side, 3)."""
        middle: Picture = self.truths[len(self.truths) // 2]
        return middle


@dataclass(frozen=True, slots=True)
class _Layer:
    light: Plane  # (h, w, 3), linear
    mask: Plane  # (h, w), 0 to 1
    path: Displacement


@dataclass(frozen=True, slots=True)
class _Lights:
    """Lamps and pools of light on the background, with their brightness in each frame."""

    shapes: list[Plane]  # (h, w) of each light: how much it adds, 1 at its brightest
    colours: list[npt.NDArray[np.float32]]
    by_frame: npt.NDArray[np.float32]  # (frames, lights): brightness of each light in each frame
    tints: npt.NDArray[np.float32]  # (frames, 3): colour of the stage light in each frame
    pool: Plane  # (h, w): how much stage light falls on each place


def moving_scene(
    photos: Sequence[Picture], rng: np.random.Generator, *, side_px: int, settings: SceneSettings | None = None,
    num_frames: int = NUM_FRAMES, num_truths: int = 1,
) -> MovingScene:  # fmt: skip
    """Render one clip; a pure function of its inputs.

    Args:
        photos: Sharp photographs, (height, width, 3) RGB uint8.
        rng: Source of all that is random.
        side_px: Height and width of the frames.
        settings: What may happen.
        num_frames: An odd number. Clips of more frames differ in all that is drawn after their lights.
        num_truths: How many frames in the middle get a truth, an odd number.
    """
    assert num_frames % 2 == num_truths % 2 == 1
    assert num_truths <= num_frames
    settings = settings or SceneSettings()
    field = float(rng.choice([0.25, 0.5, 1.0], p=[0.4, 0.25, 0.35]))
    longest = _LONGEST_PX * field**0.75
    exposure = rng.uniform(0.75, 1.0) if rng.random() < settings.long_exposure_share else rng.uniform(0.05, 0.75)
    gamma = 1.0 if rng.random() < settings.encoded_mean_share else rng.uniform(1.8, 2.4)
    is_still = rng.random() < settings.still_share
    length = 0.0 if is_still else longest * rng.random() ** 1.8
    canvas = side_px + 2 * _MARGIN_PX
    back = _scene(rng, photos, canvas, gamma, settings)
    layers = [_layer(rng, photos, canvas, gamma, longest, is_still) for _ in range(_number(rng))]
    lights = _lights(rng, canvas, num_frames) if rng.random() < settings.lights_share else None
    level = np.float32(rng.uniform(0.12, 0.6) if rng.random() < settings.dark_share else 1.0) ** np.float32(gamma)
    paths = [_path(rng, 0.0 if is_still else n) for n in (length, rng.uniform(0, 0.02), rng.uniform(0, 0.015))]
    lit = [_lit(back, lights, frame, gamma) * level for frame in range(num_frames)]
    tints = [np.ones(3, np.float32) if lights is None else lights.tints[frame] for frame in range(num_frames)]
    means = []
    for frame, middle in enumerate(_around_zero(num_frames)):
        num_steps = 1 if is_still and not layers else _num_steps(paths[0], layers, middle, exposure)
        times = middle + exposure * ((np.arange(num_steps) + 0.5) / num_steps - 0.5)
        seen = [_seen(lit[frame], layers, paths, float(t), side_px, level * tints[frame]) for t in times]
        means.append(np.clip(np.mean(seen, axis=0), 0, 1))
    truths = []
    for middle in _around_zero(num_truths):
        frame = middle + num_frames // 2
        truths.append(_encoded(_seen(lit[frame], layers, paths, float(middle), side_px, level * tints[frame]), gamma))
    frames = [_encoded(mean, gamma) for mean in _noisy(means, rng, settings)]
    return MovingScene(np.stack(_coded(frames, rng, settings)), np.stack(truths), field, exposure)


def _around_zero(count: int) -> range:
    """The middles of exposures, in frame intervals; that of the middle frame is 0."""
    return range(-(count // 2), count // 2 + 1)


def _num_steps(camera: Displacement, layers: Sequence[_Layer], middle: float, exposure: float) -> int:
    """How many renderings of one exposure are needed so that nothing moves by more than a pixel between two."""
    times = middle + exposure * (np.arange(9) / 8 - 0.5)
    by_camera = np.array([camera(float(time)) for time in times])
    ways = [by_camera, *(by_camera + [layer.path(float(time)) for time in times] for layer in layers)]
    fastest = max(float(np.hypot(*np.diff(way, axis=0).T).max()) for way in ways) * (len(times) - 1)
    return int(np.clip(np.ceil(fastest) + 1, 5, _MOST_STEPS))


def _number(rng: np.random.Generator) -> int:
    return int(rng.choice(_LAYER_COUNTS, p=_LAYER_SHARES))


def _path(rng: np.random.Generator, length: float) -> Displacement:
    """A path of drift and hand tremor, about `length` px long in a frame interval; it is at 0 at time 0."""
    angle, drift = rng.uniform(0, 2 * np.pi), rng.beta(1.2, 1.2)
    velocity = np.array([np.cos(angle), np.sin(angle)]) * length * drift
    frequency, phase = rng.uniform(*_TREMOR, 3), rng.uniform(0, 2 * np.pi, (3, 2))
    size = rng.normal(size=(3, 2)) * (length * (1 - drift) / frequency[:, None]) * 0.9

    def displacement(time: float) -> npt.NDArray[np.float64]:
        tremor = (size * (np.sin(frequency[:, None] * time + phase) - np.sin(phase))).sum(0)
        return np.asarray(velocity * time + tremor)

    return displacement


def _crop(rng: np.random.Generator, photos: Sequence[Picture], side: int) -> Picture:
    """A part of a photograph, scaled down and turned; it has some detail if the photograph has any."""
    for _ in range(_MOST_TRIES):
        photo = photos[int(rng.integers(len(photos)))]
        scale = rng.uniform(0.5, 1.0) if rng.random() < 0.6 else 1.0
        cut = min(int(np.ceil(side / scale)), *photo.shape[:2])
        y, x = int(rng.integers(photo.shape[0] - cut + 1)), int(rng.integers(photo.shape[1] - cut + 1))
        crop = cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_AREA)
        if crop.std() >= _LEAST_DETAIL:
            break
    return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4))), dtype=np.uint8)


def _linear(picture: Picture, gamma: float) -> Plane:
    return np.asarray((picture.astype(np.float32) / 255) ** np.float32(gamma), dtype=np.float32)


def _scene(
    rng: np.random.Generator, photos: Sequence[Picture], side: int, gamma: float, settings: SceneSettings
) -> Plane:
    light = _linear(_crop(rng, photos, side), gamma)
    if rng.random() < settings.beyond_white_share:
        gain = np.float32(rng.uniform(2, 8))
        light = np.where(light.max(2, keepdims=True) > 0.75 ** (gamma / 2.2), light * gain, light)
    return light


def _layer(
    rng: np.random.Generator, photos: Sequence[Picture], side: int, gamma: float, longest: float, is_still: bool
) -> _Layer:
    length = 0.0 if is_still and rng.random() < 0.5 else longest * rng.random() ** 1.8
    return _Layer(_linear(_crop(rng, photos, side), gamma), _blob(rng, side), _path(rng, length))


def _blob(rng: np.random.Generator, side: int) -> Plane:
    """A random shape with soft edges, (side, side), 0 to 1."""
    cells = int(rng.integers(3, 8))
    field = cv2.resize(rng.normal(size=(cells, cells)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    top, left = rng.uniform(-0.25, 0.25, 2)
    inside = field * 0.5 + rng.uniform(0.1, 0.5) - 3 * ((y - top) ** 2 + (x - left) ** 2) > 0
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), rng.uniform(0.5, 1.0)), dtype=np.float32)


def _lights(rng: np.random.Generator, side: int, num_frames: int) -> _Lights:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    shapes, colours = [], []
    for _ in range(int(rng.integers(1, 7))):
        top, left = rng.uniform(_MARGIN_PX, side - _MARGIN_PX, 2)
        radius = np.exp(rng.uniform(np.log(1.5), np.log(16)))
        distance = np.hypot(y - np.float32(top), x - np.float32(left))
        disc = np.clip(np.float32(radius) - distance + np.float32(0.5), 0, 1)
        glow = np.float32(rng.uniform(0.0, 0.25)) / (1 + (distance / np.float32(2 * radius)) ** 2)
        shapes.append(np.asarray(np.maximum(disc, glow), dtype=np.float32))
        colour = rng.uniform(0.1, 1, 3) if rng.random() < 0.7 else np.ones(3)
        colours.append((colour / colour.max() * np.exp(rng.uniform(np.log(0.5), np.log(8)))).astype(np.float32))
    by_frame = np.ones((num_frames, len(shapes)), np.float32)
    for light in range(len(shapes)):
        kind = rng.random()
        if kind < 0.45:  # a light that is on in some frames and off in others
            by_frame[:, light] = rng.integers(0, 2, num_frames)
        elif kind < 0.7:  # a light that gets brighter or darker from frame to frame
            by_frame[:, light] = rng.uniform(0, 1, num_frames)
    tints = np.ones((num_frames, 3), np.float32)
    if rng.random() < 0.5:  # the stage light changes its colour or flashes
        tints = rng.uniform(0.15, 1, (num_frames, 3) if rng.random() < 0.6 else (num_frames, 1)).astype(np.float32)
        tints = np.broadcast_to(tints, (num_frames, 3))
    pool = np.ones((side, side), np.float32) if rng.random() < 0.4 else _pool(rng, side)
    return _Lights(shapes, colours, by_frame, tints, pool)


def _pool(rng: np.random.Generator, side: int) -> Plane:
    cells = int(rng.integers(2, 5))
    soft = cv2.resize(rng.random((cells, cells)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(1.6 * soft - 0.3, 0, 1), dtype=np.float32)


def _lit(back: Plane, lights: _Lights | None, frame: int, gamma: float) -> Plane:
    """The background under the lights of one frame."""
    if lights is None:
        return back
    tint = lights.tints[frame] ** np.float32(gamma / 2.2)
    out = back * (1 + lights.pool[..., None] * (tint - 1))
    for shape, colour, brightness in zip(lights.shapes, lights.colours, lights.by_frame[frame], strict=True):
        if brightness > 0:
            out = out + shape[..., None] * colour * brightness
    return np.asarray(out, dtype=np.float32)


def _seen(
    back: Plane, layers: Sequence[_Layer], paths: Sequence[Displacement], time: float, side: int,
    level: npt.NDArray[np.float32] | np.float32,
) -> Plane:  # fmt: skip
    """What the camera sees at a time, (side, side, 3) in linear light."""
    camera, roll, zoom = (path(time) for path in paths)
    angle, scale, centre = roll[0], 1 + zoom[0], np.full(2, (side + 2 * _MARGIN_PX) / 2)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def warped(picture: Plane, own: npt.NDArray[np.float64]) -> Plane:
        shift = centre - turn @ centre + camera + own + turn @ np.full(2, _MARGIN_PX)
        return np.asarray(
            cv2.warpAffine(
                picture, np.column_stack([turn, shift]), (side, side),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
            ),
            dtype=np.float32,
        )  # fmt: skip

    out = warped(back, np.zeros(2))
    for layer in layers:
        own = layer.path(time)
        share = np.clip(warped(layer.mask, own), 0, 1)[..., None]
        out = out + share * (warped(layer.light, own) * level - out)
    return np.asarray(np.maximum(out, 0), dtype=np.float32)


def _encoded(light: Plane, gamma: float) -> Picture:
    return np.asarray(np.clip(light, 0, 1) ** np.float32(1 / gamma) * 255 + 0.5, dtype=np.uint8)


def _noisy(means: Sequence[Plane], rng: np.random.Generator, settings: SceneSettings) -> list[Plane]:
    if rng.random() >= settings.noise_share:
        return list(means)
    shot, read = np.float32(rng.uniform(0, 0.02)), np.float32(rng.uniform(0, 0.008))
    spread = [np.sqrt(shot**2 * mean + read**2) for mean in means]
    return [mean + s * rng.standard_normal(mean.shape, np.float32) for mean, s in zip(means, spread, strict=True)]


def _coded(frames: Sequence[Picture], rng: np.random.Generator, settings: SceneSettings) -> list[Picture]:
    kind = rng.random()
    if kind < settings.h264_share:
        return h264_clip(frames, int(rng.integers(16, 33)))
    if kind < settings.h264_share + settings.jpeg_share:
        quality = int(rng.integers(50, 97))
        return [jpeg(frame, quality) for frame in frames]
    return list(frames)
