"""What G_p is given of windows along the motion: the same samples as G_i's, and what the result lacks."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from concertdeblur.models.path_taps import (
    BESIDE,
    HALF_SMEAR,
    NUM_PLANES,
    NUM_TAPS,
    Path,
    path_in,
    plane_in,
    taps_along,
)
from concertdeblur.models.path_windows import (
    EXPOSURES,
    Along,
    PathViews,
    laid_in_fours,
    path_views,
    views_by_opencv,
    views_by_torch,
)
from concertdeblur.models.prepared import SMEAR_PX

HEIGHT, WIDTH = 192, 256
SIZE = (64, 96)


def _smooth(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray((soft - soft.min()) / (soft.max() - soft.min()), dtype=np.float32)


def _tensor(picture: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def _flow(x: float, y: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    flow = np.zeros((HEIGHT // SMEAR_PX, WIDTH // SMEAR_PX, 2), np.float32)
    flow[..., 0], flow[..., 1] = x, y
    flow[..., 0] += np.linspace(-2, 2, flow.shape[1], dtype=np.float32)  # the motion differs from place to place
    return flow


def _belief() -> torch.Tensor:
    """A belief that grows from nothing at the left to all at the right."""
    return torch.linspace(0, 1, WIDTH // SMEAR_PX).expand(1, 1, HEIGHT // SMEAR_PX, -1).contiguous()


def _along(pictures: list[torch.Tensor | None], path: Path) -> Along:
    def planes(flow: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None) -> torch.Tensor | None:
        return None if flow is None else torch.from_numpy(flow.transpose(2, 0, 1).copy())[None]

    before, result, after = pictures
    velocity = planes(path.velocity())
    assert result is not None
    assert velocity is not None
    return Along(
        result_1CHW=result,
        before_1CHW=before,
        after_1CHW=after,
        smear_12hw=velocity,
        to_before_12hw=planes(path.to_before),
        to_after_12hw=planes(path.to_after),
    )


@pytest.mark.parametrize("look", [views_by_opencv, views_by_torch])
def test_taps_of_windows_are_those_of_the_whole_frame(look: Callable[..., PathViews]) -> None:
    before, frame, after = (_smooth(seed) for seed in range(3))
    path = Path(to_before=_flow(-7, 3), to_after=_flow(6, -2))
    whole = path_in(path, HEIGHT, WIDTH, slice(0, HEIGHT), slice(0, WIDTH))
    expected = taps_along(before, frame, after, whole, believed_within=HALF_SMEAR)
    along = _along([_tensor(some) for some in (before, frame, after)], path)
    at = torch.tensor([[0, 0], [64, 128], [HEIGHT - SIZE[0], WIDTH - SIZE[1]]])
    views = look(along, _tensor(frame), at, SIZE)
    assert views.taps_MTyx.shape == (3, NUM_PLANES, *SIZE)
    for taps, (y, x) in zip(views.taps_MTyx, at.tolist(), strict=True):
        wanted = expected[:, y : y + SIZE[0], x : x + SIZE[1]]
        # cv2 reads between pixels in steps of 1/32 px
        assert np.abs(taps.numpy() - wanted).max() < 0.02
        assert np.abs(taps.numpy() - wanted).mean() < 0.002


def test_pictures_in_fours_are_read_as_others_are() -> None:
    pictures = [_tensor(_smooth(seed)) for seed in range(3)]
    path = Path(to_before=_flow(-7, 3), to_after=_flow(6, -2))
    planar, in_fours = (_along([*some], path) for some in (pictures, [laid_in_fours(one) for one in pictures]))
    assert all(torch.equal(laid_in_fours(one), one) for one in pictures)
    at = torch.tensor([[0, 0], [64, 128], [HEIGHT - SIZE[0], WIDTH - SIZE[1]]])
    one, other = (views_by_opencv(along, _tensor(_smooth(3)), at, SIZE) for along in (planar, in_fours))
    assert torch.equal(one.taps_MTyx, other.taps_MTyx)
    assert torch.equal(one.guess_MGyx, other.guess_MGyx)


@pytest.mark.parametrize("speed_px", [0.0, 3.0, 40.0])
@pytest.mark.parametrize("is_believed", [True, False])
def test_opencv_and_torch_see_the_same(speed_px: float, is_believed: bool) -> None:
    pictures = [_tensor(_smooth(seed)) for seed in range(3)]
    along = _along([*pictures], Path(to_before=_flow(-speed_px, speed_px), to_after=_flow(speed_px, -2)))
    if not is_believed:
        along = replace(along, beliefs=(_belief(), None))
    at = torch.tensor([[0, 0], [64, 128], [HEIGHT - SIZE[0], WIDTH - SIZE[1]], [128, 0]])
    given = (along, _tensor(_smooth(3)), at, SIZE)
    by_opencv, by_torch = views_by_opencv(*given), views_by_torch(*given)
    assert torch.equal(by_opencv.smear_M2hw, by_torch.smear_M2hw)
    # A flow beyond the frame's border is that at the border, or its reflection: a few pixels differ there.
    for one, other in ((by_opencv.taps_MTyx, by_torch.taps_MTyx), (by_opencv.guess_MGyx, by_torch.guess_MGyx)):
        assert (one - other).abs().max() < 0.02
        assert (one - other).abs().mean() < 1e-4


@pytest.mark.parametrize("look", [views_by_opencv, views_by_torch])
def test_a_neighbour_that_is_not_believed_says_nothing(look: Callable[..., PathViews]) -> None:
    pictures = [_tensor(_smooth(seed)) for seed in range(3)]
    along = _along([*pictures], Path(to_before=_flow(-7, 3), to_after=_flow(6, -2)))
    disbelieved = replace(along, beliefs=(torch.zeros(1, 1, HEIGHT // SMEAR_PX, WIDTH // SMEAR_PX), None))
    at = torch.tensor([[64, 128]])
    views, without = (look(some, pictures[1], at, SIZE) for some in (along, disbelieved))
    colours, fewer = (some.taps_MTyx[0, : 3 * NUM_TAPS].view(3, NUM_TAPS, *SIZE) for some in (views, without))
    own = pictures[1][0, :, None, 64 : 64 + SIZE[0], 128 : 128 + SIZE[1]]
    of_before = slice(-2 * len(BESIDE), -len(BESIDE))
    assert (fewer[:, of_before] - own).abs().max() < 1e-4
    assert (colours[:, of_before] - own).abs().max() > 0.1
    assert torch.equal(fewer[:, -len(BESIDE) :], colours[:, -len(BESIDE) :])


@pytest.mark.parametrize("look", [views_by_opencv, views_by_torch])
def test_neighbours_do_not_put_out_a_lamp_that_is_smaller_than_its_smear_is_long(
    look: Callable[..., PathViews],
) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    dark = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    lamp = np.repeat((np.hypot(y - 96, x - 128) < 8)[..., None], 3, 2).astype(np.float32)
    along = _along([_tensor(dark), _tensor(lamp), _tensor(dark)], Path(to_before=_flow(-11, 0), to_after=_flow(11, 0)))
    views = look(along, _tensor(lamp), torch.tensor([[64, 64]]), SIZE)
    colours = views.taps_MTyx[0, : 3 * NUM_TAPS].view(3, NUM_TAPS, *SIZE)
    assert colours[:, -2 * len(BESIDE) :, 96 - 64, 128 - 64].min() > 0.99


def test_a_missing_neighbour_says_nothing() -> None:
    before, frame = _smooth(0), _smooth(1)
    along = _along([_tensor(before), _tensor(frame), None], Path(to_before=_flow(-4, 0), to_after=None))
    views = path_views(along, _tensor(frame), torch.tensor([[32, 64]]), SIZE)
    own = _tensor(frame)[0, :, 32 : 32 + SIZE[0], 64 : 64 + SIZE[1]]
    colours = views.taps_MTyx[0, : 3 * NUM_TAPS].view(3, NUM_TAPS, *SIZE)
    assert torch.allclose(colours[:, -len(BESIDE) :], own[:, None], atol=1e-5)


@pytest.mark.parametrize("exposure", EXPOSURES)
def test_a_true_result_lacks_nothing(exposure: float) -> None:
    """The input is the result blurred along its path, so at that exposure the guess is the result itself."""
    result, path = _smooth(5), Path(to_before=_flow(-10, 4), to_after=_flow(10, -4))
    velocity = path.velocity()
    assert velocity is not None
    steps = plane_in(velocity, HEIGHT, WIDTH, slice(0, HEIGHT), slice(0, WIDTH))
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    shares = (np.arange(64) + 0.5) / 64 - 0.5
    exposed = np.stack(
        [
            cv2.remap(
                result,
                x + np.float32(exposure * s) * steps[..., 0],
                y + np.float32(exposure * s) * steps[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            )
            for s in shares
        ]
    )
    blurred = np.asarray(exposed.mean(axis=0), dtype=np.float32)
    at = torch.tensor([[64, 64]])
    views = path_views(_along([None, _tensor(result), None], path), _tensor(blurred), at, SIZE)
    wanted = _tensor(result)[0, :, 64 : 64 + SIZE[0], 64 : 64 + SIZE[1]]
    errors = [float((guess - wanted).abs().mean()) for guess in torch.split(views.guess_MGyx[0, :9], 3)]
    assert errors[EXPOSURES.index(exposure)] == min(errors)
    assert min(errors) < 0.003
