"""For which share of a frame interval the shutter is open, read off moving frames.

Optical flow tells how far a pixel moves from frame to frame. It is smeared along that path, but only as far as it
moves while the shutter is open: all of it in the dark, a quarter of it on a bright day. Who takes the whole path for
blur undoes too much (EXPERIMENTS.md, 2026-11-30, "exposure shares").

A mean over a line of length L leaves a trace. Along the line its derivative is the difference of the two ends,
S(x + L/2) - S(x - L/2), whatever the sharp picture S is. So derivatives of the blurred frame agree with the opposite of
those that lie L further on (Yitzhaky and Kopeika, "Identification of blur parameters from motion blurred images",
1997). With A the autocorrelation of the sharp picture's derivative, the autocorrelation of the blurred one's second
derivative along the line is

    C(t) = 2 A(t) - A(t - L) - A(t + L), up to a factor.

Lags t and L are counted in frame intervals of the pixel's own motion, so that pixels of all speeds and directions of a
frame are taken together. A cannot be known, but pictures are much alike in all directions, and across the motion
nothing is smeared: A is measured there. Noise and what is not smeared, by compression or because it moves with the
camera, add what a sharp picture gives, of a few widths. The share L for which C is explained best is the answer.

Motion is measured on a pyramid, in which every speed falls into the same octave of pixels.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.models.path_taps import Flow, Path, Samples

Plane: TypeAlias = npt.NDArray[np.float32]
Curve: TypeAlias = npt.NDArray[np.float64]

WHOLE_SHARE = 0.75  # G_i takes shares from here on for the whole interval: so its real pairs were recorded

_SLOWEST_PX, _OCTAVE_PX = 5.0, 16.0  # a frame interval; slower pixels say nothing, and level 0 ends at the second
_LEAST_SIDE_PX = 48  # of a level
_NUM_PLACES = 7000  # in a frame, on a grid
_MEASURED = 0.25  # share of the places of a level, those with the strongest derivative
_FEWEST_PLACES = 32
_FAINT = 2 / 255  # a derivative of this size, px, says half of what a strong one does: it may be noise
_SOFTNESS_PX = 0.7  # standard deviation of what derivatives are taken of
_LAGS_ALONG = np.arange(0.1, 1.61, 0.05, dtype=np.float32)  # in frame intervals
_LAGS_ACROSS = np.arange(0.0, 2.41, 0.05, dtype=np.float32)
_MARGIN_ALONG, _MARGIN_ACROSS = 1.6, 1.0  # so many intervals of motion lie between a place and the border

_SHARES = np.arange(0.1, 1.31, 0.05)
_EXPOSURES = np.minimum(1, _SHARES / WHOLE_SHARE)  # as Path counts them
_BELIEF = np.where(_SHARES < WHOLE_SHARE, 1.0, 6.0)  # in each share, before anything is measured
_SHARP_WIDTHS = (0.06, 0.08, 0.1, 0.13, 0.17, 0.22, 0.28, 0.35)  # of what is not smeared, in frame intervals
_LEAST_SMEARED = 0.3  # part of C that is smeared
_CERTAINTY, _ERROR_FLOOR = 10.0, 0.01  # how fast shares that explain less lose their say

# derivatives: along x and y twice, and along both; along x and along y
_SECOND = tuple(
    np.array(kernel, dtype=np.float32)
    for kernel in ([[1, -2, 1]], [[1], [-2], [1]], [[0.5, 0, -0.5], [0, 0, 0], [-0.5, 0, 0.5]])
)
_FIRST = tuple(np.array(kernel, dtype=np.float32) for kernel in ([[-0.5, 0, 0.5]], [[-0.5], [0], [0.5]]))

_MEMORY = 0.95  # of what was measured up to the frame before
_PACE = 0.25  # share of a change that a frame takes: a video's sharpness does not jump
_DOUBT = 350.0  # with evidence of this weight misfits count half


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What was measured in one frame or several."""

    along: Curve  # C(t) times the weight, at _LAGS_ALONG
    weight: float  # about half the number of the places
    across: Curve  # A(t) at _LAGS_ACROSS, up to a factor

    def with_more(self, other: "Evidence", memory: float) -> "Evidence":
        """Both together: of what is held here, a share is remembered."""
        return Evidence(
            along=memory * self.along + other.along,
            weight=memory * self.weight + other.weight,
            across=memory * self.across + other.across,
        )


