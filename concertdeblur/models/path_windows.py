"""What G_p is given of a window of a video: samples along its path, and what the result lacks of the input.

The samples are those of `path_taps`, taken from the result and from the results of the frames beside it, which are
sharper than the inputs. The result D, blurred again along the path as an exposure does it, should be the input B. What
it lacks, B less the blurred-again D, is added to D: a guess for each of `EXPOSURES`, among which the network chooses.

A neighbour's sample is believed by the range of the result's own samples within an exposure, and not of all along the
path as G_i's is. Results are sharp, so the same place lies in that range; and a lamp that is smaller than its smear and
flashes would be outvoted by its neighbours.

Where the neighbour's result shows other light (`path_search.believed`), its samples are not believed at all.

A GPU samples all windows at once with torch. A CPU samples one after the other with OpenCV, which takes an eighth of
the time that torch takes there.

Shape suffixes: M windows of one frame, S samples, y, x rows and columns of a window, h, w a value for SMEAR_PX px.
"""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.path_taps import (
    ALONG,
    BESIDE,
    HALF_SMEAR,
    NEIGHBOUR_EXCESS,
    NEIGHBOUR_ROOM,
    NEIGHBOUR_SHARE,
    NUM_PLANES,
    SOFT_PX,
    Flow,
    PixelPath,
    Samples,
    places_of,
    sampled,
    taps_along,
)
from concertdeblur.models.prepared import SMEAR_PX
from concertdeblur.models.spectrum import luma

EXPOSURES = (1.0, 0.8, 0.6)  # shares of the smear
_STEPS = (-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)  # places of a blurred-again window


