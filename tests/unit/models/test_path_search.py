"""The search of flow between frames, and between results."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.models.path_search import PathSearch, ResultSearch, believed, reduced_luma

FloatPicture = npt.NDArray[np.float32]
EDGE = 24


def view(x: float, y: float, *, height: int = 120, width: int = 160, sigma_px: float = 2.0) -> FloatPicture:
    """A picture of noise that is moved by (x, y) px."""
    noise = np.random.default_rng(0).random((height + 80, width + 80, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), sigma_px)
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    shift = np.array([[1, 0, x - 40], [0, 1, y - 40]], np.float64)
    return np.asarray(cv2.warpAffine(soft, shift, (width, height), flags=cv2.INTER_CUBIC), dtype=np.float32)


class TestPathSearch:
    @pytest.mark.parametrize("shift", [(4.0, -2.0), (-9.0, 3.5), (0.0, 0.0)])
    @pytest.mark.parametrize("size", [(180, 320), (360, 640)])
    def test_a_known_shift_is_found(self, shift: tuple[float, float], size: tuple[int, int]) -> None:
        height, width = size
        scale = width / 320
        first, second = (
            view(x, y, height=height, width=width, sigma_px=2 * scale)
            for x, y in ((0, 0), (shift[0] * scale, shift[1] * scale))
        )
        found = PathSearch().flows(reduced_luma(first), reduced_luma(second), height, width)
        assert found is not None
        for flow, sign in zip(found, (1, -1), strict=True):
            assert flow.shape == (180, 320, 2)
            there, wanted = flow[20:-20, 30:-30].reshape(-1, 2), sign * np.array(shift) * scale
            assert np.abs(np.median(there, axis=0) - wanted).max() < 0.5
            assert np.percentile(np.abs(there - wanted), 95) < 0.5 * scale

    def test_frames_without_room_for_a_search_have_no_flow(self) -> None:
        tiny = reduced_luma(view(0, 0)[:20, :40])
        assert PathSearch().flows(tiny, tiny, 20, 40) is None
        assert ResultSearch().flows(tiny, tiny, 20, 40) is None

    def test_the_luma_is_reduced_to_one_area_and_never_enlarged(self) -> None:
        large, small = (
            reduced_luma(np.zeros((720, 1280, 3), np.uint8)),
            reduced_luma(np.zeros((90, 100, 3), np.float32)),
        )
        assert [luma.shape for luma in (large, small)] == [(180, 320), (90, 100)]
        assert [luma.dtype.name for luma in (large, small)] == ["uint8", "uint8"]


@pytest.mark.parametrize("search", [PathSearch, ResultSearch])
class TestBothWays:
    @pytest.mark.parametrize("shift", [(4.0, -2.0), (-7.5, 3.0), (0.0, 0.0)])
    def test_a_known_shift_is_found_there_and_back(
        self, search: type[PathSearch | ResultSearch], shift: tuple[float, float]
    ) -> None:
        found = search().flows(reduced_luma(view(0, 0)), reduced_luma(view(*shift)), 240, 320)
        assert found is not None
        for flow, sign in zip(found, (2, -2), strict=True):  # the frame is twice as large as what is searched
            there = flow[EDGE:-EDGE, EDGE:-EDGE].reshape(-1, 2)
            assert np.percentile(np.abs(there - sign * np.array(shift)), 95) < 0.3

    def test_the_way_back_leads_to_where_the_way_there_began(self, search: type[PathSearch | ResultSearch]) -> None:
        """The scene is enlarged, so the flow differs from place to place."""
        first = view(0, 0)
        zoom = np.array([[1.06, 0, -0.06 * 80], [0, 1.06, -0.06 * 60]])
        second = cv2.warpAffine(first, zoom, (160, 120), flags=cv2.INTER_CUBIC)
        found = search().flows(reduced_luma(first), reduced_luma(np.asarray(second)), 120, 160)
        assert found is not None
        there, back = found
        assert np.abs(there).max() > 3
        y, x = np.mgrid[:120, :160].astype(np.float32)
        returned = there + cv2.remap(back, x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR)
        assert np.abs(returned[EDGE:-EDGE, EDGE:-EDGE]).max() < 0.15


class TestBelief:
    SHIFT_PX = 6.0
    LAMP = (slice(70, 90), slice(60, 80))

    def along(self) -> npt.NDArray[np.float32]:
        return np.full((120, 160, 2), (self.SHIFT_PX, 0), np.float32)

    def test_a_neighbour_is_believed_however_both_frames_are_smeared(self) -> None:
        smeared, sharp = (
            reduced_luma(cv2.blur(view(x, 0), (length_px, 1))) for x, length_px in ((0, 9), (self.SHIFT_PX, 1))
        )
        belief = believed(smeared, sharp, self.along(), 120, 160)
        assert belief.shape == (120, 160)
        assert belief[EDGE:-EDGE, EDGE:-EDGE].min() == 1

    def test_no_neighbour_is_believed_where_a_lamp_flashes(self) -> None:
        lit = view(0, 0) * np.float32(0.5)
        dark = view(self.SHIFT_PX, 0) * np.float32(0.5)
        lit[self.LAMP] = 1
        belief = believed(reduced_luma(lit), reduced_luma(dark), self.along(), 120, 160)
        assert belief[self.LAMP].max() == 0
        assert belief[EDGE : 70 - 20, EDGE:-EDGE].min() == 1

    def test_flow_is_counted_in_px_of_the_whole_frame(self) -> None:
        frames = view(0, 0), view(self.SHIFT_PX, 0)
        lumas = [reduced_luma(frame) for frame in frames]
        belief = believed(lumas[0], lumas[1], 4 * self.along(), 480, 640)
        assert belief[EDGE:-EDGE, EDGE:-EDGE].min() == 1
