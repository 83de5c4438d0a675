"""Progress in words and in events."""

import io
import json
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn

from concertdeblur.cli.console import (
    JsonDisplay,
    Pace,
    QuietDisplay,
    TextDisplay,
    display,
    printable,
    progress_text,
    write_event,
)
from concertdeblur.pipelines.video_job import Progress
from concertdeblur.progress import duration_text, speed_text


def at(elapsed_s: float, num_frames: int, total: int | None = 100, *, tried: int = 0, accepted: int = 0) -> Progress:
    return Progress(
        num_frames=num_frames,
        total_frames=total,
        windows_tried=tried,
        windows_accepted=accepted,
        elapsed_s=elapsed_s,
    )


def pace_of(*samples: Progress) -> Pace:
    pace = Pace()
    for sample in samples:
        pace.add(sample)
    return pace


def test_speed_leaves_out_the_time_before_the_first_frame() -> None:
    pace = pace_of(at(20, 1), at(22, 5))
    assert pace.rate_fps == 2
    assert pace.left_s(at(22, 5)) == 47.5


def test_speed_is_that_of_the_last_seconds() -> None:
    pace = pace_of(*(at(second, second) for second in range(1, 60)), *(at(60 + n, 60 + 10 * n) for n in range(30)))
    assert pace.rate_fps == 10


def test_speed_is_not_known_at_once() -> None:
    assert Pace().rate_fps is None
    assert pace_of(at(1, 1)).rate_fps is None
    assert pace_of(at(1, 1), at(1, 2)).rate_fps is None
    assert pace_of(at(1, 1)).left_s(at(1, 1)) is None


def test_the_next_clip_of_a_folder_is_counted_anew() -> None:
    pace = pace_of(at(1, 1), at(2, 2), at(1, 1), at(5, 2), at(1, 1))
    assert pace.clip == 3
    assert pace.rate_fps is None


def test_progress_in_words() -> None:
    last = at(2, 3, tried=9, accepted=4)
    assert progress_text(last, pace_of(at(1, 1), last)) == (
        "3 of 100 frames, 2.0 frames/s, 48 s left, 4 of 9 windows refined"
    )
    assert progress_text(at(1, 100), pace_of(at(0, 50), at(1, 100))).endswith("finishing")


@pytest.mark.parametrize("total", [None, 2])
def test_a_length_that_is_unknown_or_wrong_is_not_shown(total: int | None) -> None:
    last = at(2, 3, total)
    assert progress_text(last, pace_of(at(1, 1, total), last)) == "3 frames, 2.0 frames/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.24, "4.2 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (7385, "2:03:05 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(0.25, "4.0 s a frame"), (1, "1.0 frames/s"), (33.33, "33.3 frames/s")])
def test_speeds(rate: float, text: str) -> None:
    assert speed_text(rate) == text


def test_printable_keeps_letters_and_shows_controls() -> None:
    assert printable("Zoë 東京.mp4") == "Zoë 東京.mp4"
    assert printable("a\x1b[31m\nb\udcff") == "a\\x1b[31m\\nb\\udcff"


def test_json_events_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    shown = JsonDisplay(clock=lambda: now_s)
    for number in range(1, 1001):
        now_s = number * 0.01
        shown.progress(at(now_s, number, 1000))
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 30 <= len(written) <= 34
    assert written[0]["num_frames"] == 1
    assert written[-1]["rate_fps"] == pytest.approx(100)


def test_events_of_several_threads_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def write(number: int) -> None:
        for _ in range(100):
            write_event("warning", {"message": str(number) * 200})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 400


def test_an_event_refuses_what_is_no_plain_value() -> None:
    with pytest.raises(TypeError, match="no JSON"):
        write_event("start", {"file": object()})


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    shown = TextDisplay(None, clock=lambda: now_s)
    for number in range(1, 101):
        now_s = float(number)
        shown.progress(at(now_s, number))
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
        shown.progress(at(1, 1, tried=3, accepted=1))
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


def test_paths_and_fractions_are_plain_in_events(capsys: pytest.CaptureFixture[str]) -> None:
    write_event("start", {"source": Path("a") / "b"})
    assert json.loads(capsys.readouterr().out) == {"event": "start", "source": "a/b"}
