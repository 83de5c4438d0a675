"""What `doctor` finds, here and on machines where something is missing."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner, Result

from concertdeblur import pretrained
from concertdeblur.cli.doctor_table import report_rows
from concertdeblur.cli.program import cli
from concertdeblur.pipelines import doctor
from concertdeblur.pipelines.doctor import DoctorReport, diagnose, fitness_of
from concertdeblur.pipelines.quality import synthetic_frame
from tests.weight_sets import random_weight_set


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weight_set(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def healthy(weights: Path) -> DoctorReport:
    """A whole look at this machine, where only the weights asked for count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "WEIGHTS_FOLDER", weights.parent / "none")
        patch.setattr(doctor, "busy_cpus", lambda: 0.0)
        return diagnose(weights=str(weights), device="cpu", backend="torch")


def without(monkeypatch: pytest.MonkeyPatch, module: str, error: Exception) -> None:
    """Let one module fail to load."""

    def load(name: str, package: str | None = None) -> ModuleType:
        if name == module:
            raise error
        return import_module(name, package)

    monkeypatch.setattr(doctor, "import_module", load)


def shown(monkeypatch: pytest.MonkeyPatch, report: DoctorReport, *options: str) -> Result:
    """The command's output for a report."""
    monkeypatch.setattr(doctor, "diagnose", lambda **_: report)
    return CliRunner().invoke(cli, ["doctor", *options])


def test_this_machine(healthy: DoctorReport) -> None:
    assert healthy.problems == ()
    versions = {part.name: part.version for part in healthy.parts}
    for name in ("concertdeblur", "python", "torch", "av", "opencv-python", "numpy", "safetensors", "decord2"):
        assert re.match(r"\d+\.\d+", versions[name] or ""), name
    assert {codec.name for codec in healthy.codecs if codec.is_usable} >= {"h264", "hevc", "av1", "ffv1"}
    assert healthy.devices[0] == "cpu"
    assert healthy.runtime == "torch on CPU in float32"
    assert healthy.num_cores >= 1
    assert healthy.frame_720p_s is not None
    assert healthy.frame_720p_s > 0
    assert [weight_set.is_intact for weight_set in healthy.weight_sets] == [True]
    assert healthy.weight_sets[0].size_bytes > 1000
    assert "4-minute clip" in healthy.fitness
    if healthy.memory_bytes is not None and healthy.free_memory_bytes is not None:
        assert 0 < healthy.free_memory_bytes < healthy.memory_bytes


def test_a_report_is_drawn_and_printed(monkeypatch: pytest.MonkeyPatch, healthy: DoctorReport) -> None:
    result = shown(monkeypatch, healthy)
    assert result.exit_code == 0
    for words in ("torch", "h264, hevc, av1, ffv1", "torch on CPU in float32", "s a frame (estimate)", healthy.fitness):
        assert words in result.stdout
    result = shown(monkeypatch, healthy, "--json")
    (told,) = (json.loads(line) for line in result.stdout.splitlines())
    assert told["frame_720p_s"] == healthy.frame_720p_s
    assert told["parts"][0] == {"name": "concertdeblur", "version": told["parts"][0]["version"], "is_needed": True,
                                "advice": ""}  # fmt: skip


def test_what_is_broken_gives_exit_code_1(monkeypatch: pytest.MonkeyPatch, healthy: DoctorReport) -> None:
    result = shown(monkeypatch, replace(healthy, problems=("av: pip install av",)))
    assert result.exit_code == 1
    assert "Broken: av: pip install av" in result.stdout


def test_a_terminal_gets_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], healthy: DoctorReport
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    from concertdeblur.cli.doctor_table import show_report

    show_report(healthy)
    drawn = capsys.readouterr().out
    assert all(name in drawn for name, _ in report_rows(healthy))
    assert "This machine is" in drawn


def test_missing_weights_are_a_problem_and_skip_the_timing(tmp_path: Path) -> None:
    report = diagnose(weights=str(tmp_path / "none"), device="cpu", backend="torch")
    assert report.frame_720p_s is None
    assert report.no_speed_reason.startswith("not measured: no weight set")
    assert any("no weight set" in problem for problem in report.problems)
    assert "not known" in report.fitness


def test_altered_weights_are_a_problem(tmp_path: Path) -> None:
    file = next(random_weight_set(tmp_path).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    report = diagnose(weights=str(tmp_path), device="cpu", backend="torch")
    assert any("weights altered" in problem for problem in report.problems)
    assert report.no_speed_reason.startswith("not measured: weights altered")


def test_a_device_that_is_not_here_is_a_problem(weights: Path) -> None:
    report = diagnose(weights=str(weights), device="cuda:99")
    assert report.runtime is None
    assert any("CUDA" in problem or "cuda" in problem for problem in report.problems)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "cv2", ImportError("libGL.so.1: cannot open shared object file"))
    report = diagnose()
    assert report.frame_720p_s is None
    (problem,) = report.problems
    assert problem.startswith("opencv-python: does not load (libGL.so.1")
    assert "apt install libgl1" in problem