class ExposureSearch:
    """Finds the share for the frames of one stream, in order; not thread-safe."""

    def __init__(self) -> None:
        self._evidence: Evidence | None = None
        self._exposure: float | None = None  # of the frame before

    def begin_anew(self) -> None:
        """What follows was recorded by another camera, or at another time."""
        self._evidence = self._exposure = None

    def next(self, frame: Samples, path: Path) -> float:
        """The exposure of the next frame, at most 1, as `Path` wants it.

        Args:
            frame: (h, w, 3) uint8, or float32 in [0, 1].
            path: Of the frame, in px of this size.
        """
        flow = path.velocity()
        if flow is not None:
            found = evidence(frame, flow)
            self._evidence = found if self._evidence is None else self._evidence.with_more(found, _MEMORY)
        told = 1.0 if self._evidence is None else believed_exposure(self._evidence)
        before = told if self._exposure is None else self._exposure
        self._exposure = before + _PACE * (told - before)
        return self._exposure


def counted_share(share_of_interval: float) -> float:
    """What `Path` is given for a known share of the frame interval."""
    return min(1.0, share_of_interval / WHOLE_SHARE)


def evidence(frame: Samples, flow: Flow) -> Evidence:
    """Measure C and A of a frame.

    Args:
        frame: (h, w, 3) uint8, or float32 in [0, 1].
        flow: Its motion, reduced, px of the frame in a frame interval.
    """
    height, width = frame.shape[:2]
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    level = np.asarray(luma, dtype=np.float32) / np.float32(255 if frame.dtype == np.uint8 else 1)
    step = max(1.0, (height * width / _NUM_PLACES) ** 0.5)
    y, x = np.meshgrid(np.arange(step / 2, height, step), np.arange(step / 2, width, step), indexing="ij")
    places = np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)
    to_flow = np.array([flow.shape[1] / width, flow.shape[0] / height], dtype=np.float32)
    motion = _read(flow, (places + 0.5) * to_flow - 0.5)
    speed = np.hypot(motion[:, 0], motion[:, 1])
    found = Evidence(along=np.zeros(len(_LAGS_ALONG)), weight=0.0, across=np.zeros(len(_LAGS_ACROSS)))
    slowest, fastest, scale = _SLOWEST_PX, _OCTAVE_PX, np.float32(1)
    while min(level.shape) >= _LEAST_SIDE_PX and (speed >= slowest).any():
        here = (speed >= slowest) & (speed < fastest)
        if np.count_nonzero(here) >= _FEWEST_PLACES:
            found = found.with_more(_of_level(level, (places[here] + 0.5) / scale - 0.5, motion[here] / scale), 1.0)
        level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.float32)
        slowest, fastest, scale = fastest, 2 * fastest, 2 * scale
    return found


def believed_exposure(found: Evidence) -> float:
    """The exposure that `Path` is given, at most 1: the mean over all shares of what each of them makes of it.

    A share has the more say, the better it explains the evidence; where little was measured, or nothing fits, the say
    that whole intervals have beforehand decides.
    """
    if found.weight <= 0:
        return 1.0
    errors = _misfits(found)
    least = errors.min()
    certainty = _CERTAINTY * found.weight / (found.weight + _DOUBT)
    says = _BELIEF * np.exp(-certainty * (errors - least) / (least + _ERROR_FLOOR))
    return float((says * _EXPOSURES).sum() / says.sum())


def _misfits(found: Evidence) -> Curve:
    """How badly each of _SHARES explains the evidence: the sum of squared errors of C, normalised."""
    measured = found.along / found.weight
    derivative = found.across / max(found.across[0], 1e-9)  # A
    errors = np.empty(len(_SHARES))
    for number, length in enumerate(_SHARES):
        difference = _smeared(derivative, length) - _sharp()
        part = ((measured - _sharp()) * difference).sum(-1) / ((difference**2).sum(-1) + 1e-9)
        made = _sharp() + np.clip(part, _LEAST_SMEARED, 1)[..., None] * difference
        errors[number] = ((measured - made) ** 2).sum(-1).min()
    return errors


