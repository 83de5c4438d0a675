"""Samples along the motion: what they are of a picture that moves in a known way."""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.models.path_taps import (
    ALONG,
    BESIDE,
    NUM_PLANES,
    NUM_TAPS,
    SOFT_PX,
    Path,
    path_in,
    plane_in,
    taps_along,
    taps_of,
)

HEIGHT, WIDTH, EDGE = 120, 160, 24
FloatPicture = npt.NDArray[np.float32]
MIDDLES = [len(ALONG) + len(SOFT_PX) + side * len(BESIDE) + BESIDE.index(0.0) for side in (0, 1)]


def textured(height: int, width: int, *, seed: int = 0, sigma_px: float = 2.0) -> FloatPicture:
    noise = np.random.default_rng(seed).random((height, width, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), sigma_px)
    return np.asarray((soft - soft.min()) / (soft.max() - soft.min()), dtype=np.float32)


def view(x: float, y: float, *, height: int = HEIGHT, width: int = WIDTH, sigma_px: float = 2.0) -> FloatPicture:
    """What a camera sees when the picture before it has moved by (x, y) px."""
    wide = textured(height + 120, width + 120, sigma_px=sigma_px)
    shift = np.array([[1, 0, 60 - x], [0, 1, 60 - y]], np.float64)
    seen = cv2.warpAffine(wide, shift, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(seen, dtype=np.float32)


def steady_flow(x: float, y: float, *, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.float32]:
    flow = np.empty((height // 2, width // 2, 2), np.float32)
    flow[...] = x, y
    return flow


def linear_path(x: float, y: float) -> Path:
    return Path(to_before=steady_flow(-x, -y), to_after=steady_flow(x, y))


def by_tap(taps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(NUM_TAPS, 3, height, width)."""
    return taps[: 3 * NUM_TAPS].reshape(3, NUM_TAPS, *taps.shape[1:]).swapaxes(0, 1)


def inside(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return picture[..., EDGE:-EDGE, EDGE:-EDGE]


def planes(picture: FloatPicture) -> FloatPicture:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


class TestTaps:
    @pytest.mark.parametrize("velocity", [(6.0, -3.0), (0.0, 0.0), (-11.0, 4.0)])
    def test_a_neighbour_shows_the_frame_where_its_content_has_moved_to(self, velocity: tuple[float, float]) -> None:
        x, y = velocity
        before, frame, after = view(-x, -y), view(0, 0), view(x, y)
        taps = by_tap(taps_of(before, frame, after, linear_path(x, y)))
        for middle in MIDDLES:
            assert np.abs(inside(taps[middle]) - inside(planes(frame))).max() < 0.02

    def test_the_mean_over_the_path_of_a_sharp_picture_is_its_blur(self) -> None:
        x, y = 7.0, 4.0
        sharp = view(0, 0, sigma_px=4.0)
        shares = (np.arange(64) + 0.5) / 64 - 0.5
        exposed = [view(share * x, share * y, sigma_px=4.0) for share in shares]
        blurred = planes(np.asarray(np.mean(exposed, axis=0), dtype=np.float32))
        taps = by_tap(taps_of(None, sharp, None, linear_path(x, y)))
        along = {0.0: planes(sharp)} | {share: taps[number] for number, share in enumerate(ALONG)}
        quarter = 0.25  # the trapezoidal rule over the path from -1/2 to 1/2
        mean = sum(quarter * along[share] for share in (-0.25, 0.0, 0.25))
        mean = mean + quarter / 2 * (along[-0.5] + along[0.5])
        left = np.abs(inside(mean) - inside(blurred)).mean()
        assert left < 0.15 * np.abs(inside(planes(sharp)) - inside(blurred)).mean()

    def test_taps_lie_at_their_shares_of_the_path(self) -> None:
        frame = view(0, 0)
        taps = by_tap(taps_of(None, frame, None, linear_path(8, 0)))
        for number, share in enumerate(ALONG):
            assert np.abs(inside(taps[number]) - inside(planes(view(-8 * share, 0)))).max() < 0.02

    def test_soft_taps_are_the_frame_under_a_gaussian(self) -> None:
        frame = view(0, 0)
        taps = by_tap(taps_of(None, frame, None, linear_path(3, 3)))
        for number, sigma_px in enumerate(SOFT_PX, len(ALONG)):
            expected = planes(np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma_px), dtype=np.float32))
            assert np.abs(inside(taps[number]) - inside(expected)).max() < 0.01

    def test_missing_neighbours_say_nothing(self) -> None:
        before, frame, after = view(-6, 0), view(0, 0), view(6, 0)
        own = planes(frame)
        first = len(ALONG) + len(SOFT_PX)
        to_after = Path(to_before=None, to_after=steady_flow(6, 0))
        taps = by_tap(taps_of(None, frame, after, to_after))
        assert all((tap == own).all() for tap in taps[first : first + len(BESIDE)])
        assert (taps[first + len(BESIDE)] != own).any()
        to_before = Path(to_before=steady_flow(-6, 0), to_after=None)
        taps = by_tap(taps_of(before, frame, None, to_before))
        assert all((tap == own).all() for tap in taps[first + len(BESIDE) :])
        taps = by_tap(taps_of(before, frame, after, Path(to_before=None, to_after=None)))
        assert all((tap == own).all() for tap in taps)

    def test_one_neighbour_is_enough_for_the_velocity(self) -> None:
        for path in (
            Path(to_before=steady_flow(-6, 2), to_after=None),
            Path(to_before=None, to_after=steady_flow(6, -2)),
        ):
            velocity = path.velocity()
            assert velocity is not None
            assert np.allclose(velocity, [6, -2])
        assert Path(to_before=None, to_after=None).velocity() is None

    @pytest.mark.parametrize("gaps", [(1, 2), (40, 80), (2, 1), (1, 1), (None, None)])
    def test_the_velocity_counts_the_shorter_gap(self, gaps: tuple[int | None, int | None]) -> None:
        """Content that moves by (3, 1) px in the shorter interval."""
        before, after = gaps
        shorter = min(before or 1, after or 1)
        path = Path(
            to_before=steady_flow(-3 * (before or 1) / shorter, -1 * (before or 1) / shorter),
            to_after=steady_flow(3 * (after or 1) / shorter, 1 * (after or 1) / shorter),
            gaps=gaps,
        )
        velocity = path.velocity()
        assert velocity is not None
        assert np.allclose(velocity, [3, 1], atol=1e-5)

    def test_an_area_is_a_part_of_the_whole(self) -> None:
        before, frame, after = view(-6, 2), view(0, 0), view(6, -2)
        whole = taps_of(before, frame, after, linear_path(6, -2))
        part = taps_of(before, frame, after, linear_path(6, -2), area=(slice(16, 80), slice(32, 112)))
        # cv2 reads between pixels in steps of 1/32 px, which round in another way
        assert np.abs(part - whole[:, 16:80, 32:112]).max() < 0.02

    def test_padding_moves_nothing(self) -> None:
        pictures = view(-6, 2), view(0, 0), view(6, -2)
        path = linear_path(6, -2)
        before, frame, after = (
            np.asarray(cv2.copyMakeBorder(picture, 0, 8, 0, 16, cv2.BORDER_REFLECT_101)) for picture in pictures
        )
        padded = path_in(path, HEIGHT, WIDTH, slice(0, HEIGHT + 8), slice(0, WIDTH + 16))
        taps = taps_along(before, frame, after, padded)
        assert taps.shape == (NUM_PLANES, HEIGHT + 8, WIDTH + 16)
        expected = taps_of(*pictures, path)
        assert np.abs(inside(taps[:, :HEIGHT, :WIDTH]) - inside(expected)).max() < 0.02

    def test_whole_numbers_and_floats_agree(self) -> None:
        levels = [np.asarray(np.rint(255 * some), dtype=np.uint8) for some in (view(-5, 1), view(0, 0), view(5, -1))]
        floats = [np.asarray(some / np.float32(255), dtype=np.float32) for some in levels]
        whole, fraction = (taps_of(some[0], some[1], some[2], linear_path(5, -1)) for some in (levels, floats))
        assert [taps.dtype.name for taps in (whole, fraction)] == ["uint8", "float32"]
        away = np.abs(whole.astype(np.float32) - 255 * fraction)
        first = len(ALONG) + len(SOFT_PX)
        assert by_tap(away)[:first].max() < 2
        # where a neighbour is half believed, a level more or less of it counts several times
        assert np.percentile(away, 99.9) < 2

    @pytest.mark.parametrize("kind", ["uint8", "float32"])
    def test_light_that_a_neighbour_alone_shows_is_not_believed(self, kind: str) -> None:
        frame = view(0, 0) * np.float32(0.5)
        before, after = frame.copy(), frame.copy()
        before[40:60, 50:70] = 1.0  # a lamp
        after[40:60, 50:70] += np.float32(4 / 255)  # a little brighter
        pictures = [
            some if kind == "float32" else np.rint(some * 255).astype(np.uint8) for some in (before, frame, after)
        ]
        full = 1 if kind == "float32" else 255
        taps = by_tap(taps_of(pictures[0], pictures[1], pictures[2], linear_path(0, 0))).astype(np.float32) / full
        of_before, of_after = MIDDLES
        assert np.abs(taps[of_before] - planes(frame)).max() < 1.1 / 255
        assert np.abs(taps[of_after] - planes(after)).max() < 1.1 / 255

    @pytest.mark.parametrize("kind", ["uint8", "float32"])
    def test_neighbours_count_as_far_as_they_are_believed(self, kind: str) -> None:
        before, frame, after = view(-5, 1), view(0, 0), view(5, -1)
        given = [some if kind == "float32" else np.rint(some * 255).astype(np.uint8) for some in (before, frame, after)]
        path = linear_path(5, -1)
        halves = np.zeros((HEIGHT // 2, WIDTH // 2), np.float32)
        halves[:, WIDTH // 4 :] = 0.5  # not at all on the left, by halves on the right
        full = 1 if kind == "float32" else 255
        in_full, by_belief = (
            by_tap(taps_of(given[0], given[1], given[2], some)).astype(np.float32) / full
            for some in (path, replace(path, beliefs=(halves, None)))
        )
        of_before, rest = slice(-2 * len(BESIDE), -len(BESIDE)), slice(-len(BESIDE), None)
        left, right = np.s_[..., :, : WIDTH // 2 - 2], np.s_[..., :, WIDTH // 2 + 2 :]
        own = np.broadcast_to(planes(frame), in_full[of_before].shape)
        assert np.abs(by_belief[of_before] - own)[left].max() < 1.1 / 255
        assert np.abs(by_belief[of_before] - (in_full[of_before] + own) / 2)[right].max() < 1.1 / 255
        assert np.array_equal(by_belief[rest], in_full[rest])
        assert np.array_equal(by_belief[: -2 * len(BESIDE)], in_full[: -2 * len(BESIDE)])

    def test_luma_and_range_are_those_of_the_colours(self) -> None:
        made = taps_of(view(-5, 1), view(0, 0), view(5, -1), linear_path(5, -1))
        red, green, blue, luma = made[: 4 * NUM_TAPS].reshape(4, NUM_TAPS, *made.shape[1:])
        assert np.abs(luma - (0.299 * red + 0.587 * green + 0.114 * blue)).max() < 1e-3
        within = [planes(view(0, 0)), *(by_tap(made)[n] for n, share in enumerate(ALONG) if abs(share) <= 0.5)]
        assert len(within) == 5
        assert np.array_equal(made[-6:], np.concatenate([np.min(within, axis=0), np.max(within, axis=0)]))


def test_a_reduced_flow_lies_on_the_frame_as_a_resized_one() -> None:
    draw = np.random.default_rng(0)
    flow = np.asarray(cv2.GaussianBlur(draw.normal(size=(45, 80, 2)).astype(np.float32), (0, 0), 3), np.float32)
    whole = cv2.resize(flow, (320, 180), interpolation=cv2.INTER_LINEAR)
    part = plane_in(flow, 180, 320, slice(16, 96), slice(48, 208))
    assert np.abs(part - whole[16:96, 48:208]).max() < 0.01
