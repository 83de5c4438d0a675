"""A sample clip made by our own code: `python -m concertdeblur.sample OUT.mp4 [--sharp SHARP.mp4]`.

The clip is three seconds of a drawn concert, in the dark, before a camera that shakes in the hand. The shutter is open
for nine tenths of each frame's time, so everything that moves is smeared along its path. Musicians and crowd move,
beams sweep, lamps blink, and the sensor adds noise. The sound is two notes. Pictures and sound are the same every time.
`--sharp` also writes the clip of a camera with an infinitely short exposure.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.sensor import Sensor, read_out
from concertdeblur.blur.tone import Light, tone_curve
from concertdeblur.errors import ConcertDeblurError, UsageError
from concertdeblur.media.containers import MUX_ERRORS, output_format
from concertdeblur.media.drawn_clip import add_video, write_pictures
from concertdeblur.media.output_file import OutputFile, target_error

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]  # of linear light, 1 white; (height, width, 3), or one of a mask
Affine = npt.NDArray[np.float64]  # (2, 3), as OpenCV's

HEIGHT_PX, WIDTH_PX = 360, 640
RATE_FPS = 24
NUM_FRAMES = 72
EXPOSURE = 0.9  # share of a frame's time in which the shutter is open
SAMPLE_RATE_HZ = 48_000

_SIZE_PX = (WIDTH_PX, HEIGHT_PX)
_NOTES_HZ = (220.0, 277.18)
_SENSOR = Sensor(shot=1e-4, read=1.5e-3, grain_px=0.6)
_SCENE_HEIGHT_PX, _SCENE_WIDTH_PX = 460, 860  # larger than the frame, because the camera moves
_PAN_PX_S = 36.0
_HAND = (  # the camera's shake: amplitude in px across and down, frequency in Hz, phase
    (13.0, 6.0, 1.1, 0.0),
    (6.0, 7.0, 2.3, 1.3),
    (3.0, 2.6, 4.9, 0.4),
)
_HAND_ROLL_RAD = 0.012
_MOST_MOMENTS = 12  # moments of an exposure; something moves about a pixel between two
_AMBIENT = 0.5
_LAMPS, _LAMP_Y_PX = 8, 82
_LAMP_LIGHT = 5.0  # brightness of a lamp, times white; it is more than a file can hold
_COLOURS = ((0.55, 0.3, 1.0), (1.0, 0.35, 0.25), (0.3, 0.9, 0.6))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    """Something that moves before the backdrop."""

    colour: Plane
    mask: Plane
    place: tuple[float, float]  # (x, y) of its middle in the scene, at rest
    moved: Callable[[float], tuple[float, float, float]]  # by time in s: px right, px down, turn in radians
    nearness: float = 1.0  # how much more than the backdrop it moves when the camera does


def frames() -> Iterator[tuple[Picture, Picture]]:
    """The clip frame by frame as (blurred, sharp), (360, 640, 3) RGB; sharp is the middle of the exposure."""
    curve, rng = tone_curve(), np.random.default_rng(7)
    for number in range(NUM_FRAMES):
        middle_s = (number + 0.5) / RATE_FPS
        lit = _lit(number)
        spread_s = EXPOSURE / RATE_FPS
        count = _moments(middle_s, spread_s)
        moments_s = middle_s + spread_s * ((np.arange(count) + 0.5) / count - 0.5)
        exposed = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
        for time_s in moments_s:
            exposed += _seen(lit, float(time_s))
        blurred = curve.encoded(read_out(_planes(exposed / np.float32(count)), _SENSOR, rng))
        yield blurred, curve.encoded(_planes(_seen(lit, middle_s)))


def write_sample(target: Path, sharp: Path | None = None) -> None:
    """Write the blurred clip with its sound, and the sharp one if asked for; existing files are replaced.

    Raises:
        UsageError: If a name does not end as that of a clip in H.264 does, or both are the same.
        TargetError: If a file cannot be written.
    """
    targets = [target] if sharp is None else [target, sharp]
    for path in targets:
        if output_format(path) == "webm":
            raise UsageError(f"{path.name}: webm cannot hold the sample's H.264; name it .mp4, .m4v, .mov or .mkv")
    if sharp is not None and sharp.resolve() == target.resolve():
        raise UsageError("the blurred clip and the sharp one must be different files")
    with ExitStack() as stack:
        parts = [stack.enter_context(OutputFile(path, overwrite=True)) for path in targets]
        pairs = list(frames())  # seconds of work, which would be for nothing if a file could not be written
        for number, (path, part) in enumerate(zip(targets, parts, strict=True)):
            try:
                _write(part, (pair[number] for pair in pairs))
            except MUX_ERRORS as error:
                raise target_error(path, error) from error


def _write(part: Path, pictures: Iterable[Picture]) -> None:
    with av.open(str(part), "w") as output:
        options = {"crf": "19", "preset": "fast"}
        video = add_video(output, height=HEIGHT_PX, width=WIDTH_PX, rate_fps=RATE_FPS, options=options)
        audio = output.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        write_pictures(output, video, pictures)
        for sound in _sound():
            output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


def _camera(time_s: float, nearness: float = 1.0) -> Affine:
    """The camera's transform, from the scene to the frame."""
    across = _PAN_PX_S * (time_s - NUM_FRAMES / RATE_FPS / 2)
    down = 0.0
    for right_px, down_px, rate_hz, phase in _HAND:
        across += right_px * np.sin(2 * np.pi * rate_hz * time_s + phase)
        down += down_px * np.sin(2 * np.pi * 1.17 * rate_hz * time_s + 2 * phase + 1)
    roll = _HAND_ROLL_RAD * np.sin(2 * np.pi * 1.7 * time_s)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    aim = np.array([_SCENE_WIDTH_PX / 2, _SCENE_HEIGHT_PX / 2]) + nearness * np.array([across, down])
    return np.column_stack([turn, np.array([WIDTH_PX / 2, HEIGHT_PX / 2]) - turn @ aim])


