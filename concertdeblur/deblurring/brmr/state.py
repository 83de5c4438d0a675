"""The state of one call of BRMR, and what the call leaves behind.

The host decides nothing. Masks on the networks' device say which cells are still in the loop, and the host reads what
was done together with the result. Only on a CPU, where reading costs nothing, does the host look at a mask
(`is_known_empty`, `known_places`).

Shape suffixes: N frames, C channels (of a tensor NCHW) or cells (of a tensor NC), H height, W width, h, w map values
(MAP_PX px each).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring.brmr.settings import BrmrSettings
from concertdeblur.deblurring.cam import MAP_PX, Area
from concertdeblur.deblurring.grid import Grid, brmr_grid
from concertdeblur.frame import Medium
from concertdeblur.models.path_windows import Along
from concertdeblur.models.prepared import Plan, Prepared

UNKNOWN, REFUSED = -1, 0  # decisions; 1: kept

# The least mean trust of a cell that is refined along the motion. In a sharp pan, cells of less trust were refined in
# one frame and not in the next: its warping error was 1.05 times that of its input, and is 1.03 times without them.
_LEAST_TRUST = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """Whether the first step of each kind was kept in each cell of N frames.

    Both are (N, C) int8: 1 means kept, 0 refused, -1 not tried.
    """

    consistency_NC: Tensor
    windows_NC: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """What BRMR made of one frame."""

    tried: tuple[Area, ...]  # whole cells for turns and bare steps, then windows
    kept: tuple[Area, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinements:
    """What BRMR made of N frames. It stays on the networks' device until `of_frames` reads it."""

    maps_Nhw: Tensor | None  # H^s - H^b of the results, float64; None if D_i was not asked
    decisions: Decisions  # for the next frames
    num_frames: int
    steps: Tensor  # (steps, 7) int32: frame, y, x, height, width in px, was it tried, was it kept; round by round

    def of_frames(self) -> list[Refinement]:
        """What BRMR made of each frame; the host waits for the device to read it."""
        return read_steps(self.steps, num_frames=self.num_frames)


def read_steps(steps: Tensor | npt.NDArray[np.int32], *, num_frames: int) -> list[Refinement]:
    """What was done to each frame, read from `Refinements.steps`."""
    rows = [(row[0], Area(y=row[1], x=row[2], height=row[3], width=row[4]), row[6]) for row in steps.tolist() if row[5]]
    return [
        Refinement(
            tried=tuple(area for frame, area, _ in rows if frame == n),
            kept=tuple(area for frame, area, is_kept in rows if frame == n and is_kept),
        )
        for n in range(num_frames)
    ]


@dataclass(slots=True)
class State:
    """N frames in the loop. All that the loop decides is a tensor on the networks' device."""

    grid: Grid
    blurred_NCHW: Tensor  # B
    result_NCHW: Tensor  # D, refined in place
    prepared: Prepared
    plan: Plan
    consistent_NCHW: Tensor | None  # G_i's result after a bare step of data consistency; G_p is shown it
    may_turn: bool  # whether a cell may still take a turn
    active_NC: Tensor  # cells that are still in the loop
    repeating_NC: Tensor  # active cells whose next step is a turn, not a window
    open_NCK: Tensor  # windows that may be tried
    budget_N: Tensor  # number of windows that each frame may still try
    most: int  # the largest number of windows of one frame in one round
    previous: Decisions  # on the frames before
    first: Decisions  # on these frames, so far
    along: Along | None = None  # results and path of a video's frame; None where windows are not refined along it
    maps_Nhw: Tensor | None = None  # H^s - H^b of D, as each cell sees it; None if D_i is not asked
    steps: list[Tensor] = field(default_factory=list)

    def end_turns(self) -> None:
        """From now on all cells take windows."""
        self.may_turn = False
        self.repeating_NC = torch.zeros_like(self.repeating_NC)

    def note(self, frame: Tensor, area: tuple[Tensor, ...], tried: Tensor, kept: Tensor) -> None:
        """Write down the frame, the area (y, x, height, width in px) and the outcome of some steps."""
        columns = [frame, *area, tried, kept]
        self.steps.append(torch.stack([column.flatten().int() for column in columns], 1))

    def note_cells(self, tried_NC: Tensor, kept_NC: Tensor) -> None:
        """Write down the outcome of a step in whole cells."""
        frames_NC = torch.arange(len(tried_NC), device=tried_NC.device)[:, None].expand_as(tried_NC)
        areas_NC4 = self.grid.cells_C4.expand(len(tried_NC), -1, -1)
        self.note(frames_NC, areas_NC4.unbind(2), tried_NC, kept_NC)

    def refinements(self) -> Refinements:
        """What the call leaves behind at the end of the loop."""
        none = torch.zeros(0, 7, dtype=torch.int32, device=self.result_NCHW.device)
        return Refinements(
            maps_Nhw=self.maps_Nhw,
            decisions=self.first,
            num_frames=len(self.result_NCHW),
            steps=torch.cat(self.steps) if self.steps else none,
        )


