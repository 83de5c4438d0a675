"""Signals and the errors that compiled code makes of them."""

import signal
import sys

import pytest

from concertdeblur.cli.exits import describe_error
from concertdeblur.cli.signals import interrupt_on_signals, stop_on_signals
from concertdeblur.errors import Interrupted, TargetError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals(silent=True) as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
    assert signal.getsignal(number) is before


def test_a_terminal_is_told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2, raising=False)
    with stop_on_signals(silent=False):
        signal.raise_signal(signal.SIGINT)
    assert "Ctrl-C again ends at once" in capfd.readouterr().err


def test_a_second_interrupt_cuts() -> None:
    def be_impatient() -> None:
        with stop_on_signals(silent=True):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # asks once more, no more than that
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="at once"):
        be_impatient()


def test_an_interrupt_that_compiled_code_renames_is_still_one() -> None:
    def compile_model() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("Check 'false' failed at frontend.cpp:53") from None

    def interrupt_twice() -> None:
        with stop_on_signals(silent=True):
            signal.raise_signal(signal.SIGINT)
            compile_model()

    with pytest.raises(Interrupted, match="at once"):
        interrupt_twice()
    with pytest.raises(Interrupted, match="nothing is written"), interrupt_on_signals():
        compile_model()


def test_what_fails_after_a_signal_was_stopped() -> None:
    def write_to_a_program_that_has_gone() -> None:
        with stop_on_signals(silent=True):
            signal.raise_signal(signal.SIGINT)
            raise TargetError("ffmpeg's encoder libx264 failed: it ended early")

    with pytest.raises(Interrupted, match="stopped; the output is not written"):
        write_to_a_program_that_has_gone()


def test_a_package_that_does_not_load_points_to_doctor() -> None:
    message, code = describe_error(ImportError("libGL.so.1: cannot open shared object file"))
    assert code == 1
    assert message.startswith("a needed package does not load (libGL.so.1")
    assert "doctor" in message


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), stop_on_signals(silent=True):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), interrupt_on_signals():
        raise ZeroDivisionError


def test_a_foreign_message_is_cut() -> None:
    message, code = describe_error(RuntimeError("x" * 5000))
    assert code == 1
    assert len(message) < 500
    assert message.endswith("what it prints with --debug")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("can't start new thread"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_memory_that_ends_is_no_bug(error: Exception) -> None:
    assert describe_error(error) == ("there is not enough memory; close other programs, or use a smaller clip", 1)