def _moments(middle_s: float, spread_s: float) -> int:
    """The number of moments of an exposure: about one for each pixel that the picture moves."""
    begun, ended = (_camera(middle_s + side * spread_s / 2, 1.2)[:, 2] for side in (-1, 1))
    return int(np.clip(np.ceil(np.hypot(*(ended - begun))) + 2, 4, _MOST_MOMENTS))


def _seen(lit: tuple[Plane, list[Plane]], time_s: float) -> Plane:
    """What the camera sees at a moment, (360, 640, 3) linear light."""
    backdrop, shown = lit
    size = (WIDTH_PX, HEIGHT_PX)
    seen = np.asarray(cv2.warpAffine(backdrop, _camera(time_s), size, flags=cv2.INTER_CUBIC), dtype=np.float32)
    for layer, light in zip(_layers(), shown, strict=True):
        _put(seen, layer, light, time_s)
    return np.maximum(seen, 0, out=seen)


def _put(seen: Plane, layer: _Layer, shown: Plane, time_s: float) -> None:
    """Lay a layer over the picture at its place; `shown` is its light times its mask, and the mask."""
    height, width = layer.mask.shape
    right, down, angle = layer.moved(time_s)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    at = np.add(layer.place, (right, down)) - turn @ (width / 2, height / 2)
    camera = _camera(time_s, layer.nearness)
    move = np.column_stack([camera[:, :2] @ turn, camera[:, :2] @ at + camera[:, 2]])
    corners = move @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    left, top = (int(np.clip(np.floor(low), 0, most)) for low, most in zip(corners.min(1), _SIZE_PX, strict=True))
    end_x, end_y = (int(np.clip(np.ceil(high), 0, most)) for high, most in zip(corners.max(1), _SIZE_PX, strict=True))
    if left >= end_x or top >= end_y:
        return
    move[:, 2] -= (left, top)
    moved = cv2.warpAffine(shown, move, (end_x - left, end_y - top), flags=cv2.INTER_LINEAR)
    part = seen[top:end_y, left:end_x]
    part *= 1 - moved[..., 3:]
    part += moved[..., :3]


