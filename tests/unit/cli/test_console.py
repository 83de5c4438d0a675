"""Words and events on the terminal."""

import json
import threading
from pathlib import Path

import pytest

from concertdeblur.cli.console import printable, write_event
from concertdeblur.progress import duration_text, speed_text


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


def test_paths_and_fractions_are_plain_in_events(capsys: pytest.CaptureFixture[str]) -> None:
    write_event("start", {"source": Path("a") / "b"})
    assert json.loads(capsys.readouterr().out) == {"event": "start", "source": "a/b"}