def test_a_busy_machine_is_said_so_that_its_estimate_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, healthy: DoctorReport
) -> None:
    assert "Do not rely on that: other programs keep 1.8 cores busy" in fitness_of(2.0, busy_cores=1.8)
    for quiet in (None, 0.0, 0.1):
        assert fitness_of(2.0, busy_cores=quiet) == fitness_of(2.0)
    result = shown(monkeypatch, replace(healthy, busy_cores=1.8))
    assert "s a frame (not reliable: the machine is busy)" in result.stdout
    assert "1.8 of them busy with other programs" in result.stdout


def test_load_that_begins_with_the_trial_counts(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    measured = iter([0.0, 1.5])
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", weights.parent / "none")
    monkeypatch.setattr(doctor, "busy_cpus", lambda: next(measured))
    monkeypatch.setattr(doctor, "_time_frame", lambda *_: 2.0)
    report = diagnose(weights=str(weights), device="cpu", backend="torch")
    assert report.is_busy
    assert "other programs" in report.fitness


def test_without_pyav_there_are_no_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "av", ModuleNotFoundError("No module named 'av'"))
    report = diagnose()
    assert report.codecs == ()
    assert report.problems == ("av: pip install 'av>=18.1,<19'",)
    assert ("encoders", "none") in report_rows(report)


def test_an_option_s_package_is_advice_only(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", weights.parent / "none")
    without(monkeypatch, "decord", ModuleNotFoundError("No module named 'decord'"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "_time_frame", lambda *_: 2.0)
    report = diagnose(weights=str(weights), device="cpu", backend="torch")
    assert report.problems == ()
    assert any(advice.startswith("decord2: for --reader decord") for advice in report.advice)
    assert any(advice.startswith("ffmpeg (program): for --writer ffmpeg") for advice in report.advice)


def test_an_ffmpeg_that_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired("ffmpeg", 20)

    monkeypatch.setattr(shutil, "which", lambda _: "/somewhere/ffmpeg")
    monkeypatch.setattr(subprocess, "run", hang)
    part = doctor._ffmpeg()
    assert part.version is None
    assert "/somewhere/ffmpeg does not run" in part.advice


def test_networks_that_fail_are_a_problem(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("unknown instruction")

    monkeypatch.setattr(doctor, "_time_frame", fail)
    report = diagnose(weights=str(weights), device="cpu", backend="torch")
    assert "a frame could not be deblurred (RuntimeError: unknown instruction)" in report.problems
    assert report.no_speed_reason.endswith("unknown instruction")


def test_a_hardware_encoder_without_its_device_is_not_usable() -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has an NVIDIA GPU")
    assert not doctor._opens("h264_nvenc")
    assert doctor._opens("h264")


@pytest.mark.parametrize(
    ("frame_s", "words"),
    [
        (0.01, "at the speed they play or faster: a 4-minute clip of 1280x720 at 30 frames/s takes about 1 minute."),
        (0.25, "fit for whole songs: a 4-minute clip of 1280x720 at 30 frames/s takes about 30 minutes."),
        (1.3, "takes about 2.6 hours."),
        (1.3, "overnight"),
        (30.0, "pictures and short excerpts (--start, --end): a 4-minute clip"),
        (30.0, "takes about 2.5 days."),
        (None, "not known"),
    ],
)  # fmt: skip
def test_fitness_in_words(frame_s: float | None, words: str) -> None:
    assert words in fitness_of(frame_s)


def test_the_fast_set_is_told_of_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitness_of(2.0, 0.4).endswith("takes about 4.0 hours, or 48 minutes with --quality fast.")
    for name in ("concert", "concert-fast"):
        random_weight_set(tmp_path / name)
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setattr(doctor, "busy_cpus", lambda: 0.0)
    monkeypatch.setattr(doctor, "_time_frame", lambda weights, *_: {"concert": 2.0, "concert-fast": 0.4}[weights])
    report = diagnose(device="cpu", backend="torch")
    assert (report.frame_720p_s, report.fast_720p_s) == (2.0, 0.4)
    assert report.fitness == fitness_of(2.0, 0.4)
    assert [one.name for one in report.weight_sets] == ["concert", "concert-fast"]


def test_the_synthetic_frame_is_a_blurred_texture() -> None:
    frame = synthetic_frame(36, 64)
    assert frame.shape == (36, 64, 3)
    assert frame.dtype == np.uint8
    assert 30 < frame.std() < 60
    assert (frame == synthetic_frame(36, 64)).all()
