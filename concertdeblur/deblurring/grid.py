"""The cells and windows of a frame as tensors, so that mining and judging stay on the networks' device.

`cam.py` defines cells and windows, and searches one map on the host. This module does the same for N maps at once. Sums
are in float64 and in a fixed order, so decisions do not depend on the device.

Shape suffixes: N frames, h, w map values (MAP_PX px each), C cells of the grid (left to right, top to bottom), R rows
and Q columns of cells, K windows of a cell, M areas of one size (y, x: their rows and columns).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.cam import MAP_PX, Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The grid of cells of frames of one size, on one device."""

    height: int
    width: int
    cells: tuple[Cell, ...]
    rows: tuple[slice, ...]  # px of each row of cells
    columns: tuple[slice, ...]
    window_px: tuple[int, int]  # (height, width), the same for all windows
    windows_CK2: Tensor  # (y, x) of each window, px; a cell with fewer windows repeats its first one
    covering_CK: Tensor  # True for the fewest windows that cover their cell
    cells_C4: Tensor  # (y, x, height, width) of each cell, px
    _values_CKn: Tensor  # places in the flattened map of the values of each window
    _cell_hw: Tensor  # number of the cell of each map value
    _in_row_Rh: Tensor  # 1 where a map row lies in a row of cells, float64
    _in_column_Qw: Tensor  # 1 where a map column lies in a column of cells, float64

    def means(self, maps_Nhw: Tensor) -> Tensor:
        """The mean of a map over each cell, (N, C); that of H^s - H^b is the confidence that the cell is sharp."""
        sums_NRQ = self._in_row_Rh @ maps_Nhw.double() @ self._in_column_Qw.T
        return sums_NRQ.flatten(1) / self.num_values_C

    @property
    def num_values_C(self) -> Tensor:
        """Number of map values of each cell, (C,) float64."""
        return (self.cells_C4[:, 2] // MAP_PX * (self.cells_C4[:, 3] // MAP_PX)).double()

    def most_blurred(self, maps_Nhw: Tensor, open_NCK: Tensor) -> tuple[Tensor, Tensor]:
        """The open window of each cell with the highest mean of H^b; of equal ones the first.

        Args:
            maps_Nhw: H^s - H^b.
            open_NCK: True for the windows that may be chosen.

        Returns:
            (y, x) of the window, (N, C, 2) px; and its mean of H^b, (N, C) float64, -inf where no window is open.
        """
        values = maps_Nhw.double().flatten(1)[:, self._values_CKn]
        scores_NCK = (-0.5 * values.mean(-1)).masked_fill(~open_NCK, -torch.inf)
        scores_NC, best_NC = scores_NCK.max(-1)
        return self.windows_CK2[torch.arange(len(self.cells), device=best_NC.device), best_NC], scores_NC

    def highest(self, values_Nhw: Tensor, step_px: int) -> Tensor:
        """The highest value of a block map (`step_px` x `step_px` each) in each cell, (N, C); partial blocks count."""

        def begun(part: slice) -> slice:
            return slice(part.start // step_px, -(-part.stop // step_px))

        rows_NRw = torch.stack([values_Nhw[:, begun(row)].amax(1) for row in self.rows], 1)
        return torch.stack([rows_NRw[:, :, begun(column)].amax(2) for column in self.columns], 2).flatten(1)

    def spread(self, values_NC: Tensor) -> Tensor:
        """A map in which each value is that of its cell, (N, h, w)."""
        return values_NC[:, self._cell_hw]

    def faded(self, values_NC: Tensor) -> Tensor:
        """A picture in which each pixel has the value of its cell; cells fade into each other, (N, height, width)."""
        values_NRQ = values_NC.float().view(-1, len(self.rows), len(self.columns))
        down_RH, across_QW = (cam.cell_shares(length, values_NRQ) for length in (self.height, self.width))
        return down_RH.T @ values_NRQ @ across_QW


@lru_cache(maxsize=8)
def brmr_grid(height: int, width: int, device: torch.device) -> Grid:
    """The grid of frames of one size; its sides are multiples of MAP_PX."""
    cells = cam.cells_of(height, width)
    most = max(len(cell.windows) for cell in cells)
    windows = [[*cell.windows, *[cell.windows[0]] * (most - len(cell.windows))] for cell in cells]
    covering = [[window in cell.covering for window in some] for cell, some in zip(cells, windows, strict=True)]
    rows = tuple(dict.fromkeys((cell.area.y, cell.area.y + cell.area.height) for cell in cells))
    columns = tuple(dict.fromkeys((cell.area.x, cell.area.x + cell.area.width) for cell in cells))
    first = cells[0].windows[0]
    map_width = width // MAP_PX
    inside = torch.arange(first.height // MAP_PX)[:, None] * map_width + torch.arange(first.width // MAP_PX)
    with torch.inference_mode(mode=False):
        windows_CK2 = torch.tensor([[(window.y, window.x) for window in some] for some in windows])
        corner_CK = windows_CK2[..., 0] // MAP_PX * map_width + windows_CK2[..., 1] // MAP_PX
        in_row, in_column = (_membership(parts, length) for parts, length in ((rows, height), (columns, width)))
        cell_hw = in_row.argmax(0)[:, None] * len(columns) + in_column.argmax(0)
        areas = [(cell.area.y, cell.area.x, cell.area.height, cell.area.width) for cell in cells]
        return Grid(
            height=height,
            width=width,
            cells=cells,
            rows=tuple(slice(*part) for part in rows),
            columns=tuple(slice(*part) for part in columns),
            window_px=(first.height, first.width),
            windows_CK2=windows_CK2.to(device),
            covering_CK=torch.tensor(covering, device=device),
            cells_C4=torch.tensor(areas, device=device),
            _values_CKn=(corner_CK[..., None] + inside.flatten()).to(device),
            _cell_hw=cell_hw.to(device),
            _in_row_Rh=in_row.to(device),
            _in_column_Qw=in_column.to(device),
        )


def places(at_M2: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The rows (M, y, 1) and columns (M, 1, x) of M areas of one size, of which `at_M2` has the first ones."""
    rows = at_M2[:, 0, None] + torch.arange(size[0], device=at_M2.device)
    columns = at_M2[:, 1, None] + torch.arange(size[1], device=at_M2.device)
    return rows[:, :, None], columns[:, None, :]


def cut(pictures_NCHW: Tensor, frame_M: Tensor, at_M2: Tensor, size: tuple[int, int]) -> Tensor:
    """Copies of M areas of one size, each of its own frame and within it, (M, C, y, x)."""
    if pictures_NCHW.device.type == "cpu":
        return torch.stack(_views(pictures_NCHW, frame_M, at_M2, size))
    rows, columns = places(at_M2, size)
    return pictures_NCHW.permute(0, 2, 3, 1)[frame_M[:, None, None], rows, columns].permute(0, 3, 1, 2)


def paste(pictures_NCHW: Tensor, frame_M: Tensor, at_M2: Tensor, windows_MCHW: Tensor) -> None:
    """Put M windows of one size into their frames, in place; no two of them may meet."""
    size = windows_MCHW.shape[2], windows_MCHW.shape[3]
    if pictures_NCHW.device.type == "cpu":
        for view, window in zip(_views(pictures_NCHW, frame_M, at_M2, size), windows_MCHW, strict=True):
            view.copy_(window)
        return
    rows, columns = places(at_M2, size)
    pictures_NCHW.permute(0, 2, 3, 1)[frame_M[:, None, None], rows, columns] = windows_MCHW.permute(0, 2, 3, 1)


def _views(pictures_NCHW: Tensor, frame_M: Tensor, at_M2: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """The areas themselves, (C, y, x) each, where the host knows their places without waiting.

    On a CPU it takes a fifth of the time of an index for each pixel.
    """
    return [
        pictures_NCHW[frame, :, y : y + size[0], x : x + size[1]]
        for frame, (y, x) in zip(frame_M.numpy().tolist(), at_M2.numpy().tolist(), strict=True)
    ]


def _membership(parts: tuple[tuple[int, int], ...], length: int) -> Tensor:
    """1 where a map row (or column) lies in a part of the frame, (parts, length / MAP_PX), float64."""
    position = MAP_PX * torch.arange(length // MAP_PX)
    return torch.stack([(position >= start) & (position < stop) for start, stop in parts]).double()