@dataclass(frozen=True, kw_only=True, slots=True)
class Along:
    """One frame's result, those beside it and its path; sides are padded. All results are G_i's, not refined."""

    result_1CHW: Tensor
    before_1CHW: Tensor | None  # None where the frame before shows another scene
    after_1CHW: Tensor | None
    smear_12hw: Tensor  # px in an exposure, a value for SMEAR_PX x SMEAR_PX
    to_before_12hw: Tensor | None
    to_after_12hw: Tensor | None
    # shares to which the samples of either neighbour count, (1, 1, h, w); None: in full
    beliefs: tuple[Tensor | None, Tensor | None] = (None, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PathViews:
    """What the restoration of G_p is given for M windows."""

    taps_MTyx: Tensor  # planes as of `path_taps.taps_of`, float
    guess_MGyx: Tensor
    smear_M2hw: Tensor


def path_views(along: Along, blurred_1CHW: Tensor, at_M2: Tensor, size: tuple[int, int]) -> PathViews:
    """Look at windows of one frame.

    Args:
        along: The frame's results and path.
        blurred_1CHW: The input B.
        at_M2: (y, x) of each window, px; multiples of SMEAR_PX.
        size: (height, width) of all windows, px; multiples of SMEAR_PX.
    """
    look = views_by_opencv if blurred_1CHW.device.type == "cpu" else views_by_torch
    return look(along, blurred_1CHW, at_M2, size)


def views_by_torch(along: Along, blurred_1CHW: Tensor, at_M2: Tensor, size: tuple[int, int]) -> PathViews:
    """`path_views` on any device, all windows at once."""
    places_Myx2 = _places(at_M2, size)
    smear_Myx2 = _plane_at(along.smear_12hw, places_Myx2)
    own_MSCyx = _sampled(along.result_1CHW, _along(places_Myx2, smear_Myx2, (*ALONG, *_STEPS)))
    steps_MSCyx = own_MSCyx[:, len(ALONG) :]
    result_MCyx = steps_MSCyx[:, _STEPS.index(0.0)]
    along_MSCyx = own_MSCyx[:, : len(ALONG)]
    taps = [along_MSCyx, torch.stack([_softened(along.result_1CHW, sigma_px, at_M2, size) for sigma_px in SOFT_PX], 1)]
    both = (along.before_1CHW, along.to_before_12hw), (along.after_1CHW, along.to_after_12hw)
    for (neighbour, flow), belief in zip(both, along.beliefs, strict=True):
        own = result_MCyx[:, None].expand(-1, len(BESIDE), -1, -1, -1)
        if neighbour is None or flow is None:
            taps.append(own)
            continue
        there = places_Myx2 + _plane_at(flow, places_Myx2)
        samples_MSCyx = _sampled(neighbour, _along(there, smear_Myx2, BESIDE))
        samples_MSCyx = _believed(samples_MSCyx, result_MCyx, _within_exposure(along_MSCyx))
        if belief is not None:
            samples_MSCyx = own + _plane_at(belief, places_Myx2)[:, None, None, ..., 0] * (samples_MSCyx - own)
        taps.append(samples_MSCyx)
    blurred_MCyx = _cut(blurred_1CHW, at_M2, size)
    guesses = [result_MCyx + blurred_MCyx - _mean(steps_MSCyx, exposure) for exposure in EXPOSURES]
    reduced = size[0] // SMEAR_PX, size[1] // SMEAR_PX
    return PathViews(
        taps_MTyx=_planes(torch.cat(taps, 1), result_MCyx),
        guess_MGyx=torch.cat([*guesses, luma(blurred_MCyx)], 1),
        smear_M2hw=_cut(along.smear_12hw, at_M2 // SMEAR_PX, reduced),
    )


def views_by_opencv(along: Along, blurred_1CHW: Tensor, at_M2: Tensor, size: tuple[int, int]) -> PathViews:
    """`path_views` on a CPU, one window after the other; the numbers differ from torch's by rounding."""
    height, width = blurred_1CHW.shape[2:]
    taps_MTyx = np.empty((len(at_M2), NUM_PLANES, *size), np.float32)
    guess_MGyx = np.empty((len(at_M2), 3 * len(EXPOSURES) + 1, *size), np.float32)
    smears_M2hw = []
    for taps, guess, (y, x) in zip(taps_MTyx, guess_MGyx, at_M2.numpy().tolist(), strict=True):
        rows, columns = slice(y, y + size[0]), slice(x, x + size[1])
        smear, to_before, to_after, in_before, in_after = (
            None if plane is None else _plane_in(plane, rows, columns)
            for plane in (along.smear_12hw, along.to_before_12hw, along.to_after_12hw, *along.beliefs)
        )
        assert smear is not None
        reach_px = _reach_px(smear, to_before, to_after)
        seen = _grown(rows, height, reach_px), _grown(columns, width, reach_px)
        before, result, after = (
            None if picture is None else _pixels(picture, *seen)
            for picture in (along.before_1CHW, along.result_1CHW, along.after_1CHW)
        )
        assert result is not None
        path = PixelPath(
            rows=_within(rows, seen[0]),
            columns=_within(columns, seen[1]),
            smear=smear,
            to_before=to_before,
            to_after=to_after,
            beliefs=(in_before, in_after),
        )
        taps_along(before, result, after, path, planes=taps, believed_within=HALF_SMEAR)
        _put_guesses(result, _pixels(blurred_1CHW, rows, columns), path, guess)
        smears_M2hw.append(along.smear_12hw[:, :, _reduced(rows), _reduced(columns)])
    return PathViews(
        taps_MTyx=torch.from_numpy(taps_MTyx),
        guess_MGyx=torch.from_numpy(guess_MGyx),
        smear_M2hw=torch.cat(smears_M2hw),
    )


def _plane_in(plane_1Chw: Tensor, rows: slice, columns: slice) -> Flow:
    """A flow or a belief at each pixel of a window, (y, x, 2) or (y, x)."""
    height, width = plane_1Chw.shape[2:]
    seen = _grown(_reduced(rows), height, 1), _grown(_reduced(columns), width, 1)  # a pixel lies between two values
    values = cv2.merge([*plane_1Chw[0, :, seen[0], seen[1]].numpy()])
    made = cv2.resize(values, None, fx=SMEAR_PX, fy=SMEAR_PX, interpolation=cv2.INTER_LINEAR)
    within = (
        _within(part, slice(SMEAR_PX * whole.start, SMEAR_PX * whole.stop))
        for part, whole in zip((rows, columns), seen, strict=True)
    )
    return np.asarray(made[tuple(within)], dtype=np.float32)


def _reduced(part: slice) -> slice:
    """The values of a flow for a part of a side."""
    return slice(part.start // SMEAR_PX, part.stop // SMEAR_PX)


def _reach_px(smear: Flow, to_before: Flow | None, to_after: Flow | None) -> int:
    """How far beyond a window its samples may lie, px."""
    speed = cv2.norm(smear, cv2.NORM_INF)
    furthest = [max(ALONG) * speed, 4 * max(SOFT_PX)]
    to_others = (flow for flow in (to_before, to_after) if flow is not None)
    furthest += [cv2.norm(flow, cv2.NORM_INF) + max(BESIDE) * speed for flow in to_others]
    return math.ceil(max(furthest)) + 1


def _grown(part: slice, length: int, reach: int) -> slice:
    """A part of a side with as much more at both ends, so that what is reflected at the side's ends lies in it, too."""
    return slice(max(0, part.start - reach), min(length, part.stop + reach))


def _within(part: slice, whole: slice) -> slice:
    """A part of a side, counted from the start of a larger part."""
    return slice(part.start - whole.start, part.stop - whole.start)


def laid_in_fours(picture_1CHW: Tensor) -> Tensor:
    """A copy of a CPU's picture in memory with a fourth channel, which says nothing.

    `path_views` reads such a picture in place. Of any other it copies each window with all that its samples reach.
    """
    return torch.from_numpy(_in_fours(picture_1CHW[0])).permute(2, 0, 1)[None, :3]


def _pixels(picture_1CHW: Tensor, rows: slice, columns: slice) -> Samples:
    """A part of a picture, (height, width, 4); the fourth channel says nothing (`taps_along`)."""
    height, width = picture_1CHW.shape[2:]
    strides = (4 * width, 4, 1)
    if picture_1CHW[0].permute(1, 2, 0).stride() == strides:  # as of `laid_in_fours`
        whole = picture_1CHW.as_strided((height, width, 4), strides)
        return np.asarray(whole.numpy()[rows, columns])
    return _in_fours(picture_1CHW[0, :, rows, columns])


def _in_fours(picture_CHW: Tensor) -> Samples:
    red, green, blue = picture_CHW.numpy()
    return np.asarray(cv2.merge([red, green, blue, blue]))


def _put_guesses(result: Samples, blurred: Samples, path: PixelPath, guess: Samples) -> None:
    """Fill the guesses of a window (G, y, x).

    Args:
        result: The result D, from which it is sampled.
        blurred: The window of the input B.
        path: Of the window, within `result`.
        guess: The planes of the guesses.
    """
    assert path.smear is not None
    here = places_of(path.rows, path.columns)
    samples = np.empty((len(_STEPS) + 1, *blurred.shape), np.float32)
    for share, sample in zip(_STEPS, samples, strict=False):
        if share:
            sampled(result, here + np.float32(share) * path.smear, into=sample)
        else:
            sample[:] = result[path.rows, path.columns]
    samples[-1] = blurred
    made = (_guess_weights() @ torch.from_numpy(samples).flatten(1)).view(-1, *blurred.shape).numpy()
    for number, one in enumerate(made):
        cv2.split(one, [*guess[3 * number : 3 * number + 3], np.empty_like(guess[0])])
    cv2.cvtColor(blurred, cv2.COLOR_RGBA2GRAY, dst=guess[-1])


@cache
def _guess_weights() -> Tensor:
    """The weights of D's samples and of B in D + B - the mean of D's samples, a row for each exposure."""
    weights = torch.eye(len(_STEPS) + 1)[[_STEPS.index(0.0)] * len(EXPOSURES)]
    weights[:, :-1] -= torch.stack([_weights(exposure) for exposure in EXPOSURES])
    weights[:, -1] = 1
    return weights


def _believed(samples_MSCyx: Tensor, result_MCyx: Tensor, own_MSCyx: Tensor) -> Tensor:
    """Samples of a neighbour, as far as the result's own ones allow (path_taps.py)."""
    lowest = torch.minimum(own_MSCyx.amin(1), result_MCyx)[:, None]
    highest = torch.maximum(own_MSCyx.amax(1), result_MCyx)[:, None]
    room = NEIGHBOUR_ROOM + NEIGHBOUR_SHARE * (highest - lowest)
    near = torch.minimum(torch.maximum(samples_MSCyx, lowest - room), highest + room)
    belief = (1 - (samples_MSCyx - near).abs() / NEIGHBOUR_EXCESS).clamp(0, 1)
    own = result_MCyx[:, None]
    return own + belief * (near - own)


def _within_exposure(taps_MKCyx: Tensor) -> Tensor:
    """Those of the result's own samples along the path that lie within an exposure."""
    return taps_MKCyx[:, [number for number, share in enumerate(ALONG) if abs(share) <= HALF_SMEAR]]


def _planes(taps_MKCyx: Tensor, result_MCyx: Tensor) -> Tensor:
    """Taps as planes, in the order of `path_taps.taps_of`."""
    own_MSCyx = _within_exposure(taps_MKCyx)
    lowest = torch.minimum(own_MSCyx.amin(1), result_MCyx)
    highest = torch.maximum(own_MSCyx.amax(1), result_MCyx)
    red, green, blue = taps_MKCyx.unbind(2)
    return torch.cat([red, green, blue, luma(taps_MKCyx.flatten(0, 1)).view_as(red), lowest, highest], 1)


def _places(at_M2: Tensor, size: tuple[int, int]) -> Tensor:
    """(x, y) of each pixel of each window, (M, y, x, 2) float."""
    rows = at_M2[:, 0, None] + torch.arange(size[0], device=at_M2.device)
    columns = at_M2[:, 1, None] + torch.arange(size[1], device=at_M2.device)
    x_Myx = columns[:, None, :].expand(-1, size[0], -1)
    y_Myx = rows[:, :, None].expand(-1, -1, size[1])
    return torch.stack([x_Myx, y_Myx], 3).float()


def _along(places_Myx2: Tensor, smear_Myx2: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Places on the path at shares of the smear, (M, S, y, x, 2)."""
    shares_S = torch.tensor(shares, device=places_Myx2.device)[:, None, None, None]
    return places_Myx2[:, None] + shares_S * smear_Myx2[:, None]


def _plane_at(plane_1Chw: Tensor, places_Myx2: Tensor) -> Tensor:
    """A flow or a belief at places of the frame, (M, y, x, C); each of its values stands in the middle of its px."""
    reduced = (places_Myx2 + 0.5) / SMEAR_PX - 0.5
    return _sampled(plane_1Chw, reduced[:, None])[:, 0].permute(0, 2, 3, 1)


def _sampled(picture_1CHW: Tensor, places_MSyx2: Tensor) -> Tensor:
    """A picture at places (x, y) in px, by linear interpolation, reflected at its border; (M, S, C, y, x)."""
    num, count, rows, columns = places_MSyx2.shape[:4]
    height, width = picture_1CHW.shape[2:]
    last = torch.tensor([max(1, width - 1), max(1, height - 1)], device=places_MSyx2.device)
    relative = (2 * places_MSyx2 / last - 1).reshape(1, num * count * rows, columns, 2)
    found = F.grid_sample(picture_1CHW, relative, mode="bilinear", padding_mode="reflection", align_corners=True)
    return found.view(-1, num, count, rows, columns).permute(1, 2, 0, 3, 4)


def _softened(picture_1CHW: Tensor, sigma_px: float, at_M2: Tensor, size: tuple[int, int]) -> Tensor:
    """Windows of the picture after a Gaussian blur, reflected at the picture's border, (M, C, y, x)."""
    reach = int(4 * sigma_px + 0.999)
    position = torch.arange(-reach, reach + 1, device=picture_1CHW.device)
    weights = torch.exp(-0.5 * (position / sigma_px) ** 2)
    weights = weights / weights.sum()
    channels = picture_1CHW.shape[1]
    soft = _cut(picture_1CHW, at_M2 - reach, (size[0] + 2 * reach, size[1] + 2 * reach))
    soft = F.conv2d(soft, weights.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(soft, weights.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)


def _cut(picture_1CHW: Tensor, at_M2: Tensor, size: tuple[int, int]) -> Tensor:
    """Windows of the picture, (M, C, y, x); what lies beyond its border is reflected."""
    places = []
    for axis, length in enumerate(picture_1CHW.shape[2:]):
        along = at_M2[:, axis, None] + torch.arange(size[axis], device=at_M2.device)
        last = length - 1
        places.append((last - (last - along.abs()).abs()).clamp(0, last))
    rows_My, columns_Mx = places
    return picture_1CHW[0][:, rows_My[:, :, None], columns_Mx[:, None, :]].transpose(0, 1)


def _mean(steps_MSCyx: Tensor, exposure: float) -> Tensor:
    """The mean over an exposure."""
    return torch.einsum("mscyx,s->mcyx", steps_MSCyx, _weights(exposure).to(steps_MSCyx.device))


def _weights(exposure: float) -> Tensor:
    """The weight of each of `_STEPS` in the mean over an exposure, by the trapezoidal rule."""
    shares = torch.tensor(_STEPS)
    inside = (shares.abs() <= exposure / 2 + 1e-6).float()
    inside = torch.where((shares.abs() - exposure / 2).abs() < 1e-6, 0.5, inside)
    return inside / inside.sum()