def _lit(number: int) -> tuple[Plane, list[Plane]]:
    """Backdrop and layers under the lights of one frame."""
    time_s = number / RATE_FPS
    beams = np.zeros((_SCENE_HEIGHT_PX, _SCENE_WIDTH_PX, 3), np.float32)
    for place, colour in enumerate(_COLOURS):
        top = 190 + 240 * place
        foot = top + 150 * np.sin(2.2 * time_s + 2.1 * place)
        corners = np.array([[top - 4, 58], [top + 4, 58], [foot + 70, 380], [foot - 70, 380]]).round().astype(np.int32)
        cv2.fillPoly(beams, [corners], colour, cv2.LINE_AA)
    beams = np.asarray(cv2.GaussianBlur(beams, (0, 0), 6), dtype=np.float32)
    backdrop = _backdrop() * (_AMBIENT + 1.6 * beams) + 0.03 * beams
    for place in range(_LAMPS):
        if _is_lit(place, number):
            backdrop += _lamp(place)
    shown = []
    for layer in _layers():
        x, y = (int(np.clip(part, 0, most - 1)) for part, most in zip(layer.place, beams.shape[1::-1], strict=True))
        light = layer.colour * (_AMBIENT + 0.2 + 1.4 * beams[y, x])
        shown.append(np.dstack([light * layer.mask[..., None], layer.mask]))
    return backdrop, shown


def _is_lit(place: int, number: int) -> bool:
    """Whether a lamp is lit: lamps shine in turn, some for one frame and some for a few."""
    return (number + 5 * place) % 12 < (1, 3, 6)[place % 3]


@lru_cache(maxsize=_LAMPS)
def _lamp(place: int) -> Plane:
    """One lamp's light in the scene."""
    y, x = np.mgrid[:_SCENE_HEIGHT_PX, :_SCENE_WIDTH_PX].astype(np.float32)
    distance = np.hypot(y - _LAMP_Y_PX, x - (115 + 90 * place))
    disc = np.clip(6.5 - distance, 0, 1) * _LAMP_LIGHT
    glow = 0.25 / (1 + (distance / 9) ** 2)
    colour = np.array((1.0, 0.85, 0.6) if place % 2 else _COLOURS[place % 3], np.float32)
    return np.asarray((disc + glow)[..., None] * colour, dtype=np.float32)


@lru_cache(maxsize=1)
def _backdrop() -> Plane:
    """The parts that stand still: curtain, banner, speakers, drums, lamps that are off, floor boards."""
    scene = np.zeros((_SCENE_HEIGHT_PX, _SCENE_WIDTH_PX, 3), np.uint8)
    x = np.arange(_SCENE_WIDTH_PX)
    scene[:] = (34 + 16 * np.sin(x / 5.0))[None, :, None].astype(np.uint8) * np.array([1, 0.7, 0.9])
    scene[300:] = (46, 40, 36)
    for y in range(304, _SCENE_HEIGHT_PX, 7):
        cv2.line(scene, (0, y), (_SCENE_WIDTH_PX, y), (96, 76, 60), 1)
    cv2.rectangle(scene, (250, 108), (630, 160), (130, 22, 34), -1)
    cv2.putText(
        scene, "LIVE  TONIGHT  1969-2026", (264, 144), cv2.FONT_HERSHEY_DUPLEX, 0.86, (250, 236, 205), 2, cv2.LINE_AA
    )
    for left in (70, 690):
        cv2.rectangle(scene, (left, 160), (left + 110, 320), (52, 52, 58), -1)
        for y in range(168, 318, 6):  # grille
            scene[y : y + 2, left + 6 : left + 104 : 6] = 170
        cv2.circle(scene, (left + 55, 240), 38, (24, 24, 26), 3, cv2.LINE_AA)
    for place in range(_LAMPS):
        cv2.circle(scene, (115 + 90 * place, _LAMP_Y_PX), 9, (70, 70, 74), 2, cv2.LINE_AA)
    cv2.line(scene, (60, _LAMP_Y_PX - 12), (_SCENE_WIDTH_PX - 60, _LAMP_Y_PX - 12), (90, 90, 96), 4)
    _draw_drums(scene)
    noise = np.random.default_rng(3).normal(0, 2, scene.shape)
    return _light(np.asarray(np.clip(scene + noise, 0, 255), dtype=np.uint8))


def _draw_drums(scene: Picture) -> None:
    for centre, axes in (((430, 290), (52, 48)), ((372, 262), (30, 20)), ((488, 262), (30, 20))):
        cv2.ellipse(scene, centre, axes, 0, 0, 360, (206, 206, 214), -1, cv2.LINE_AA)
        cv2.ellipse(scene, centre, axes, 0, 0, 360, (150, 30, 40), 4, cv2.LINE_AA)
    cv2.putText(scene, "THE PIXELS", (392, 295), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 40), 1, cv2.LINE_AA)
    for x in (336, 524):  # cymbals
        cv2.ellipse(scene, (x, 226), (34, 6), -8, 0, 360, (222, 186, 92), -1, cv2.LINE_AA)
        cv2.line(scene, (x, 228), (x, 330), (170, 170, 176), 2, cv2.LINE_AA)


