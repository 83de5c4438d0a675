"""Kernels are told from the fine structure of the spectrum, without training."""

import pytest
import torch

from concertdeblur.blur.kernels import Kernel, Picture, blur, box_side_px, line_length_px
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.kernel_bank import TransferFunction, kernel_bank
from concertdeblur.models.kernel_signatures import KernelSignatures
from concertdeblur.models.spectrum import SpectrumDescriptor
from concertdeblur.training.data.samples import motion_blurred, to_tensor
from tests.pictures import photograph


def described(picture: Picture) -> torch.Tensor:
    cells: torch.Tensor = SpectrumDescriptor()(to_tensor(picture[None]), BLUR_CELL_PX)
    return cells[:, 0, 0]


def most_alike(picture: Picture) -> TransferFunction:
    """The kernel that both channels together are most like."""
    likeness_MCK = KernelSignatures(8).likeness(described(picture))
    return kernel_bank()[int(likeness_MCK.sum(1).argmax())]


@pytest.mark.parametrize("level", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("kernel", [Kernel.HORIZONTAL, Kernel.VERTICAL, Kernel.AVERAGING])
def test_lines_and_boxes_are_most_like_themselves(kernel: Kernel, level: float) -> None:
    size = box_side_px(level) if kernel is Kernel.AVERAGING else line_length_px(level)
    found = most_alike(blur(photograph(256, 256), kernel, level))
    assert found.name == kernel.value
    assert found.size == pytest.approx(size, abs=1)


def test_a_line_at_an_angle_is_most_like_one_of_that_angle() -> None:
    found = most_alike(motion_blurred(photograph(256, 256), 45, 11))
    assert found.angle_deg == 45
    assert found.size == 11


def test_untrained_they_add_nothing() -> None:
    assert not KernelSignatures(8)(described(photograph(256, 256))).any()


def test_a_flat_cell_is_like_nothing() -> None:
    flat = torch.full((1, 2, 64, 33), -1.0)
    assert not KernelSignatures(8).likeness(flat).any()
