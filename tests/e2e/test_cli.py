"""The command line: what it parses, what it passes on, what it says, and how it exits."""

import errno
import json
import subprocess
import sys
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from concertdeblur import __version__
from concertdeblur.cli.program import cli
from concertdeblur.errors import Interrupted
from concertdeblur.pipelines import deblur_image as image_pipeline
from concertdeblur.pipelines import deblur_video as pipeline
from concertdeblur.pipelines.deblur_image import ImageJob, ImageSummary
from concertdeblur.pipelines.video_job import Progress, VideoJob, VideoSummary


def invoke(*args: object) -> Result:
    """Run in this process."""
    return CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="concertdeblur")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[VideoJob]:
    """The jobs that `video` hands over; nothing is deblurred."""
    taken: list[VideoJob] = []

    def take(source: Path, target: Path, job: VideoJob, **told: Any) -> VideoSummary:
        taken.append(job)
        told["on_warning"]("chapters are dropped")
        told["on_progress"](Progress(num_frames=7, total_frames=7, windows_tried=5, windows_accepted=2, elapsed_s=1.0))
        return VideoSummary(
            source=source,
            target=target,
            num_frames=7,
            num_broken=1,
            windows_tried=5,
            windows_accepted=2,
            elapsed_s=3.5,
            runtime="torch on CPU in float32",
            warnings=("chapters are dropped",),
        )

    monkeypatch.setattr(pipeline, "deblur_video", take)
    return taken


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `video` fail."""

    def fail(*_: object, **__: object) -> VideoSummary:
        raise error

    monkeypatch.setattr(pipeline, "deblur_video", fail)


def test_without_options_the_defaults_are_passed(jobs: list[VideoJob]) -> None:
    assert invoke("video", "in.mp4", "out.mp4").exit_code == 0
    assert jobs == [VideoJob()]


def test_every_option_is_passed(jobs: list[VideoJob]) -> None:
    words = (
        "--strength 0.5 --no-refine --refine 0.3 --weights mine --device cpu --backend torch --reader decord"
        " --writer ffmpeg"
        " --codec hevc --crf 21.5 --preset slow --video-stream 3 --start 1:02:03.004 --end 3724.1 --overwrite --restart"
        " --drop-streams --strict --deinterlace --heatmap heat.mp4 --compare both.mkv --audio flac --keep-date"
    )
    result = invoke("video", "in.mp4", "out.mp4", *words.split())
    assert result.exit_code == 0, result.output
    expected = VideoJob(
        strength=0.5,
        refine=False,
        refine_share=0.3,
        weights="mine",
        device="cpu",
        backend="torch",
        reader="decord",
        writer="ffmpeg",
        codec="hevc",
        crf=21.5,
        preset="slow",
        video_stream=3,
        start_s=Fraction(3723004, 1000),
        end_s=Fraction(37241, 10),
        overwrite=True,
        restart=True,
        drop_streams=True,
        audio="flac",
        keep_date=True,
        strict=True,
        deinterlace=True,
        heatmap=Path("heat.mp4"),
        compare=Path("both.mkv"),
    )
    assert jobs == [expected]
    apart = {"quality", "compatible", "fits_sound"}  # not with a weight set; not with hevc; no option
    assert all(getattr(expected, f.name) != f.default for f in fields(VideoJob) if f.name not in apart), "one is left"
    assert invoke("video", "in.mp4", "out.mp4", "--quality", "fast").exit_code == 0
    assert jobs[-1] == VideoJob(quality="fast")
    assert invoke("video", "in.mp4", "out.mp4", "--compatible").exit_code == 0
    assert jobs[-1] == VideoJob(compatible=True)
    assert invoke("video", "in.mp4").exit_code == 0
    assert jobs[-1] == VideoJob(fits_sound=True)
    result = invoke("video", "in.mp4", "out.mp4", "--quality", "best", "--weights", "mine")
    assert (result.exit_code, "do not go together" in result.output) == (2, True)


def test_every_choice_about_pictures_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[ImageJob] = []

    def take(source: Path, target: Path, job: ImageJob, **_: object) -> ImageSummary:
        taken.append(job)
        return ImageSummary(
            source=source,
            target=target,
            height=30,
            width=40,
            windows_tried=2,
            windows_accepted=1,
            windows=((1, 2, 3, 4),),
            elapsed_s=0.25,
            runtime="torch on CPU in float32",
        )

    monkeypatch.setattr(image_pipeline, "deblur_image", take)
    result = invoke("image", "in.png", "out.png")
    assert "out.png is written.\n  picture   40 x 30 px" in result.stderr
    words = (
        "--strength 0.5 --no-refine --weights mine --device cpu --backend torch --overwrite --heatmap heat.png"
        " --compare both.png --json --recursive --strip-metadata --no-keep-date --jpeg-quality 80"
    )
    result = invoke("image", "in.png", "out.png", *words.split())
    assert json.loads(result.stdout.splitlines()[-1])["windows"] == [[1, 2, 3, 4]]
    assert taken[0] == ImageJob()
    heatmap = Path("heat.png")
    assert taken[1] == ImageJob(
        strength=0.5,
        refine=False,
        weights="mine",
        device="cpu",
        backend="torch",
        overwrite=True,
        heatmap=heatmap,
        compare=Path("both.png"),
        recursive=True,
        strip_metadata=True,
        keep_date=False,
        jpeg_quality=80,
    )
    others = ("quality", "skip_existing")  # which do not go together with the rest
    assert all(getattr(taken[1], f.name) != f.default for f in fields(ImageJob) if f.name not in others), "one is left"
    assert invoke("image", "in.png", "out.png", "--quality", "fast").exit_code == 0
    assert taken[2] == ImageJob(quality="fast")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", Fraction(0)),
        ("12.5", Fraction(25, 2)),
        (".04", Fraction(1, 25)),
        ("90", Fraction(90)),
        ("1:30", Fraction(90)),
        ("90:00.1", Fraction(54001, 10)),
        ("01:02:03.3333333333333333333", 3723 + Fraction(3333333333333333333, 10**19)),
    ],
)
def test_times_are_exact(jobs: list[VideoJob], text: str, seconds: Fraction) -> None:
    assert invoke("video", "in.mp4", "out.mp4", "--start", text).exit_code == 0
    assert jobs[0].start_s == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "1:60", "1:60:00", "1:2:3:4", "nan", "inf", "1e3", "1,5", ":30", "٣"]
)
def test_what_is_no_time_is_refused(jobs: list[VideoJob], text: str) -> None:
    result = invoke("video", "in.mp4", "out.mp4", "--start", text)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert "--start" in result.stderr
    assert not jobs


def test_the_summary_says_what_was_done(jobs: list[VideoJob]) -> None:
    result = invoke("video", "in.mp4", "out.mp4")
    assert result.stdout == ""
    for words in (
        "Warning: chapters are dropped\n",
        "out.mp4 is written.\n",
        "7, 1 of them broken and replaced",
        "3.5 s (2.0 frames/s)",
        "2 of 5 tried were refined",
        "torch on CPU in float32",
        "warnings  1, named above",
    ):
        assert words in result.stderr


def test_quiet_says_nothing(jobs: list[VideoJob]) -> None:
    assert invoke("video", "in.mp4", "out.mp4", "--quiet").output == ""


def test_json_is_one_event_a_line(jobs: list[VideoJob]) -> None:
    result = invoke("video", "in.mp4", "out.mp4", "--json", "--start", "0.5")
    assert result.stderr == ""
    start, warning, progress, done = (json.loads(line) for line in result.stdout.splitlines())
    assert (start["event"], start["command"], start["version"]) == ("start", "video", __version__)
    assert start["options"]["start_s"] == 0.5
    assert warning == {"event": "warning", "message": "chapters are dropped"}
    assert (progress["event"], progress["num_frames"], progress["windows_accepted"]) == ("progress", 7, 2)
    assert done["event"] == "done"
    assert {field.name for field in fields(VideoSummary)} < done.keys()
    assert (done["target"], done["warnings"]) == ("out.mp4", ["chapters are dropped"])


def test_json_and_quiet_contradict_each_other(jobs: list[VideoJob]) -> None:
    result = invoke("video", "in.mp4", "out.mp4", "--json", "--quiet")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["exit_code"] == 2
    assert not jobs


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            ZeroDivisionError("by\nzero"),
            1,
            "this is a bug in concertdeblur (ZeroDivisionError: by zero); please report",
        ),
        (MemoryError(), 1, "there is not enough memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
            1,
            "there is not enough memory",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "x.mp4"), 1, "no space left on the device (x.mp4)"),
        (PermissionError(errno.EACCES, "Permission denied", "x.mp4"), 1, "Permission denied (x.mp4)"),
        (Interrupted("stopped after 3 of 9 frames"), 130, "stopped after 3 of 9 frames"),
    ],
)
def test_every_failure_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    raising(monkeypatch, error)
    result = invoke("video", "in.mp4", "out.mp4", "--json")
    assert result.exit_code == code
    assert result.stderr.startswith(f"Error: {words}")
    assert result.stderr.count("\n") == 1
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "event": "error",
        "message": result.stderr.removeprefix("Error: ").rstrip("\n"),
        "exit_code": code,
    }


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError("by zero"))
    result = invoke("video", "in.mp4", "out.mp4", "--debug")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("Error: this is a bug")


def test_a_file_name_cannot_draw_on_the_terminal() -> None:
    result = invoke("video", "a\x1b[2Jb\n.mp4", "out.mp4", "--strength", "0")
    assert result.exit_code == 1
    assert result.stderr == "Error: a\\x1b[2Jb .mp4: no such file\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "Usage: concertdeblur"),
        (("vidoe", "a", "b"), "vidoe"),
        (("train", "--minutes", "0"), "--minutes"),
        (("evaluate", "--out", "report"), "--data"),
        (("video",), "IN"),
        (("video", "in.mp4", "out.mp4", "more.mp4"), "more.mp4"),
        (("video", "in.mp4", "out.mp4", "--strenght", "1"), "--strength"),
        (("video", "in.mp4", "out.mp4", "--strength", "much"), "--strength"),
        (("video", "in.mp4", "out.mp4", "--strength", "nan"), "between 0 and 1"),
        (("video", "in.mp4", "out.mp4", "--strength", "1.01"), "between 0 and 1"),
        (("video", "in.mp4", "out.mp4", "--reader", "magic"), "pyav"),
        (("image", "in.png", "out.png", "--strength", "-1"), "between 0 and 1"),
        (("completion", "tcsh"), "bash"),
    ],
)
def test_wrong_usage_exits_with_2(args: tuple[str, ...], words: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert not args or result.stderr.count("\n") == 1


def test_version() -> None:
    assert invoke("--version").output == f"concertdeblur, version {__version__}\n"


def test_help_groups_the_options_and_lists_what_works() -> None:
    text = invoke("--help").output
    assert [line.split()[0] for line in text.split("Commands:\n")[1].splitlines()] == [
        "annotate", "bench", "build-dataset", "completion", "doctor", "evaluate", "image", "studio", "train",
        "video", "watch",
    ]  # fmt: skip
    text = invoke("video", "--help").output
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Deblurring:", "Input:", "Output:", "Cluster:", "Reporting:", "Help:"]


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_option_has_help(command: str) -> None:
    for param in cli.commands[command].params:
        assert not isinstance(param, click.Option) or param.help, param.name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_CONCERTDEBLUR_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("typed", "offered"), [("video --codec h", "hevc"), ("video --dev", "--device"), ("d", "doctor")]
)
def test_completion_offers(typed: str, offered: str) -> None:
    words = f"concertdeblur {typed}"
    variables = {
        "_CONCERTDEBLUR_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner(env=variables).invoke(cli, [], prog_name="concertdeblur")
    assert f"plain,{offered}" in result.output.splitlines()


@pytest.mark.parametrize("args", [["--help"], ["video", "--help"], ["--version"], ["completion", "zsh"]])
def test_help_is_quick_and_loads_no_heavy_package(args: list[str]) -> None:
    code = f"""
import resource, sys
from concertdeblur.cli import main
sys.argv = ["concertdeblur", *{args!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = {{"torch", "av", "cv2", "numpy", "rich", "openvino"}} & sys.modules.keys()
print(used.ru_utime + used.ru_stime, *heavy, file=sys.stderr)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stderr
    seconds, *heavy = told.split()
    assert not heavy
    assert float(seconds) < 0.5
