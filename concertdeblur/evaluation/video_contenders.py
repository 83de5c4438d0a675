"""What is compared on real videos: weight sets as `video` runs them, and what sees one picture at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.evaluation.contenders import Contender, WeightSet
from concertdeblur.frame import Frame, full_scale
from concertdeblur.media.sequences import as_8_bits


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A deblurred frame before any encoding."""

    pixels: Picture
    windows_tried: int = 0
    windows_kept: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoContender:
    """One column: frames of a video in order, one deblurred frame for each."""

    key: str
    label: str
    deblur: Callable[[Iterable[Frame]], Iterator[Made]]


def video_contenders_of(weights: WeightSet, *, prefix: str = "") -> tuple[VideoContender, VideoContender]:
    """A weight set's two columns: iGAN alone, and with BRMR."""
    of, key = (f"{prefix} ", f"{prefix}-") if prefix else ("", "")
    deblurrer = weights.deblurrer()
    return (
        VideoContender(key=f"{key}igan", label=f"{of}iGAN alone", deblur=_streamed(deblurrer, refine=False)),
        VideoContender(key=f"{key}brmr", label=f"{of}iGAN and BRMR", deblur=_streamed(deblurrer, refine=True)),
    )


def picture_by_picture(weights: WeightSet) -> VideoContender:
    """The same frames as single pictures, refined as pictures are."""
    deblurrer = weights.deblurrer()

    def deblur(frames: Iterable[Frame]) -> Iterator[Made]:
        for frame in frames:
            assert frame.pixels is not None
            made = deblurrer.deblur_picture(frame.pixels, DeblurOptions())
            kept, tried = len(made.windows_kept), len(made.windows_tried)
            yield Made(pixels=as_8_bits(made.pixels), windows_tried=tried, windows_kept=kept)

    return VideoContender(key="pictures", label="picture by picture", deblur=deblur)


def of_pictures(contender: Contender) -> VideoContender:
    """A contender of pictures, asked frame by frame."""

    def deblur(frames: Iterable[Frame]) -> Iterator[Made]:
        for frame in frames:
            yield Made(pixels=as_8_bits(contender.restore(_as_float(frame)).pixels))

    return VideoContender(key=contender.key, label=contender.label, deblur=deblur)


def still_blurred(deblurrer: Deblurrer, frames: Iterable[Frame], number: int) -> npt.NDArray[np.float32]:
    """What is still blurred in a frame of a video after BRMR, (height, width), 0 to 1.

    Args:
        deblurrer: Of the weight set.
        frames: Of the video.
        number: Of the frame among them.
    """
    heatmaps = [made.heatmap for made in deblurrer.stream(frames, DeblurOptions(heatmap=True))]
    found = heatmaps[number]
    assert found is not None
    return found


def _streamed(deblurrer: Deblurrer, *, refine: bool) -> Callable[[Iterable[Frame]], Iterator[Made]]:
    def deblur(frames: Iterable[Frame]) -> Iterator[Made]:
        for made in deblurrer.stream(frames, DeblurOptions(refine=refine)):
            assert made.frame.pixels is not None
            yield Made(
                pixels=as_8_bits(made.frame.pixels),
                windows_tried=made.windows_tried,
                windows_kept=made.windows_accepted,
            )

    return deblur


def _as_float(frame: Frame) -> npt.NDArray[np.float32]:
    assert frame.pixels is not None
    return np.asarray(frame.pixels.astype(np.float32) / np.float32(full_scale(frame.pixels)), dtype=np.float32)