@lru_cache(maxsize=1)
def _layers() -> tuple[_Layer, ...]:
    """Singer, guitarist, and the crowd before them."""
    return (
        _layer(
            _singer(), (560.0, 270.0), lambda s: (34 * np.sin(2.6 * s), 5 * np.sin(9 * s), 0.09 * np.sin(5.2 * s + 1)),
            nearness=1.05,
        ),
        _layer(
            _guitarist(), (300.0, 280.0), lambda s: (9 * np.sin(4.4 * s), 4 * np.sin(8.8 * s), 0.1 * np.sin(4.4 * s)),
            nearness=1.05,
        ),
        _layer(
            _crowd(), (_SCENE_WIDTH_PX / 2, 382.0), lambda s: (3 * np.sin(3.1 * s), 6 * np.sin(12.6 * s), 0.0),
            nearness=1.2,
        ),
    )  # fmt: skip


def _layer(
    drawn: tuple[Picture, Picture], place: tuple[float, float],
    moved: Callable[[float], tuple[float, float, float]], *, nearness: float,
) -> _Layer:  # fmt: skip
    picture, mask = drawn
    shape = np.asarray(mask.astype(np.float32) / 255, dtype=np.float32)
    return _Layer(colour=_light(picture), mask=shape, place=place, moved=moved, nearness=nearness)


