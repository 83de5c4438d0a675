"""The capture chain of a real camera: sharp pictures to pairs that look like concert footage from a phone.

The steps follow each other as light meets them. All of them work in linear light until the tone curve:

1. The scene: a random mild tone curve makes the region linear. Some regions are darkened, and some are replaced by a
   flat gradient. What the file shows as white may become a lamp that is several times brighter, and a few lamps are
   added.
2. The exposure: the picture shakes along a smooth random path. It may also turn and zoom, or hold an object that moves
   by itself. The lens defocuses it by a disk or polygon, and is somewhat soft.
3. The sensor: light is clipped, gets shot noise and read noise, and passes a colour mosaic.
4. The phone: a tone curve, chroma smoothing, denoising and an unsharp mask are applied.
5. The file: the picture is scaled down, coded as JPEG or H.264, and scaled up again.

The sharp picture of a pair is the scene (step 1) under the same tone curve and clipping. The centroid of every motion
lies on the sharp position. Some pairs are sharp: their two pictures are equal, since a deblurrer must not touch a sharp
frame.

The protocol `capture-mid` (`capture_mid`) is for judging, never for training, and it is never changed: it has the seed
40816, one 256x256 pair for each picture and index, and the settings `CAPTURE_MID`. It was fixed before any network was
trained on this chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from concertdeblur.blur import scenes
from concertdeblur.blur.compression import h264, jpeg
from concertdeblur.blur.draws import Range, log_uniform
from concertdeblur.blur.exposure import CameraPath, exposed, exposed_layers, exposed_varying
from concertdeblur.blur.kernels import Picture
from concertdeblur.blur.sensor import Processing, Sensor, developed
from concertdeblur.blur.tone import Light, ToneCurve, tone_curve
from concertdeblur.blur.trajectories import BlurKernel, Path, drawn, lens, scaled, shake, straight

_MIN_SIDE_PX = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureSettings:
    """Shares are probabilities. Values are drawn evenly from ranges (least, most), unless a comment differs."""

    sharp_share: float = 0.06  # both pictures are equal
    flat_share: float = 0.01  # a gradient without any detail
    dark_share: float = 0.2
    dark: Range = (0.01, 0.6)  # factor of the light; its logarithm is drawn evenly
    gamma: Range = (0.9, 1.15)
    contrast: Range = (-0.2, 0.4)
    lights_share: float = 0.5  # what the file shows as white is made brighter
    lights_gain: Range = (2, 16)  # its logarithm is drawn evenly
    lamps_share: float = 0.12  # lamps are added to the scene
    motion_share: float = 0.8  # all others are defocused
    motion_px: Range = (1, 24)  # for regions of 256 px or more; smaller ones move less; short motion is more frequent
    straight_share: float = 0.3
    varying_share: float = 0.2  # share of the moving pictures that also turn and zoom
    object_share: float = 0.2  # share of the moving pictures with an object that moves by itself
    defocus_share: float = 0.3  # share of the moving pictures that are also defocused
    defocus_px: Range = (0.5, 4)
    softness_px: Range = (0.3, 0.9)
    mosaic_share: float = 0.5
    shot: Range = (2e-5, 2e-3)  # its logarithm is drawn evenly
    read: Range = (1e-4, 2e-3)  # its logarithm is drawn evenly
    grain_px: Range = (0.3, 0.9)
    chroma_share: float = 0.4
    chroma_px: Range = (0.6, 2.5)
    denoise_share: float = 0.3
    denoise_px: Range = (0.4, 0.8)
    sharpening_share: float = 0.5
    sharpening: Range = (0.2, 1.2)
    sharpening_px: Range = (0.7, 1.6)
    shrink_share: float = 0.12
    shrink: Range = (1.1, 2)
    jpeg_share: float = 0.4
    jpeg_quality: Range = (35, 96)
    h264_share: float = 0.2
    h264_crf: Range = (18, 36)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{field.name} must lie in [0, 1], but it is {value}")
            elif not value[0] <= value[1]:
                raise ValueError(f"{field.name} must be (least, most), but it is {value}")
        if self.jpeg_share + self.h264_share > 1:
            raise ValueError("jpeg_share and h264_share must not exceed 1 together")


@dataclass(frozen=True, slots=True)
class CapturedPair:
    """A blurred picture and its sharp one, both (height, width, 3) RGB uint8, of the same size and not shifted."""

    blurred: Picture
    sharp: Picture
    moved_px: tuple[float, float] | None = None  # of its middle over the exposure, right and down; None: unknown


CAPTURE_MID = CaptureSettings(
    sharp_share=0, flat_share=0, dark_share=0.15, dark=(0.05, 0.6), lights_gain=(2, 8), lamps_share=0.1,
    motion_share=0.85, motion_px=(5, 13), defocus_px=(0.5, 2), softness_px=(0.3, 0.6),
    shot=(2e-5, 4e-4), read=(1e-4, 6e-4), sharpening=(0.2, 0.6), shrink_share=0,
    jpeg_share=0.5, jpeg_quality=(75, 95), h264_share=0.5, h264_crf=(18, 26),
)  # fmt: skip
_MID_SEED = 40816
MID_SIDE_PX = 256
_MID_MARGIN_PX = 24  # the picture around the pair, as far as there is any: content moves in over the pair's border


def capture(region: Picture, rng: np.random.Generator, settings: CaptureSettings = CaptureSettings()) -> CapturedPair:
    """Photograph a sharp region with an unsteady camera; a pure function of its inputs, safe in threads.

    Args:
        region: (height, width, 3) RGB uint8, at least 32 px a side, sharp.
        rng: Source of all that is random; give each sample its own.
        settings: How often and how much.

    Returns:
        The pair, of the region's size. The region's reflection moves in over its border, so if the picture goes on
        beyond the region, cut 24 px off each side of the pair.

    Raises:
        ValueError: If the region is not such a picture.

    """
    if region.dtype != np.uint8 or region.ndim != 3 or region.shape[2] != 3 or min(region.shape[:2]) < _MIN_SIDE_PX:
        raise ValueError(f"region must be (height, width, 3) uint8, 32 px at least, but {region.shape = }")
    curve = tone_curve(gamma=rng.uniform(*settings.gamma), contrast=rng.uniform(*settings.contrast))
    scene = _scene(region, curve, rng, settings)
    sharp = curve.encoded(scene)
    if rng.random() < settings.sharp_share:
        return CapturedPair(sharp, sharp)
    light, moved_px = _exposed(scene, rng, settings)
    return CapturedPair(photographed(light, curve, rng, settings), sharp, moved_px)


def photographed(light: Light, curve: ToneCurve, rng: np.random.Generator, settings: CaptureSettings) -> Picture:
    """The picture of exposed light (3, height, width) after sensor, phone and file (steps 3 to 5)."""
    blurred = developed(light, _sensor(rng, settings), curve, _processing(rng, settings), rng)
    return _filed(blurred, rng, settings)


def capture_mid(picture: Picture, index: int) -> CapturedPair:
    """The pair that the protocol `capture-mid` makes of a picture.

    Args:
        picture: (height, width, 3) RGB uint8, 256 px a side at least, sharp.
        index: Any number, such as the picture's place in its list; each gives another blur.

    Returns:
        A 256x256 pair.

    """
    if min(picture.shape[:2]) < MID_SIDE_PX:
        raise ValueError(f"capture-mid needs pictures of 256 px a side, but {picture.shape = }")
    rng = np.random.default_rng([_MID_SEED, index])
    corner = [int(rng.integers(length - MID_SIDE_PX + 1)) for length in picture.shape[:2]]
    start = [max(0, at - _MID_MARGIN_PX) for at in corner]
    stop = [at + MID_SIDE_PX + _MID_MARGIN_PX for at in corner]
    pair = capture(picture[start[0] : stop[0], start[1] : stop[1]], rng, CAPTURE_MID)
    y, x = (slice(at - begin, at - begin + MID_SIDE_PX) for at, begin in zip(corner, start, strict=True))
    return replace(pair, blurred=np.ascontiguousarray(pair.blurred[y, x]), sharp=np.ascontiguousarray(pair.sharp[y, x]))


def _scene(region: Picture, curve: ToneCurve, rng: np.random.Generator, s: CaptureSettings) -> Light:
    light = curve.linear(np.ascontiguousarray(region))
    if rng.random() < s.flat_share:
        light = scenes.gradient(light.shape[1], light.shape[2], rng)
    if rng.random() < s.lights_share:
        light = scenes.beyond_white(light, log_uniform(rng, s.lights_gain))
    if rng.random() < s.dark_share:
        light = light * np.float32(log_uniform(rng, s.dark))
    if rng.random() < s.lamps_share:
        light = scenes.with_lamps(light, rng)
    return light


def _exposed(scene: Light, rng: np.random.Generator, s: CaptureSettings) -> tuple[Light, tuple[float, float]]:
    """The light of the exposure, and how far the picture (behind any moving object) moved in it."""
    moves = rng.random() < s.motion_share
    optics = _optics(rng, s, is_defocused=not moves or rng.random() < s.defocus_share)
    if not moves:
        return exposed(scene, optics), (0.0, 0.0)
    most = min(1.0, min(scene.shape[1:]) / 256)
    draw = rng.random()
    if draw < s.varying_share:
        camera = _camera(scene, most, rng, s)
        return exposed_varying(scene, camera, optics), _moved(camera.at(scene.shape[2] / 2, scene.shape[1] / 2))
    if draw < s.varying_share + s.object_share:
        return _exposed_object(scene, optics, most, rng, s)
    path = _path(most, rng, s)
    return exposed(scene, drawn(path, optics)), _moved(path)


def _moved(path: Path) -> tuple[float, float]:
    right, down = path[-1] - path[0]
    return float(right), float(down)


def _exposed_object(
    scene: Light, optics: BlurKernel, most: float, rng: np.random.Generator, s: CaptureSettings
) -> tuple[Light, tuple[float, float]]:
    """The light of an object that moves before a camera, which is still or moves, too."""
    calm = replace(s, motion_px=(s.motion_px[0], max(s.motion_px[0], s.motion_px[1] / 3)))
    path_behind = _path(most, rng, calm)
    behind = exposed(scene, drawn(path_behind, optics))
    kernel = drawn(_path(most, rng, s), optics)
    cover = scenes.blob(scene.shape[1], scene.shape[2], rng)
    return exposed_layers(behind, scene, cover, kernel), _moved(path_behind)


def _optics(rng: np.random.Generator, s: CaptureSettings, *, is_defocused: bool) -> BlurKernel:
    radius = rng.uniform(*s.defocus_px) if is_defocused else 0.0
    blades = int(rng.choice((0, 0, 5, 6, 8)))
    return lens(radius, rng.uniform(*s.softness_px), num_blades=blades, turn_rad=rng.uniform(0, 6.28))


def _path(most: float, rng: np.random.Generator, s: CaptureSettings) -> Path:
    length = (s.motion_px[0] + (s.motion_px[1] - s.motion_px[0]) * rng.random() ** 1.5) * most
    return straight(rng, length) if rng.random() < s.straight_share else shake(rng, length)


def _camera(scene: Light, most: float, rng: np.random.Generator, s: CaptureSettings) -> CameraPath:
    height, width = scene.shape[1:]
    corner_px = s.motion_px[1] * most * rng.uniform(0.3, 1)  # how far turn and zoom together move the corners
    turn_and_zoom = scaled(shake(rng, 1.0), corner_px / np.hypot(height, width) * 2)
    return CameraPath(
        shift_px=_path(most, rng, s) * rng.random(),
        turn_rad=turn_and_zoom[:, 0],
        zoom=turn_and_zoom[:, 1] * rng.uniform(0, 0.7),
        centre_px=(rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height),
    )


def _sensor(rng: np.random.Generator, s: CaptureSettings) -> Sensor:
    has_mosaic = rng.random() < s.mosaic_share
    grain_px = 0.0 if has_mosaic else rng.uniform(*s.grain_px)
    shot, read = log_uniform(rng, s.shot), log_uniform(rng, s.read)
    return Sensor(shot=shot, read=read, has_mosaic=has_mosaic, grain_px=grain_px)


def _processing(rng: np.random.Generator, s: CaptureSettings) -> Processing:
    return Processing(
        chroma_px=rng.uniform(*s.chroma_px) if rng.random() < s.chroma_share else 0.0,
        denoise_px=rng.uniform(*s.denoise_px) if rng.random() < s.denoise_share else 0.0,
        sharpening=rng.uniform(*s.sharpening) if rng.random() < s.sharpening_share else 0.0,
        sharpening_px=rng.uniform(*s.sharpening_px),
    )


def _filed(picture: Picture, rng: np.random.Generator, s: CaptureSettings) -> Picture:
    height, width = picture.shape[:2]
    factor = rng.uniform(*s.shrink) if rng.random() < s.shrink_share else 1.0
    if factor > 1:
        small = (max(1, round(width / factor)), max(1, round(height / factor)))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    draw = rng.random()
    if draw < s.jpeg_share:
        picture = jpeg(picture, round(rng.uniform(*s.jpeg_quality)))
    elif draw < s.jpeg_share + s.h264_share:
        picture = h264(_clip(picture, rng), round(rng.uniform(*s.h264_crf)))
    if factor > 1:
        way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=way), dtype=np.uint8)
    return picture


def _clip(picture: Picture, rng: np.random.Generator) -> Sequence[Picture]:
    """The picture as the last of one or two coded frames, between which the camera moves a little."""
    if rng.random() < 0.3:
        return [picture]
    move = np.array([[1, 0, rng.normal(0, 1.5)], [0, 1, rng.normal(0, 1.5)]])
    size = (picture.shape[1], picture.shape[0])
    before = cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return [np.asarray(before, dtype=np.uint8), picture]
