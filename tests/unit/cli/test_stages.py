"""Progress of commands with several stages, in words and in events."""

import io
import json
from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn

from concertdeblur.cli.stages import (
    JsonStages,
    QuietStages,
    StagePace,
    TextStages,
    stage_display,
    stage_text,
)
from concertdeblur.progress import StageProgress


def at(
    elapsed_s: float, done: int, total: int | None = 100, *, stage: str = "train", begun_at: int = 0
) -> StageProgress:
    return StageProgress(
        stage=stage, done=done, total=total, unit="steps", elapsed_s=elapsed_s, begun_at=begun_at, facts={}
    )


@dataclass(frozen=True)
class Done:
    num_pairs: int = 7

    def text(self) -> str:
        return f"{self.num_pairs} pairs are written.\nLook at them."


def pace_of(*samples: StageProgress) -> StagePace:
    pace = StagePace()
    for sample in samples:
        pace.add(sample)
    return pace


def test_speed_counts_from_where_this_run_took_the_stage_up() -> None:
    last = at(5, 60, begun_at=50)
    assert pace_of(last).rate == 2
    assert pace_of(last).left_s(last) == 20


def test_speed_is_that_of_the_last_seconds_and_of_this_stage() -> None:
    pace = pace_of(*(at(second, second) for second in range(1, 60)), *(at(60 + n, 60 + 10 * n) for n in range(30)))
    assert pace.rate == 10
    pace.add(at(1, 4, stage="evaluate"))
    assert pace.rate == 4


@pytest.mark.parametrize("total", [None, 2])
def test_a_total_that_is_unknown_or_wrong_is_not_shown(total: int | None) -> None:
    last = at(3, 6, total)
    assert stage_text(last, pace_of(last)) == "train: 6 steps, 2.0 steps/s"


def test_figures_stand_beside_the_progress() -> None:
    last = StageProgress(
        stage="train", done=1, total=3, unit="steps", elapsed_s=4, facts={"loss": 0.0212345, "lr": "2e-4"}
    )
    assert stage_text(last, pace_of(last)) == "train: 1 of 3 steps, 4.0 s a step, 8.0 s left, loss 0.02123, lr 2e-4"


def test_events_are_few_but_every_stage_has_its_first_and_last(capsys: pytest.CaptureFixture[str]) -> None:
    shown = JsonStages(clock=lambda: 0.0)
    shown.start({"command": "train"})
    for step in range(101):
        shown.progress(at(step, step))
    shown.progress(at(1, 1, stage="evaluate"))
    shown.warning("one source failed")
    shown.done(Done())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in told] == ["start", "progress", "progress", "progress", "warning", "done"]
    assert [line["done"] for line in told[1:4]] == [0, 100, 1]
    assert told[2]["stage"] == "train"
    assert told[2]["rate"] == pytest.approx(1)
    assert told[-1]["num_pairs"] == 7


def test_without_a_terminal_there_is_a_line_now_and_then_and_one_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    shown = TextStages(None, clock=lambda: now_s)
    for step in range(1, 71):
        now_s = float(step)
        shown.progress(at(step, step))
    shown.progress(at(1, 1, stage="evaluate"))
    shown.done(Done())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 30 of 100 steps, 1.0 steps/s, 1:10 min left"
    assert lines[1].startswith("train: 60 of 100")
    assert lines[2:] == [
        "train: 70 steps in 1:10 min",
        "evaluate: 1 steps in 1.0 s",
        "7 pairs are written.",
        "Look at them.",
    ]


def test_on_a_terminal_warnings_stand_above_the_line() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    live = RichProgress(TextColumn("{task.fields[facts]}", markup=False), console=console, transient=True)
    shown = TextStages(live)
    shown.progress(at(1, 5))
    shown.warning("one\x1bsource failed")
    assert live.tasks[0].completed == 5
    assert live.tasks[0].fields["facts"].startswith("train: 5 of 100 steps")
    assert isinstance(console.file, io.StringIO)
    assert "Warning: one\\x1bsource failed" in console.file.getvalue()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with stage_display(as_json=False, quiet=True) as shown:
        assert isinstance(shown, QuietStages)
        shown.start({})
        shown.progress(at(1, 1))
        shown.warning("nothing")
        shown.done(Done())
    assert capsys.readouterr() == ("", "")


def test_events_or_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage_display(as_json=True, quiet=False) as shown:
        assert isinstance(shown, JsonStages)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with stage_display(as_json=False, quiet=False) as shown:
        assert isinstance(shown, TextStages)
