"""Motion between frames, one velocity for each cell, and what it says about their blur."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from concertdeblur.blur.velocities import VelocitySettings, velocity
from concertdeblur.deblurring import motion
from concertdeblur.deblurring.motion import MotionSearch, cell_velocities
from concertdeblur.models.concert import BlurAnalysis
from concertdeblur.models.kernel_bank import NOISE_TO_SIGNAL, kernel_bank
from concertdeblur.models.motion_prior import MotionPrior
from tests.pictures import photograph

Picture = npt.NDArray[np.uint8]
ALWAYS_KNOWN = VelocitySettings(unknown_share=0)


def moved(right: int, down: int) -> tuple[Picture, Picture]:
    """Two views of a photograph: what the second one shows has moved by so many px."""
    wide = photograph(360, 460)
    return wide[40:320, 40:420], np.ascontiguousarray(wide[40 - down : 320 - down, 40 - right : 420 - right])


class TestCellVelocities:
    """Found in frames."""

    @pytest.mark.parametrize("reduced_to", [10**9, 200 * 140])
    def test_a_pan_is_found_in_every_cell(self, reduced_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(motion, "_FLOW_AREA_PX", reduced_to)
        search = MotionSearch()
        first, second = moved(7, -4)
        assert search.next(first) is None
        found = search.next(second)
        assert found is not None
        made = cell_velocities(found, 280, 380, 256)
        assert made.shape == (2, 2, 3)
        assert made[..., 2].min() == 1
        assert np.abs(made[..., :2] - [7, -4]).max() < 0.5

    def test_cells_that_move_by_themselves_have_velocities_of_their_own(self) -> None:
        still, (first, second) = photograph(280, 256), moved(6, 0)
        search = MotionSearch()
        search.next(np.hstack([still, first[:, :256]]))
        found = search.next(np.hstack([still, second[:, :256]]))
        assert found is not None
        made = cell_velocities(found, 280, 512, 256)
        assert np.abs(made[0, 0, :2]).max() < 0.5
        assert np.abs(made[0, 1, :2] - [6, 0]).max() < 0.7

    def test_nothing_is_known_of_a_cut_a_new_size_or_a_tiny_frame(self) -> None:
        search = MotionSearch()
        first, _ = moved(0, 0)
        search.next(first)
        assert search.next(np.ascontiguousarray(255 - first[::-1, ::-1])) is None
        assert search.next(first[:100]) is None
        search.next(first[:20, :20])
        assert search.next(first[:20, :20]) is None

    def test_a_new_size_of_the_same_shape_is_another_scene(self) -> None:
        """Both are searched at 640x360."""
        search, frame = MotionSearch(), np.zeros((720, 1280, 3), np.uint8)
        search.next(frame)
        assert search.next(np.zeros((1080, 1920, 3), np.uint8)) is None


class TestMotionPrior:
    """What velocities add to the filters' logits."""

    def learned(self) -> MotionPrior:
        torch.manual_seed(0)
        prior = MotionPrior(16)
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return prior

    def test_untrained_it_says_nothing(self) -> None:
        torch.manual_seed(0)
        analysis, described = BlurAnalysis(16), torch.randn(3, 2, 64, 33)
        velocities = torch.tensor([[5.0, 2, 1], [0, 0, 1], [0, 0, 0]])
        blind, told = analysis(described), analysis(described, velocities)
        assert torch.equal(blind.filter_logits_MK, told.filter_logits_MK)

    def test_unknown_motion_changes_nothing(self) -> None:
        bonus_MK, factor_M1 = self.learned()(torch.tensor([[9.0, -3, 0]]), torch.randn(1, 16))
        assert not bonus_MK.any()
        assert factor_M1.item() == 1

    def test_there_and_back_are_the_same(self) -> None:
        embedding = torch.randn(1, 16).expand(2, 16)
        bonus_MK, _ = self.learned()(torch.tensor([[9.0, -3, 1], [-9.0, 3, 1]]), embedding)
        assert bonus_MK.any()
        assert torch.allclose(bonus_MK[0], bonus_MK[1], atol=1e-4)

    def test_a_turned_velocity_means_a_turned_line(self) -> None:
        """Right and up by as much is at 45 degrees; down, at 135: the bank's lines change places."""
        embedding = torch.randn(1, 16).expand(2, 16)
        bonus_MK, _ = self.learned()(torch.tensor([[6.0, -6, 1], [6.0, 6, 1]]), embedding)
        by_kernel = bonus_MK.view(2, -1, len(NOISE_TO_SIGNAL))
        lines = [(kernel.angle_deg, kernel.size) for kernel in kernel_bank()]
        one, other = lines.index((45, 8)), lines.index((135, 8))
        assert torch.allclose(by_kernel[0, one], by_kernel[1, other], atol=1e-4)
        assert not torch.allclose(by_kernel[0, one], by_kernel[0, other], atol=1e-2)


class TestDrawnVelocities:
    """What training tells in place of a motion search."""

    def test_lie_along_the_blur_and_are_no_shorter(self) -> None:
        made = np.array([velocity((6.0, -3.0), np.random.default_rng(n), ALWAYS_KNOWN) for n in range(200)])
        speed = np.hypot(made[:, 0], made[:, 1])
        along = np.abs(made[:, 0] * 6 - made[:, 1] * 3) / (speed * np.hypot(6, 3))
        assert made[:, 2].all()
        assert np.median(along) > 0.98
        assert np.median(speed) > 1.5 * np.hypot(6, 3)
        assert (speed > 0.5 * np.hypot(6, 3)).all()

    def test_what_did_not_move_over_its_exposure_may_have_any_velocity(self) -> None:
        for moved_px in (None, (0.0, 0.0)):
            made = np.array([velocity(moved_px, np.random.default_rng(n), ALWAYS_KNOWN) for n in range(200)])
            speed = np.hypot(made[:, 0], made[:, 1])
            assert 0.2 < (speed < 0.8).mean() < 0.6
            assert speed.max() > 20

    def test_half_of_them_are_not_known(self) -> None:
        made = np.array([velocity((6.0, 0.0), np.random.default_rng(n)) for n in range(200)])
        assert 70 < made[:, 2].sum() < 130
        assert not made[made[:, 2] == 0].any()