def _person(shirt: Callable[[Picture], None]) -> tuple[Picture, Picture]:
    """A person with head, trunk and legs, (230, 120); `shirt` draws on a piece of cloth."""
    picture, mask = np.zeros((230, 120, 3), np.uint8), np.zeros((230, 120), np.uint8)
    cloth = np.full((230, 120, 3), 70, np.uint8)
    shirt(cloth)
    cv2.ellipse(mask, (60, 96), (27, 48), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.line(mask, (48, 140), (44, 224), 255, 17, cv2.LINE_AA)
    cv2.line(mask, (72, 140), (76, 224), 255, 17, cv2.LINE_AA)
    picture[:] = cloth
    picture[136:] = (44, 52, 92)
    for y in range(140, 226, 4):  # folds
        cv2.line(picture, (36, y), (84, y + 2), (62, 72, 120), 1)
    cv2.ellipse(mask, (60, 34), (17, 22), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(picture, (60, 34), (18, 23), 0, 0, 360, (222, 172, 140), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (60, 20), (18, 11), 0, 180, 360, (52, 34, 22), -1, cv2.LINE_AA)
    for x in (53, 67):
        cv2.circle(picture, (x, 32), 2, (40, 30, 30), -1, cv2.LINE_AA)
        cv2.line(picture, (x - 4, 27), (x + 4, 27), (60, 40, 30), 1, cv2.LINE_AA)
    cv2.ellipse(picture, (60, 45), (7, 4), 0, 0, 360, (140, 50, 50), -1, cv2.LINE_AA)
    return picture, mask


def _limb(drawn: tuple[Picture, Picture], points: Iterable[tuple[int, int]], colour: tuple[int, int, int]) -> None:
    corners = [np.array(list(points), np.int32)]
    for plane, value in zip(drawn, (colour, (255,)), strict=True):
        cv2.polylines(plane, corners, False, value, 10, cv2.LINE_AA)


def _singer() -> tuple[Picture, Picture]:
    def checked(cloth: Picture) -> None:
        cloth[:] = (196, 190, 178)
        for start in range(0, 230, 8):
            cloth[start : start + 3] = (166, 30, 40)
            cloth[:, start : start + 2] = (60, 60, 110)

    drawn = _person(checked)
    _limb(drawn, [(36, 76), (22, 104), (50, 60)], (214, 160, 130))
    _limb(drawn, [(84, 76), (106, 52), (112, 20)], (214, 160, 130))
    for plane, value in zip(drawn, ((206, 206, 212), (255,)), strict=True):
        cv2.line(plane, (50, 58), (56, 48), value, 5, cv2.LINE_AA)  # microphone
    return drawn


def _guitarist() -> tuple[Picture, Picture]:
    def striped(cloth: Picture) -> None:
        cloth[:] = (40, 44, 50)
        for start in range(0, 230, 6):
            cloth[start : start + 2] = (210, 200, 170)

    drawn = _person(striped)
    wide = tuple(cv2.copyMakeBorder(plane, 0, 0, 50, 50, cv2.BORDER_CONSTANT) for plane in drawn)
    picture, mask = np.asarray(wide[0], dtype=np.uint8), np.asarray(wide[1], dtype=np.uint8)
    for plane, body, neck in ((picture, (196, 92, 24), (104, 68, 40)), (mask, (255,), (255,))):
        cv2.ellipse(plane, (92, 128), (30, 22), -25, 0, 360, body, -1, cv2.LINE_AA)
        cv2.ellipse(plane, (116, 116), (21, 16), -25, 0, 360, body, -1, cv2.LINE_AA)
        cv2.line(plane, (118, 114), (204, 66), neck, 8, cv2.LINE_AA)
    cv2.circle(picture, (104, 122), 7, (40, 20, 12), -1, cv2.LINE_AA)
    for string in (-2, 0, 2):
        cv2.line(picture, (88, 131 + string), (204, 66 + string), (232, 228, 214), 1, cv2.LINE_AA)
    _limb((picture, mask), [(86, 76), (70, 104), (98, 122)], (214, 160, 130))
    _limb((picture, mask), [(134, 76), (160, 104), (172, 84)], (214, 160, 130))
    return picture, mask


def _crowd() -> tuple[Picture, Picture]:
    """Heads from behind and arms in the air, dark."""
    draw, width = np.random.default_rng(7), _SCENE_WIDTH_PX + 80
    picture, mask = np.full((200, width, 3), (20, 17, 24), np.uint8), np.zeros((200, width), np.uint8)
    for x in range(10, width, 26):
        centre = (x + int(draw.integers(-8, 9)), 108 + int(draw.integers(-12, 13)))
        size = int(draw.integers(12, 18))
        cv2.circle(mask, centre, size, 255, -1, cv2.LINE_AA)
        cv2.rectangle(mask, (centre[0] - 20, centre[1] + size), (centre[0] + 20, 200), 255, -1)
        cv2.ellipse(picture, centre, (size - 2, size - 2), 0, 200, 340, (120, 96, 110), 2, cv2.LINE_AA)  # rim of light
        if draw.random() < 0.3:
            hand = (centre[0] + int(draw.integers(-14, 15)), 26 + int(draw.integers(-10, 30)))
            cv2.line(mask, (centre[0] + 18, 130), hand, 255, 8, cv2.LINE_AA)
            cv2.circle(mask, hand, 7, 255, -1, cv2.LINE_AA)
            cv2.circle(picture, hand, 5, (70, 52, 52), -1, cv2.LINE_AA)
    return picture, mask


def _light(picture: Picture) -> Plane:
    return np.ascontiguousarray(tone_curve().linear(picture).transpose(1, 2, 0))


def _planes(light: Plane) -> Light:
    return np.ascontiguousarray(light.transpose(2, 0, 1))


def _sound() -> Iterator[av.AudioFrame]:
    """Two notes, fading, in frames of 1,024 samples."""
    time_s = np.arange(NUM_FRAMES * SAMPLE_RATE_HZ // RATE_FPS) / SAMPLE_RATE_HZ
    half = len(time_s) // 2
    note_hz = np.where(np.arange(len(time_s)) < half, *_NOTES_HZ)
    wave = 0.3 * np.sin(2 * np.pi * note_hz * time_s) * np.exp(-2 * (time_s % (half / SAMPLE_RATE_HZ)))
    for start in range(0, len(wave), 1024):
        samples = np.ascontiguousarray(wave[None, start : start + 1024], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        yield frame


def main() -> int:
    """Write the sample to the path given."""
    parser = argparse.ArgumentParser(prog="python -m concertdeblur.sample", description="Draw a blurred sample clip.")
    parser.add_argument("target", type=Path, metavar="OUT.mp4", help="the blurred clip")
    parser.add_argument("--sharp", type=Path, metavar="SHARP.mp4", help="the same without blur and noise")
    chosen = parser.parse_args()
    try:
        write_sample(chosen.target, chosen.sharp)
    except ConcertDeblurError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
