"""How far refining goes: the part of a weight set's manifest that belongs to BRMR."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BrmrSettings:
    """How far refining goes; growth is that of D_i's confidence delta."""

    max_iterations: int = 5  # rounds
    consistency_rounds: int = 1  # of those, how many may be turns; a video has none
    windows_per_cell: float = 1.0  # a frame of a video may try so many times its cells; 0: no windows in any medium
    feather_px: int = 16  # a refined window fades in over its border; 0 is the paper's hard paste
    hysteresis: float = 0.02  # delta must grow by this much where the previous frame's step was not kept
    window_margin: float = 0.0  # and by this much for any window: steps that hardly show are as often wrong as right
    video_window_margin: float = 0.0  # the same for a window of a video, by that G_p and D_i
    consistency_margin: float = 0.0  # and by this much for a first turn; below 0: D_i only has a veto
    max_shift: float = 2 / 255  # a step that moves the mean of a 32-px square further is not kept

    def __post_init__(self) -> None:
        if self.max_iterations < 0 or self.windows_per_cell < 0 or self.feather_px < 0:
            raise ValueError("max_iterations, windows_per_cell and feather_px must not be negative")
        if self.consistency_rounds < 1:
            raise ValueError("consistency_rounds must be 1 at least")

    def most_windows(self, num_cells: int) -> int:
        """How many windows a frame of a video may try."""
        most = self.windows_per_cell * num_cells
        return max(1, int(most)) if most else 0
