"""The grid on the networks' device says what cam.py says on the host."""

import numpy as np
import pytest
import torch

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.grid import brmr_grid

_CPU = torch.device("cpu")
_SIZES = [(256, 256), (64, 96), (128, 384), (400, 528), (736, 1280), (144, 672)]


@pytest.mark.parametrize(("height", "width"), _SIZES)
def test_confidences_and_mined_windows_are_those_of_the_host(height: int, width: int) -> None:
    grid = brmr_grid(height, width, _CPU)
    maps = np.random.default_rng(height).standard_normal((3, height // 8, width // 8))
    maps[1] = 0.3  # all windows are equal: the first is mined
    deltas = grid.means(torch.from_numpy(maps)).numpy()
    every = torch.ones_like(grid.covering_CK).repeat(len(maps), 1, 1)
    places, scores = (found.numpy() for found in grid.most_blurred(torch.from_numpy(maps), every))
    for n, map_hw in enumerate(maps):
        for number, cell in enumerate(cam.cells_of(height, width)):
            assert deltas[n, number] == pytest.approx(cam.delta(map_hw, cell), abs=1e-12)
            window, score = cam.most_blurred(map_hw, cell)
            assert tuple(places[n, number]) == (window.y, window.x)
            assert scores[n, number] == pytest.approx(score, abs=1e-12)
            assert grid.window_px == (window.height, window.width)


@pytest.mark.parametrize(("height", "width"), _SIZES)
def test_only_open_windows_are_mined(height: int, width: int) -> None:
    grid = brmr_grid(height, width, _CPU)
    maps = torch.from_numpy(np.random.default_rng(height).standard_normal((1, height // 8, width // 8)))
    places, scores = grid.most_blurred(maps, grid.covering_CK[None])
    for number, cell in enumerate(cam.cells_of(height, width)):
        found = {(window.y, window.x): -0.5 * float(maps[0][window.of_map()].mean()) for window in cell.covering}
        assert scores[0, number].item() == pytest.approx(max(found.values()), abs=1e-12)
        assert found[tuple(places[0, number].tolist())] == pytest.approx(max(found.values()), abs=1e-12)
    _, none = grid.most_blurred(maps, torch.zeros_like(grid.covering_CK)[None])
    assert (none == -torch.inf).all()


@pytest.mark.parametrize(("height", "width"), _SIZES)
@pytest.mark.parametrize("step_px", [32, 256])
def test_the_highest_of_a_cell_is_found_in_steps_that_are_only_begun(height: int, width: int, step_px: int) -> None:
    grid = brmr_grid(height, width, _CPU)
    values = torch.rand(2, -(-height // step_px), -(-width // step_px), generator=torch.Generator().manual_seed(0))
    found = grid.highest(values, step_px)
    for number, cell in enumerate(grid.cells):
        area = cell.area
        rows = slice(area.y // step_px, -(-(area.y + area.height) // step_px))
        columns = slice(area.x // step_px, -(-(area.x + area.width) // step_px))
        expected = values[:, rows, columns].amax((1, 2))
        assert torch.equal(found[:, number], expected)


@pytest.mark.parametrize(("height", "width"), _SIZES)
def test_a_cells_value_covers_its_area_and_fades_into_its_neighbours(height: int, width: int) -> None:
    grid = brmr_grid(height, width, _CPU)
    values = torch.rand(1, len(grid.cells), generator=torch.Generator().manual_seed(0))
    of_map, of_pixels = grid.spread(values)[0], grid.faded(values)[0]
    for number, cell in enumerate(grid.cells):
        assert (of_map[cell.area.of_map()] == values[0, number]).all()
        middle = cell.area.y + cell.area.height // 2, cell.area.x + cell.area.width // 2
        assert of_pixels[middle] == pytest.approx(float(values[0, number]), abs=1e-6)
    assert torch.allclose(grid.faded(torch.ones_like(values)), torch.ones(()), atol=1e-5)
    assert max(float(of_pixels.diff(dim=axis).abs().max()) for axis in (0, 1)) < 1 / 31  # no seam
