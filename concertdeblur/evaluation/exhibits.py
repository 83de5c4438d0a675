"""The pictures that a reader looks at first: the worst, the best, and those that show refining and blur detection."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.blur.kernels import Picture
from concertdeblur.deblurring import cam
from concertdeblur.deblurring.cam import Area
from concertdeblur.evaluation.contenders import Contender, WeightSet
from concertdeblur.evaluation.detection import Trial, partly_blurred
from concertdeblur.evaluation.metrics import Frame, as_float
from concertdeblur.evaluation.pairs import SIDE_PX, centre_of
from concertdeblur.evaluation.tables import Scored

_CROP_PX = 96  # least side of a crop; crops are shown enlarged, side by side
_SHOWN_PX = 512  # longest side of a picture that is shown whole
_PATCH_COLOUR, _FOUND_COLOUR, _WINDOW_COLOUR = (64, 220, 90), (255, 70, 70), (255, 210, 60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One picture with a line below it."""

    caption: str
    picture: Picture
    is_crop: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """Pictures side by side."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A pair that is worth looking at, and the reason."""

    title: str
    scored: Scored


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A frame of a video that is worth looking at."""

    number: int
    gain_db: float  # gain over the input
    pictures: Mapping[str, Picture]  # "blurred", each contender's by its key, "sharp"
    psnr_db: Mapping[str, float]  # PSNR of all of these but the sharp one
    windows: tuple[int, int]  # number of windows that BRMR tried, and kept


def choose(scored: Sequence[Scored], *, count: int = 3) -> list[Chosen]:
    """The pairs with the least and the most gain, in all and by refining; a group has no picture twice."""

    def gain(one: Scored) -> float:
        return one.figures["brmr"].psnr_db - one.figures["blurred"].psnr_db

    def refined(one: Scored) -> float:
        return one.figures["brmr"].psnr_db - one.figures["igan"].psnr_db

    chosen = [Chosen(title=f"Worst: {gain(one):+.2f} dB", scored=one) for one in _distinct(scored, gain, count)]
    best = _distinct(scored, lambda one: -gain(one), count)
    chosen += [Chosen(title=f"Best: {gain(one):+.2f} dB", scored=one) for one in best]
    for name, one in (
        ("Refining lost most", min(scored, key=refined)),
        ("Refining won most", max(scored, key=refined)),
    ):
        if refined(one):
            chosen.append(Chosen(title=f"{name}: {refined(one):+.3f} dB over iGAN alone", scored=one))
    return chosen


def show(chosen: Chosen, contenders: Sequence[Contender], weights: WeightSet) -> Exhibit:
    """Deblur a chosen pair again, and lay it out: whole pictures, heatmap, and one crop of each."""
    pair = chosen.scored.pair
    blurred_u8, sharp_u8 = pair.read()
    blurred, sharp = as_float(blurred_u8), as_float(sharp_u8)
    crop = _largest(_lost(blurred, sharp))  # where blur removed most
    wholes, crops = [], []
    for contender in contenders:
        restored = contender.restore(blurred)
        caption = f"{contender.label}, {chosen.scored.figures[contender.key].psnr_db:.2f} dB"
        picture = _u8(restored.pixels)
        crops.append(Panel(caption=contender.label, picture=_enlarged(picture, crop), is_crop=True))
        drawn = picture.copy()
        if contender.key == "brmr":
            for window in restored.kept:
                _draw(drawn, window, _WINDOW_COLOUR)
            caption += f", {len(restored.kept)} of {len(restored.tried)} steps kept" if restored.tried else ""
        wholes.append(Panel(caption=caption, picture=_shown(drawn)))
    outlined = sharp_u8.copy()
    _draw(outlined, crop, (255, 255, 255))
    wholes.append(Panel(caption="sharp, with the crop below", picture=_shown(outlined)))
    heat = cam.heat_overlay(_u8(weights.refine(blurred).pixels), weights.heatmap(blurred))
    wholes.append(Panel(caption="heatmap: what is still blurred", picture=_shown(np.asarray(heat, dtype=np.uint8))))
    crops.append(Panel(caption="sharp", picture=_enlarged(sharp_u8, crop), is_crop=True))
    return Exhibit(title=f"{chosen.title} ({pair.name})", panels=(*wholes, *crops))


def show_frame(
    title: str, look: Look, labels: Mapping[str, str], heatmap: npt.NDArray[np.float32], *, of: str
) -> Exhibit:
    """Lay out a frame of a video: the whole frame, and its most telling crop.

    Args:
        title: Title of the exhibit.
        look: The frame.
        labels: Labels of its pictures, in the order in which they are shown.
        heatmap: What is still blurred in picture `of`, (height, width), 0 to 1.
        of: Key of the picture that is judged.
    """
    errors = {key: _lost(as_float(look.pictures[key]), as_float(look.pictures["sharp"])) for key in ("blurred", of)}
    won = errors["blurred"] - errors[of]
    crop = _largest(won if look.gain_db >= 0 else -won)
    wholes, crops = [], []
    for key, label in labels.items():
        picture = look.pictures[key]
        caption = label if key == "sharp" else f"{label}, {look.psnr_db[key]:.2f} dB"
        if key == of:
            caption += f", {look.windows[1]} of {look.windows[0]} windows kept"
        drawn = picture.copy()
        if key == "sharp":
            _draw(drawn, crop, (255, 255, 255))
            caption += ", with the crop below"
        wholes.append(Panel(caption=caption, picture=_shown(drawn)))
        crops.append(Panel(caption=label, picture=_enlarged(picture, crop), is_crop=True))
    heat = np.asarray(cam.heat_overlay(look.pictures[of], heatmap), dtype=np.uint8)
    wholes.append(Panel(caption="heatmap: what is still blurred", picture=_shown(heat)))
    crops.append(Panel(caption="heatmap", picture=_enlarged(heat, crop), is_crop=True))
    return Exhibit(title=title, panels=(*wholes, *crops))


def show_detection(trials: Sequence[Trial], weights: WeightSet, level: float, *, count: int = 4) -> Exhibit | None:
    """Partly blurred pictures under their heatmaps: the worst, the best and some between."""
    if not trials:
        return None
    ordered = sorted(trials, key=lambda trial: trial.iou)
    picked = [ordered[i * (len(ordered) - 1) // max(1, count - 1)] for i in range(min(count, len(ordered)))]
    panels = []
    for trial in picked:
        sharp = centre_of(trial.pair.read()[1], SIDE_PX)
        assert sharp is not None
        partly = partly_blurred(sharp, trial.kernel, level, trial.patch)
        heat = cam.blur_heatmap(weights.sharpness_map(as_float(partly)), SIDE_PX, SIDE_PX)
        drawn = np.asarray(cam.heat_overlay(partly, heat), dtype=np.uint8).copy()
        _draw(drawn, trial.patch, _PATCH_COLOUR)
        _draw(drawn, trial.found, _FOUND_COLOUR)
        caption = f"IoU {trial.iou:.2f}, {trial.kernel.value}, {trial.pair.picture}"
        panels.append(Panel(caption=caption, picture=drawn))
    return Exhibit(title="Where the blurred patch was (green) and where D_i found it (red)", panels=tuple(panels))


def _distinct(scored: Sequence[Scored], key: Callable[[Scored], float], count: int) -> list[Scored]:
    """The first pairs by `key`, at most one for each picture."""
    found: dict[str, Scored] = {}
    for one in sorted(scored, key=key):
        found.setdefault(one.pair.picture, one)
    return list(found.values())[:count]


def _lost(picture: Frame, sharp: Frame) -> Frame:
    """Squared error of each pixel, (height, width)."""
    return np.asarray(np.square(picture - sharp).sum(2), dtype=np.float32)


def _largest(values: Frame) -> Area:
    """The square in which the mean of `values`, (height, width), is highest; 96 px or a quarter of its height."""
    height, width = values.shape
    side = min(max(_CROP_PX, height // 4), height, width)
    total = np.asarray(cv2.integral(values), dtype=np.float64)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return Area(y=int(y), x=int(x), height=side, width=side)


def _enlarged(picture: Picture, crop: Area) -> Picture:
    return np.ascontiguousarray(picture[crop.of_pixels()])  # the page enlarges its pixels


def _shown(picture: Picture) -> Picture:
    scale = _SHOWN_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _draw(picture: Picture, area: Area, colour: tuple[int, int, int]) -> None:
    thick = max(2, round(max(picture.shape[:2]) / 256))
    last = (area.x + area.width - 1, area.y + area.height - 1)
    cv2.rectangle(picture, (area.x, area.y), last, colour, thick)


def _u8(pixels: Frame) -> Picture:
    return np.asarray(np.clip(np.rint(pixels * 255), 0, 255), dtype=np.uint8)
