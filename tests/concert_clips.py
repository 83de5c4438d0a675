"""Clips for the data set builder: slow pans over public-domain photographs that come inside scikit-image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

Picture = npt.NDArray[np.uint8]
RATE_FPS = 25
HEIGHT, WIDTH = 288, 384


@lru_cache(maxsize=8)
def photo(name: str) -> Picture:
    """A photograph, RGB, large enough to pan over without enlarging it: it goes on as its mirror image."""
    picture = np.asarray(getattr(skimage.data, name)(), dtype=np.uint8)
    missing = [max(0, HEIGHT + 40 - picture.shape[0]), max(0, WIDTH + 240 - picture.shape[1])]
    return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A pan; frame `sharp_at` is sharp, the further from it the more the others are blurred."""

    photo: str = "astronaut"
    num_frames: int = 30
    sharp_at: int | None = None  # None: all are sharp
    blur: Callable[[Picture, int], Picture] = lambda picture, _: cv2.GaussianBlur(picture, (0, 0), 1.0)  # type: ignore
    light: Callable[[int], float] = lambda _: 1.0
    noise: float = 0.0
    bars: int = 0  # px above and below
    height: int = HEIGHT
    width: int = WIDTH

    def frames(self) -> Iterable[Picture]:
        whole, rng = photo(self.photo), np.random.default_rng(7)
        for number in range(self.num_frames):
            frame = whole[8 : 8 + self.height, 2 * number : 2 * number + self.width]
            if self.sharp_at is not None and number != self.sharp_at:
                frame = self.blur(frame, abs(number - self.sharp_at))
            lit = frame * self.light(number) + rng.normal(0, self.noise, frame.shape) * (self.noise > 0)
            made = np.clip(lit, 0, 255).astype(np.uint8)
            if self.bars:
                made[: self.bars] = made[-self.bars :] = 0
            yield made


def dissolve(first: str, second: str, *, still: int = 30, length: int = 20) -> list[Picture]:
    """Two pans, one fading into the other."""
    total = 2 * still + length
    a = list(Shot(photo=first, num_frames=total).frames())
    b = list(Shot(photo=second, num_frames=total).frames())
    shares = np.clip((np.arange(total) - still) / length, 0, 1)
    return [np.asarray((1 - s) * x + s * y, dtype=np.uint8) for s, x, y in zip(shares, a, b, strict=True)]


def write_clip(path: Path, frames: Iterable[Picture], *, crf: int = 16, pixel_format: str = "yuv420p") -> Path:
    """An H.264 clip, 25 frames a second."""
    with av.open(str(path), "w") as output:
        stream: Any = None
        for frame in frames:
            if stream is None:
                stream = output.add_stream("libx264", rate=RATE_FPS, options={"crf": str(crf), "preset": "veryfast"})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = pixel_format
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        output.mux(stream.encode(None))
    return path


def shots_clip(path: Path, *shots: Shot, crf: int = 16) -> Path:
    """One shot after the other."""
    return write_clip(path, (frame for shot in shots for frame in shot.frames()), crf=crf)