def _of_level(luma: Plane, places: Plane, motion: Plane) -> Evidence:
    """What places of one level of the pyramid say; places and motion are (n, 2) px of the level."""
    soft = cv2.GaussianBlur(luma, (0, 0), _SOFTNESS_PX)
    second, first = _filtered(soft, _SECOND), _filtered(soft, _FIRST)
    x, y = (motion / np.maximum(np.hypot(motion[:, :1], motion[:, 1:]), 1e-6)).T
    turned = np.stack([-motion[:, 1], motion[:, 0]], axis=-1)
    bend, slope = np.stack([x * x, y * y, 2 * x * y], axis=-1), np.stack([-y, x], axis=-1)
    along, weight = _correlated(second, bend, places, motion, _LAGS_ALONG, _MARGIN_ALONG)
    across, _ = _correlated(first, slope, places, turned, _LAGS_ACROSS, _MARGIN_ACROSS)
    return Evidence(along=along, weight=weight, across=across)


def _filtered(luma: npt.NDArray[Any], kernels: tuple[Plane, ...]) -> Plane:
    """What each filter makes of a picture, (h, w, filters)."""
    filtered = [np.asarray(cv2.filter2D(luma, -1, kernel), dtype=np.float32) for kernel in kernels]
    return np.asarray(cv2.merge(filtered), dtype=np.float32)


def _correlated(
    derivatives: Plane, form: Plane, places: Plane, steps: Plane, lags: Plane, margin: float
) -> tuple[Curve, float]:
    """How a derivative at places agrees with itself some steps further on.

    Args:
        derivatives: (h, w, D) of the picture.
        form: (n, D): what is multiplied with them at each place and summed.
        places: (n, 2).
        steps: (n, 2); a lag is so many of them.
        lags: What is looked at.
        margin: So many steps lie between a place and the border.

    Returns:
        Sums over the places by lag, and the sum at lag 0. No edge outweighs all others.
    """
    height, width = derivatives.shape[:2]
    reach = margin * np.abs(steps)
    inside = (places - reach > 1).all(1) & (places + reach < np.array([width - 2, height - 2])).all(1)
    if np.count_nonzero(inside) < _FEWEST_PLACES:
        return np.zeros(len(lags)), 0.0
    places, steps, form = places[inside], steps[inside], form[inside]
    here = np.einsum("nd,nd->n", _read(derivatives, places), form)
    strong = np.abs(here) >= np.quantile(np.abs(here), 1 - _MEASURED)
    places, steps, form, here = places[strong], steps[strong], form[strong], here[strong]
    weighed = here / (here**2 + np.mean(here**2) + np.float32(_FAINT**2))
    sums = np.empty(len(lags))
    for number, lag in enumerate(lags):
        there = _read(derivatives, places + lag * steps) + _read(derivatives, places - lag * steps)
        sums[number] = float(np.einsum("n,nd,nd->", weighed, there, form)) / 2
    return sums, float((weighed * here).sum())


def _read(picture: Plane, places: Plane) -> Plane:
    """A picture (h, w, D) at places (n, 2), (n, D)."""
    columns = 256  # cv2.remap takes no side of 32768 or more
    filled = np.zeros((-(-len(places) // columns) * columns, 2), np.float32)
    filled[: len(places)] = places
    border = cv2.BORDER_REFLECT_101
    found = cv2.remap(picture, filled.reshape(-1, columns, 2), None, cv2.INTER_LINEAR, borderMode=border)  # type: ignore[call-overload]
    return np.asarray(found, dtype=np.float32).reshape(len(filled), -1)[: len(places)]


def _smeared(derivative: Curve, length: float) -> Curve:
    """C of a picture whose derivative has an autocorrelation, smeared over a length, normalised, at _LAGS_ALONG."""

    def at(lags: npt.NDArray[np.floating]) -> Curve:
        return np.asarray(np.interp(np.abs(lags), _LAGS_ACROSS, derivative, right=0.0))

    lags = np.concatenate([[0.0], _LAGS_ALONG])
    made = 2 * at(lags) - at(lags - length) - at(lags + length)
    return np.asarray(made[1:] / max(made[0], 1e-6))


@cache
def _sharp() -> Curve:
    """C of what is not smeared, for each width, (widths, lags): white, softened by a Gaussian."""
    ratio = (_LAGS_ALONG[None] / np.array(_SHARP_WIDTHS)[:, None]) ** 2
    return np.asarray((1 - ratio) * np.exp(-ratio / 2))