def begun(
    blurred_NCHW: Tensor,
    result_NCHW: Tensor,
    prepared: Prepared,
    plan: Plan,
    *,
    consistent_NCHW: Tensor | None,
    along: Along | None,
    medium: Medium,
    previous: Decisions | None,
    settings: BrmrSettings,
) -> State:
    """The state before the first round: every cell is in the loop, along the motion those that are not near sharp."""
    num, _, height, width = result_NCHW.shape
    device = result_NCHW.device
    grid = brmr_grid(height, width, device)
    shape = num, len(grid.cells)
    budget = settings.most_windows(grid.cells)
    if budget and medium is Medium.PICTURE:
        # no cap: a window for each cell in each round
        budget = len(grid.cells) * settings.max_iterations if settings.picture_windows else 0
    is_known = previous is not None and previous.windows_NC.shape == shape
    every_NC = torch.ones(shape, dtype=torch.bool, device=device)
    return State(
        grid=grid,
        blurred_NCHW=blurred_NCHW,
        result_NCHW=result_NCHW,
        prepared=prepared,
        plan=plan,
        consistent_NCHW=consistent_NCHW,
        along=along,
        may_turn=consistent_NCHW is not None and medium is Medium.PICTURE,
        active_NC=every_NC if along is None else _worth_refining(prepared, grid),
        repeating_NC=~every_NC,
        open_NCK=_open_windows(num, grid, is_along=along is not None),
        budget_N=torch.full((num,), budget, device=device),
        most=min(budget, len(grid.cells)),
        previous=previous if previous is not None and is_known else _no_decisions(shape, device),
        first=_no_decisions(shape, device),
    )


def _open_windows(num: int, grid: Grid, *, is_along: bool) -> Tensor:
    """The windows that may be tried, (N, C, K): all; along the motion those that cover the frame, each once."""
    open_CK = grid.covering_CK if is_along else torch.ones_like(grid.covering_CK)
    return open_CK.repeat(num, 1, 1)


def _worth_refining(prepared: Prepared, grid: Grid) -> Tensor:
    """True for cells of which most of the change is made, (N, C)."""
    trust = F.interpolate(prepared.trust_N1hw.nan_to_num(0), size=(grid.height // MAP_PX, grid.width // MAP_PX))
    return grid.means(trust[:, 0]) >= _LEAST_TRUST


def is_known_empty(mask: Tensor) -> bool:
    """Whether the host knows, without waiting, that no value is True."""
    return _is_on_host(mask) and not bool(mask.any())


def known_places(mask_M: Tensor) -> Tensor | None:
    """The places of the True values; None where the host would have to wait to know them."""
    return torch.from_numpy(mask_M.numpy().nonzero()[0]) if _is_on_host(mask_M) else None


def _is_on_host(tensor: Tensor) -> bool:
    """Whether the host can read the values without waiting."""
    return tensor.device.type == "cpu"


def _no_decisions(shape: tuple[int, int], device: torch.device) -> Decisions:
    consistency_NC, windows_NC = torch.full((2, *shape), UNKNOWN, dtype=torch.int8, device=device)
    return Decisions(consistency_NC=consistency_NC, windows_NC=windows_NC)
