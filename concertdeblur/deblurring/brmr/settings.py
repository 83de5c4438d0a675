"""Limits and margins of BRMR; a weight set's manifest and a recipe hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from concertdeblur.deblurring.cam import Cell


def with_present_names(table: dict[str, Any]) -> dict[str, Any]:
    """A manifest or recipe in which what version 0.1 called `windows_per_cell` is `refine_share`, a quarter of it."""
    brmr = table.get("brmr")
    if not isinstance(brmr, dict) or not isinstance(brmr.get("windows_per_cell"), int | float):
        return table
    others = {name: value for name, value in brmr.items() if name != "windows_per_cell"}
    return {**table, "brmr": {"refine_share": brmr["windows_per_cell"] / 4, **others}}


@dataclass(frozen=True, kw_only=True, slots=True)
class BrmrSettings:
    """Limits and margins of BRMR. Margins are growth of D_i's confidence delta that a step must bring to be kept."""

    max_iterations: int = 5  # rounds of the loop; along the motion a round for each window that covers a cell, or none
    consistency_rounds: int = 1  # the first so many rounds may take turns; a video takes none
    refine_share: float = 0.25  # a frame of a video tries at most so many of the windows that cover it; 0: no windows
    picture_windows: bool = True  # whether pictures take windows, too
    feather_px: int = 16  # width of the border over which a refined window fades in; 0 is the paper's hard paste
    video_feather_px: int = 8  # as `feather_px`, for a window that is refined along the motion
    hysteresis: float = 0.02  # added to the margin where the frame before refused its step; not along the motion
    window_margin: float = 0.0  # margin of a window
    video_window_margin: float = 0.0  # margin of a window that is refined along the motion, by other networks
    consistency_margin: float = (
        0.0  # margin of a first turn; below 0: D_i refuses only where its confidence falls by more
    )
    video_max_shift: float = 16 / 255  # as `max_shift`, for a video, in which blur reaches further
    max_shift: float = 2 / 255  # a step that moves the mean of a 32-px square by more is not kept

    def __post_init__(self) -> None:
        if min(self.max_iterations, self.refine_share, self.feather_px, self.video_feather_px) < 0:
            raise ValueError("max_iterations, refine_share and the feathers must not be negative")
        if self.consistency_rounds < 1:
            raise ValueError("consistency_rounds must be 1 at least")

    def most_windows(self, cells: Sequence[Cell]) -> int:
        """The largest number of windows that a frame of a video may try."""
        most = self.refine_share * sum(len(cell.covering) for cell in cells)
        return max(1, int(most)) if most else 0
