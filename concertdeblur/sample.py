"""A sample clip made by our own code: `python -m concertdeblur.sample OUT.mp4`.

Three seconds of a drawn stage, blurred as an out-of-focus phone blurs, with two notes of sound: something to
try the program on where no concert is at hand. The same bytes of picture and sound every time.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur import Kernel, blur
from concertdeblur.media.drawn_clip import add_video, write_pictures

Picture = npt.NDArray[np.uint8]

HEIGHT_PX, WIDTH_PX = 360, 640
RATE_FPS = 25
NUM_FRAMES = 75
LEVEL = 0.4  # of the Gaussian blur
SAMPLE_RATE_HZ = 48_000
_NOTES_HZ = (220.0, 277.18)
_SCENE_WIDTH_PX = 900  # wider than the frame: the camera pans
_PAN_PX = 1.5  # a frame


def sharp_frames() -> Iterator[Picture]:
    """The scene before blurring, (360, 640, 3) RGB, frame by frame."""
    stage = _stage()
    for number in range(NUM_FRAMES):
        lit = _lit(stage, number / RATE_FPS)
        shift = np.array([[1, 0, -_PAN_PX * number], [0, 1, 0]], dtype=np.float32)
        yield np.asarray(cv2.warpAffine(lit, shift, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_CUBIC), dtype=np.uint8)


def write_sample(target: Path) -> None:
    """Write the blurred clip with its sound; an existing file is replaced."""
    with av.open(str(target), "w") as output:
        options = {"crf": "14", "preset": "medium"}
        video = add_video(output, height=HEIGHT_PX, width=WIDTH_PX, rate_fps=RATE_FPS, options=options)
        audio = output.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        pictures = (blur(sharp, Kernel.GAUSSIAN, LEVEL) for sharp in sharp_frames())
        write_pictures(output, video, pictures)
        for sound in _sound():
            output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


def _stage() -> Picture:
    """What stands still: curtain, banner, speakers, a guitar, the heads of the crowd."""
    draw = np.random.default_rng(7)
    scene = np.zeros((HEIGHT_PX, _SCENE_WIDTH_PX, 3), np.uint8)
    x = np.arange(_SCENE_WIDTH_PX)
    scene[:] = (18 + 10 * np.sin(x / 6.0))[None, :, None].astype(np.uint8)
    scene[230:] = 26
    for y in range(234, 300, 6):  # floor boards
        cv2.line(scene, (0, y), (_SCENE_WIDTH_PX, y), (52, 40, 32), 1)
    cv2.rectangle(scene, (250, 40), (650, 96), (120, 16, 28), -1)
    cv2.putText(
        scene, "LIVE  TONIGHT  1969-2026", (262, 78), cv2.FONT_HERSHEY_DUPLEX, 0.92, (245, 232, 205), 2, cv2.LINE_AA
    )
    for left in (60, 700):
        cv2.rectangle(scene, (left, 120), (left + 110, 250), (34, 34, 38), -1)
        for y in range(126, 248, 5):  # grille
            for column in range(left + 5, left + 107, 5):
                scene[y, column] = 128
    _draw_guitar(scene, (430, 190))
    for _ in range(60):
        centre = (int(draw.integers(0, _SCENE_WIDTH_PX)), int(draw.integers(318, 352)))
        cv2.circle(scene, centre, int(draw.integers(10, 17)), (9, 8, 12), -1, cv2.LINE_AA)
    return np.asarray(np.clip(scene + draw.normal(0, 2, scene.shape), 0, 255), dtype=np.uint8)


def _draw_guitar(scene: Picture, body: tuple[int, int]) -> None:
    x, y = body
    cv2.ellipse(scene, (x, y + 36), (46, 38), 0, 0, 360, (196, 92, 24), -1, cv2.LINE_AA)
    cv2.ellipse(scene, (x + 26, y + 12), (32, 26), 0, 0, 360, (196, 92, 24), -1, cv2.LINE_AA)
    cv2.circle(scene, (x + 8, y + 26), 13, (40, 20, 12), -1, cv2.LINE_AA)
    cv2.line(scene, (x + 20, y + 14), (x + 150, y - 76), (92, 58, 34), 12, cv2.LINE_AA)
    for string in range(6):
        offset = 1.7 * (string - 2.5)
        start, end = (round(x - 18 + offset), round(y + 44 + offset)), (round(x + 150 + offset), round(y - 76 + offset))
        cv2.line(scene, start, end, (226, 222, 210), 1, cv2.LINE_AA)


def _lit(stage: Picture, time_s: float) -> Picture:
    """The stage under three moving beams of light."""
    light = np.zeros((HEIGHT_PX, _SCENE_WIDTH_PX, 3), np.float32)
    for number, colour in enumerate(((90, 60, 230), (230, 70, 60), (60, 200, 150))):
        top = 200 + 230 * number
        foot = top + 150 * np.sin(1.3 * time_s + 2.1 * number)
        corners = np.array([[top - 4, 0], [top + 4, 0], [foot + 70, 310], [foot - 70, 310]]).round().astype(np.int32)
        cv2.fillPoly(light, [corners], tuple(float(c) for c in colour), cv2.LINE_AA)
    soft = np.asarray(cv2.GaussianBlur(light, (0, 0), 5), dtype=np.float32)
    lit = stage * (0.75 + soft / 160) + 0.16 * soft
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


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
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m concertdeblur.sample OUT.mp4\n")
        return 2
    write_sample(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
