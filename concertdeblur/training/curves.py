"""Learning curves: lines of JSON always, TensorBoard where it is installed."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from concertdeblur.settings import parse_json
from concertdeblur.training.report import Report

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_HELD_OUT = "held-out "  # before the names of figures on held-out pictures


class Curves:
    """Writes the reports of stages: a curve for each stage and figure, which continues after a resume.

    Args:
        folder: `curves.jsonl` goes here, and the folder `tensorboard`.
        is_writing: False if another process writes.
        on_warning: Told once if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, is_writing: bool = True, on_warning: Callable[[str], None]) -> None:
        self._is_writing = is_writing
        self._path = folder / "curves.jsonl"
        self._boards_folder = folder / "tensorboard"
        self._boards: dict[str, SummaryWriter] = {}
        self._has_tensorboard = find_spec("tensorboard") is not None
        if is_writing and not self._has_tensorboard and not self._path.exists():
            missing = "TensorBoard is not installed ('concertdeblur[training]')"
            on_warning(f"{missing}; the curves are lines of JSON in {self._path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, stage: str, step: int) -> None:
        """Begin or resume a stage at a step; what a killed run wrote beyond that step is dropped."""
        if not self._is_writing:
            return
        if self._path.exists():
            kept = [row for row in self._rows() if row["stage"] != stage or row["step"] <= step]
            part = self._path.with_suffix(".part")
            part.write_text("".join(f"{json.dumps(row)}\n" for row in kept), encoding="utf-8")
            part.replace(self._path)
        if self._has_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._boards[stage] = SummaryWriter(str(self._boards_folder / stage), purge_step=step + 1)

    def add(self, report: Report) -> None:
        """Add the figures of a report."""
        if not self._is_writing:
            return
        held_out = {f"{_HELD_OUT}{name}": value for name, value in report.held_out.items()}
        figures = {"objective": report.objective, **report.figures, **held_out}
        row = {"stage": report.stage, "step": report.step, "elapsed_s": round(report.elapsed_s, 1), **figures}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        board = self._boards.get(report.stage)
        if board is not None:
            for name, value in figures.items():
                board.add_scalar(name, value, report.step)

    def last_held_out(self, stage: str) -> dict[str, float]:
        """The figures of a stage's last evaluation, in this call or an earlier one; empty if there was none."""
        for figures in reversed(self._rows() if self._path.exists() else []):
            held_out = {name.removeprefix(_HELD_OUT): v for name, v in figures.items() if name.startswith(_HELD_OUT)}
            if figures["stage"] == stage and held_out and all(isinstance(v, int | float) for v in held_out.values()):
                return held_out
        return {}

    def _rows(self) -> list[dict[str, Any]]:
        """The reports so far; lines that are none are left out: a killed run leaves half a line."""
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [row for line in lines if (row := _report(line)) is not None]

    def close(self) -> None:
        """Write the figures that TensorBoard still buffers."""
        for board in self._boards.values():
            board.close()


def _report(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    is_report = isinstance(row, dict) and isinstance(row.get("stage"), str) and isinstance(row.get("step"), int)
    return row if is_report else None
