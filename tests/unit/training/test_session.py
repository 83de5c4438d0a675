"""One call of `train` around its stages: what it tells, when it stops, which windows it mines again."""

import json
import re
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from concertdeblur.errors import Interrupted
from concertdeblur.pipelines.train import TrainSummary
from concertdeblur.progress import StageProgress
from concertdeblur.training.curves import Curves
from concertdeblur.training.distributed import World
from concertdeblur.training.mining import mined_windows
from concertdeblur.training.narration import Narrator, mean_gain_db
from concertdeblur.training.report import Report
from concertdeblur.training.session import Session
from concertdeblur.training.window_store import MinedParts
from tests.unit.training.test_stage import Line, Points, points


class Igan(Line):
    """The line under a name that is shown."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = "igan"

    def evaluate(self) -> dict[str, float]:
        return {"gaussian": 3.0, "median": 1.0, "sharp": 50.0}


@dataclass(frozen=True, kw_only=True)
class Windows:
    values: Tensor


class Told:
    """A session, and what it told."""

    def __init__(self, out: Path, *, seconds: float = 1e6) -> None:
        self.progress: list[StageProgress] = []
        self.warnings: list[str] = []
        stop = threading.Event()
        self.session = Session(
            out=out,
            device=torch.device("cpu"),
            world=World(),
            until_s=time.monotonic() + seconds,
            stop=stop,
            narrator=Narrator(on_progress=self.progress.append, on_warning=self.warnings.append, stop=stop),
        )

    def run(self, stage: Line) -> bool:
        return self.session.run(stage, points, lambda batch, _: batch)


def test_a_stage_is_run_and_told(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.session.narrator.curves = Curves(tmp_path, on_warning=lambda _: None)
    assert told.run(Igan(tmp_path))
    last = told.progress[-1]
    assert (last.stage, last.done, last.total, last.begun_at) == ("train iGAN", 12, 12, 0)
    assert last.facts["held-out gain"] == "+2.00 dB"
    row = json.loads((tmp_path / "curves.jsonl").read_text().splitlines()[-1])
    assert last.facts["loss"] == row["objective"] == row["l1"]
    assert row["rival"] > 0  # a figure of the step, which is no part of its objective
    assert str(last.facts["waiting for data"]).endswith(" %")
    assert told.session.narrator.held_out["sharp"] == 50
    assert told.session.done_stage == "igan"
    told = Told(tmp_path)
    assert told.run(Igan(tmp_path))  # done already: nothing to tell
    assert told.progress == []


@pytest.mark.parametrize(
    ("held_out", "told"),
    [
        (
            {"windows": 0.2, "windows, kept": 0.5, "rendered windows": -0.1, "rendered windows, kept": 0.25},
            {"gain in windows": "+0.20 dB", "gain in rendered windows": "-0.10 dB", "kept": "50 %"},
        ),
        (
            {"rendered windows": -0.1, "rendered windows, kept": 0.25},
            {"gain in rendered windows": "-0.10 dB", "kept": "25 %"},
        ),
    ],
)
def test_gains_in_filmed_and_rendered_windows_are_told(held_out: dict[str, float], told: dict[str, str]) -> None:
    progress: list[StageProgress] = []
    narrator = Narrator(on_progress=progress.append, on_warning=lambda _: None, stop=threading.Event())
    report = Report(
        stage="video-pgan", step=1, steps=2, objective=1.0, figures={}, held_out=held_out, elapsed_s=1.0, waited_s=0.0
    )
    narrator.begin("video-pgan", 0)
    narrator.report(report, waited_s=0.0)
    assert told.items() <= progress[0].facts.items()
    narrator.report(replace(report, held_out={}), waited_s=0.0)
    assert told.items() <= progress[1].facts.items()  # until the next evaluation


@pytest.mark.parametrize(
    ("stage", "unit", "told"),
    [
        ("guess blur", "frames", "stopped after 900 of 6000 frames; the same command goes on"),
        ("read clips", "clips", "stopped after 900 of 6000 clips; the same command goes on, but this part begins anew"),
    ],
)
def test_a_stop_says_whether_what_is_done_is_kept(stage: str, unit: str, told: str) -> None:
    progress: list[StageProgress] = []
    stop = threading.Event()
    tell = Narrator(on_progress=progress.append, on_warning=lambda _: None, stop=stop).counted(stage, unit)
    for done in (800, 801):
        tell(done, 6000)
    assert [one.begun_at for one in progress] == [800 if unit == "frames" else 0] * 2
    stop.set()
    with pytest.raises(Interrupted, match=f"^{told}$"):
        tell(900, 6000)


def test_time_that_is_up_is_no_error(tmp_path: Path) -> None:
    told = Told(tmp_path, seconds=0)
    assert not told.run(Igan(tmp_path))
    assert told.session.stands_at == "step 0 of 12 of iGAN"


def test_a_stop_is_an_interruption_that_says_how_to_go_on(tmp_path: Path) -> None:
    told = Told(tmp_path)

    def batches(step: int) -> Points:
        if step == 4:
            told.session.stop.set()
        return points(step)

    with pytest.raises(Interrupted, match=r"of 12 of iGAN, saved in .*; the same command goes on") as stopped:
        told.session.run(Igan(tmp_path), batches, lambda batch, _: batch)
    # batches are made ahead, so the step after which it stops is not known to the number
    step = re.search(r"stopped after step (\d+)", str(stopped.value))
    assert step is not None
    told = Told(tmp_path)
    assert told.run(Igan(tmp_path))
    assert told.progress[-1].begun_at == int(step[1]) <= 5


def test_windows_are_mined_once_and_again_for_another_igan(tmp_path: Path) -> None:
    mined: list[int] = []

    def mine(step: int) -> Windows:
        assert step == 0
        mined.append(1)
        return Windows(values=torch.full((2,), float(len(mined))))

    def values(told: Told, step: int) -> list[float]:
        windows = mined_windows(told.session, Windows, {"igan_step": step}, mine, num_pictures=3, batch_size=4)
        assert windows is not None
        values: list[float] = windows.values.tolist()
        return values

    told = Told(tmp_path)
    assert values(told, 3) == [1, 1]
    assert values(told, 3) == [1, 1]
    assert (len(mined), told.warnings, told.session.done_stage) == (1, [], "mining")
    (tmp_path / "pgan.safetensors").write_bytes(b"")
    assert values(told, 9) == [2, 2]
    assert len(told.warnings) == 1
    assert "earlier iGAN" in told.warnings[0]


def mined(told: Told, steps: list[int], *, stop_at: int = -1, igan_step: int = 1) -> Windows | None:
    """Five pictures, two a batch; the last step that is mined may be given."""

    def mine(step: int) -> Windows:
        steps.append(step)
        if step == stop_at:
            told.session.stop.set()
        return Windows(values=torch.tensor([2.0 * step, 2.0 * step + 1]))

    return mined_windows(told.session, Windows, {"igan_step": igan_step}, mine, num_pictures=5, batch_size=2)


def test_stopped_mining_goes_on_where_it_was(tmp_path: Path) -> None:
    steps: list[int] = []
    with pytest.raises(Interrupted, match=r"stopped after 4 of 5 pictures of mining, saved in .*the same command goes"):
        mined(Told(tmp_path), steps, stop_at=1)
    told = Told(tmp_path, seconds=0)
    assert mined(told, steps) is None
    assert told.session.stands_at == "4 of 5 pictures of mining"
    assert steps == [0, 1]
    told = Told(tmp_path)
    windows = mined(told, steps)
    assert windows is not None
    assert windows.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert steps == [0, 1, 2]
    assert (told.progress[-1].begun_at, told.progress[-1].done) == (4, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mining.safetensors"]


def test_killed_mining_goes_on_from_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concertdeblur.training.window_store._SAVE_EVERY_S", 0)
    parts = MinedParts(tmp_path / "mining", Windows, {"igan_step": 1})
    for step in range(2):
        parts.add(Windows(values=torch.tensor([2.0 * step, 2.0 * step + 1])))
    (tmp_path / "mining" / "0000002-0000003.part").write_bytes(b"half")  # it was being written
    steps: list[int] = []
    windows = mined(Told(tmp_path), steps)
    assert windows is not None
    assert windows.values.tolist() == [0, 1, 2, 3, 4, 5]
    assert steps == [2]


def test_parts_of_another_igan_are_mined_anew(tmp_path: Path) -> None:
    steps: list[int] = []
    with pytest.raises(Interrupted):
        mined(Told(tmp_path), steps, stop_at=1)
    assert mined(Told(tmp_path), steps, igan_step=2) is not None
    assert steps == [0, 1, 0, 1, 2]


@pytest.mark.parametrize(
    ("weights", "is_stage_done", "first"),
    [
        (Path("out/weights"), False, "The weight set is written: out/weights"),
        (None, False, "Stopped after step 3 of 9 of iGAN, saved in out; the same command goes on."),
        (None, True, "Stopped after step 3 of 9 of iGAN, saved in out; without --stage the run goes on."),
    ],
)
def test_the_summary_says_what_is_next(weights: Path | None, is_stage_done: bool, first: str) -> None:
    text = TrainSummary(
        recipe="tiny", out=Path("out"), weights=weights, stands_at="step 3 of 9 of iGAN", is_stage_done=is_stage_done,
        num_pictures=5, num_pairs=0, held_out={"gaussian": 2.0, "sharp": 44.0}, elapsed_s=100, waited_share=0.25,
    ).text()  # fmt: skip
    lines = text.splitlines()
    assert lines[0] == first
    assert ("  use it      concertdeblur video --weights out/weights IN OUT" in lines) is (weights is not None)
    assert "  held-out    +2.00 dB, mean over the seven kernels at level 0.5, iGAN alone" in lines
    assert "  time        1.7 min; 25 % of the training was waiting for data" in lines


def test_the_mean_gain_is_over_kernels_alone() -> None:
    assert mean_gain_db({"gaussian": 1.0, "median": 2.0, "sharp": 60.0}) == 1.5
    assert mean_gain_db({"lost_db": 1.0}) is None
