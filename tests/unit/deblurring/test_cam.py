"""Heatmaps, the grid of cells, and mining."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concertdeblur.deblurring import cam
from concertdeblur.models.discriminator import ConcertDiscriminator, PaperDiscriminator

SIDES = st.integers(1, 200).map(lambda cells: 8 * cells)


@settings(deadline=None)
@given(SIDES, SIDES)
def test_cells_tile_the_frame_and_windows_cover_their_cell(height: int, width: int) -> None:
    covered = np.zeros((height // 8, width // 8), int)
    for cell in cam.cells_of(height, width):
        covered[cell.area.of_map()] += 1
        searched = np.zeros_like(covered)
        for window in cell.windows:
            searched[window.of_map()] = 1
            assert window.within(cell.area) == window
        assert (searched[cell.area.of_map()] == 1).all()
        searched[:] = 0
        for window in cell.covering:
            searched[window.of_map()] = 1
            assert window in cell.windows
        assert (searched[cell.area.of_map()] == 1).all()
        assert len(cell.covering) == -(-cell.area.height // 128) * -(-cell.area.width // 128)
    assert (covered == 1).all()


def test_a_picture_of_the_papers_size_is_one_cell_with_nine_windows() -> None:
    (cell,) = cam.cells_of(256, 256)
    assert [(w.y, w.x) for w in cell.windows] == [(y, x) for y in (0, 64, 128) for x in (0, 64, 128)]
    assert {(w.height, w.width) for w in cell.windows} == {(128, 128)}


@pytest.mark.parametrize(("y", "x"), [(0, 0), (64, 128), (128, 64)])
def test_the_blurred_window_is_mined(y: int, x: int) -> None:
    map_hw = np.ones((32, 32))
    map_hw[y // 8 : y // 8 + 16, x // 8 : x // 8 + 16] = -1
    window, score = cam.most_blurred(map_hw, cam.cells_of(256, 256)[0])
    assert (window.y, window.x) == (y, x)
    assert score == 0.5


def test_the_first_of_equal_windows_is_mined() -> None:
    window, _ = cam.most_blurred(np.zeros((32, 32)), cam.cells_of(256, 256)[0])
    assert (window.y, window.x) == (0, 0)


def test_heatmap_is_high_where_it_is_blurred() -> None:
    map_hw = np.full((4, 6), 3.0)
    map_hw[:, 3:] = -3
    heatmap = cam.blur_heatmap(map_hw, 30, 45)
    assert heatmap.shape == (30, 45)
    assert heatmap[:, :16].max() < 0.1
    assert heatmap[:, 32:].min() > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_heat_overlay_keeps_shape_and_type_and_shows_red_where_blurred(dtype: Any) -> None:
    full = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels: Any = np.full((8, 16, 3), full // 2 if full > 1 else 0.5, dtype)
    heatmap = np.zeros((8, 16), np.float32)
    heatmap[:, 8:] = 1
    shown = cam.heat_overlay(pixels, heatmap)
    assert (shown.shape, shown.dtype) == (pixels.shape, pixels.dtype)
    assert shown[0, 12, 0] > shown[0, 12, 2]  # red over blue where blurred
    assert shown[0, 4, 0] < shown[0, 12, 0]


def test_delta_is_the_mean_of_the_map_which_is_the_discriminators_logit() -> None:
    """Pooling features then classifying is the same as averaging the class activation map (Zhou et al. 2016)."""
    torch.manual_seed(0)
    network = ConcertDiscriminator(8)
    given, shown = torch.rand(2, 1, 3, 256, 256)
    features = network.layers(torch.cat([given, shown], 1))
    pooled = features.mean((2, 3))
    logit = pooled @ network.head.weights.weight[0, :, 0, 0] + network.head.weights.bias
    map_hw = network(given, shown)[0].detach().double().numpy()
    assert cam.delta(map_hw, cam.cells_of(256, 256)[0]) == pytest.approx(logit.item(), abs=1e-5)


def test_the_fast_discriminators_map_looks_no_further_than_its_margin() -> None:
    torch.manual_seed(0)
    network = ConcertDiscriminator(8)
    given = torch.rand(1, 3, 128, 128)
    changed = given.clone()
    changed[:, :, 64:72, 64:72] += 0.5
    difference = (network(given, given) - network(given, changed)).abs()[0] > 0
    touched = np.argwhere(np.asarray(difference))
    margin = ConcertDiscriminator.receptive_margin_px
    assert margin is not None
    assert touched.min() * 8 >= 64 - margin
    assert (touched.max() + 1) * 8 <= 72 + margin


def test_the_papers_discriminator_gives_31_by_31_at_256() -> None:
    pictures = torch.rand(1, 3, 256, 256)
    assert PaperDiscriminator(4)(pictures, pictures).shape == (1, 31, 31)


def test_sides_must_be_multiples_of_the_map() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        cam.cells_of(100, 256)


def test_an_area_is_enlarged_with_its_picture() -> None:
    """Half of 721x1281 px, rounded up, is 361x641; the last window reaches beyond that."""
    assert cam.Area(y=128, x=0, height=128, width=128).enlarged((361, 641), (721, 1281)) == cam.Area(
        y=256, x=0, height=255, width=256
    )
    assert cam.Area(y=256, x=512, height=128, width=144).enlarged((361, 641), (721, 1281)) == cam.Area(
        y=511, x=1023, height=210, width=258
    )
