"""Progress of stages and of clips, in words and in events."""

import io
import json
import sys
from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn

from concertdeblur.cli.display import JsonDisplay, Pace, QuietDisplay, TextDisplay, display, progress_text
from concertdeblur.pipelines.video_job import Progress
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


def pace_of(*samples: StageProgress) -> Pace:
    pace = Pace()
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
    assert progress_text(last, pace_of(last)) == "train: 6 steps, 2.0 steps/s"


def test_figures_stand_beside_the_progress() -> None:
    last = StageProgress(
        stage="train", done=1, total=3, unit="steps", elapsed_s=4, facts={"loss": 0.0212345, "lr": "2e-4"}
    )
    assert progress_text(last, pace_of(last)) == "train: 1 of 3 steps, 4.0 s a step, 8.0 s left, loss 0.02123, lr 2e-4"


def test_events_are_few_but_every_stage_has_its_first_and_last(capsys: pytest.CaptureFixture[str]) -> None:
    shown = JsonDisplay(clock=lambda: 0.0)
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
    shown = TextDisplay(None, clock=lambda: now_s)
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
    shown = TextDisplay(live)
    shown.progress(at(1, 5))
    shown.warning("one\x1bsource failed")
    assert live.tasks[0].completed == 5
    assert live.tasks[0].fields["facts"].startswith("train: 5 of 100 steps")
    assert isinstance(console.file, io.StringIO)
    assert "Warning: one\\x1bsource failed" in console.file.getvalue()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with display(as_json=False, quiet=True) as shown:
        assert isinstance(shown, QuietDisplay)
        shown.start({})
        shown.progress(at(1, 1))
        shown.warning("nothing")
        shown.done(Done())
    assert capsys.readouterr() == ("", "")


def test_events_or_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with display(as_json=True, quiet=False) as shown:
        assert isinstance(shown, JsonDisplay)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with display(as_json=False, quiet=False) as shown:
        assert isinstance(shown, TextDisplay)


def frames_at(
    elapsed_s: float, num_frames: int, total: int | None = 100, *, tried: int = 0, accepted: int = 0
) -> Progress:
    return Progress(
        num_frames=num_frames,
        total_frames=total,
        windows_tried=tried,
        windows_accepted=accepted,
        elapsed_s=elapsed_s,
    )


def clip_pace(*samples: Progress) -> Pace:
    pace = Pace()
    for sample in samples:
        pace.add(sample.as_stage())
    return pace


def test_speed_leaves_out_the_time_before_the_first_frame() -> None:
    pace = clip_pace(frames_at(20, 1), frames_at(22, 5))
    assert pace.rate == 2
    assert pace.left_s(frames_at(22, 5).as_stage()) == 47.5


def test_speed_of_a_clip_is_that_of_the_last_seconds() -> None:
    pace = clip_pace(
        *(frames_at(second, second) for second in range(1, 60)), *(frames_at(60 + n, 60 + 10 * n) for n in range(30))
    )
    assert pace.rate == 10


def test_speed_is_not_known_at_once() -> None:
    assert Pace().rate is None
    assert clip_pace(frames_at(1, 1)).rate is None
    assert clip_pace(frames_at(1, 1), frames_at(1, 2)).rate is None
    assert clip_pace(frames_at(1, 1)).left_s(frames_at(1, 1).as_stage()) is None


def test_the_next_clip_of_a_folder_is_counted_anew() -> None:
    pace = clip_pace(frames_at(1, 1), frames_at(2, 2), frames_at(1, 1), frames_at(5, 2), frames_at(1, 1))
    assert pace.num_counts == 3
    assert pace.rate is None


def test_progress_in_words() -> None:
    last = frames_at(2, 3, tried=9, accepted=4)
    assert progress_text(last.as_stage(), clip_pace(frames_at(1, 1), last)) == (
        "3 of 100 frames, 2.0 frames/s, 48 s left, 4 of 9 windows refined"
    )
    assert progress_text(frames_at(1, 100).as_stage(), clip_pace(frames_at(0, 50), frames_at(1, 100))).endswith(
        "finishing"
    )


@pytest.mark.parametrize("total", [None, 2])
def test_a_length_that_is_unknown_or_wrong_is_not_shown(total: int | None) -> None:
    last = frames_at(2, 3, total)
    assert progress_text(last.as_stage(), clip_pace(frames_at(1, 1, total), last)) == "3 frames, 2.0 frames/s"


def test_events_of_a_clip_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    shown = JsonDisplay(clock=lambda: now_s)
    for number in range(1, 1001):
        now_s = number * 0.01
        shown.progress(frames_at(now_s, number, 1000))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 30 <= len(written) <= 34
    assert written[0]["num_frames"] == 1
    assert written[-1]["rate_fps"] == pytest.approx(100)


def test_a_clip_leaves_a_line_now_and_then_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    shown = TextDisplay(None, clock=lambda: now_s)
    for number in range(1, 101):
        now_s = float(number)
        shown.progress(frames_at(now_s, number))
    shown.warning("chapters are dropped")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "30 of 100 frames, 1.0 frames/s, 1:10 min left",
        "60 of 100 frames, 1.0 frames/s, 40 s left",
        "90 of 100 frames, 1.0 frames/s, 10 s left",
        "Warning: chapters are dropped",
    ]


def test_on_a_terminal_the_line_lives(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100)
    with RichProgress(TextColumn("{task.fields[facts]}"), console=console) as live:
        shown = TextDisplay(live)
        shown.warning("chapters [bold]are\x1b[2J dropped")
        shown.progress(frames_at(1, 1, tried=3, accepted=1))
        live.refresh()
    assert "Warning: chapters [bold]are\\x1b[2J dropped" in drawn.getvalue()
    assert "1 of 100 frames, 1 of 3 windows refined" in drawn.getvalue()


def test_the_user_chooses_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    with display(as_json=True, quiet=False) as shown:
        assert isinstance(shown, JsonDisplay)
    with display(as_json=False, quiet=True) as shown:
        assert isinstance(shown, QuietDisplay)
    with display(as_json=False, quiet=False) as shown:
        assert isinstance(shown, TextDisplay)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with display(as_json=False, quiet=False) as shown:
        assert isinstance(shown, TextDisplay)


def test_the_line_goes_on_with_the_next_clip_of_a_folder() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with RichProgress(TextColumn("{task.fields[facts]}", markup=False), console=console, transient=True) as live:
        shown = TextDisplay(live)
        shown.progress(frames_at(1, 1, 1))
        shown.done(Done())
        assert not live.live.is_started
        shown.progress(frames_at(1, 1, 50))
        assert live.live.is_started
        assert live.tasks[0].fields["facts"] == "1 of 50 frames"
    assert isinstance(console.file, io.StringIO)
    assert "7 pairs are written." in console.file.getvalue()


def test_the_pace_of_many_frames_a_second_takes_few_samples() -> None:
    pace = Pace()
    for number in range(60_000):  # 1000 a second, after a slow beginning
        pace.add(StageProgress(stage="", done=number, total=60_000, unit="frames", elapsed_s=10 + number / 1000))
    assert len(pace._samples) < 200
    assert pace.rate == pytest.approx(1000, rel=0.01)
    assert pace._samples[-1] == (10 + 59.999, 59_999), "the newest one counts"
    assert pace._samples[-1][0] - pace._samples[0][0] == pytest.approx(15, abs=0.3)
