"""The real command line with networks: small ones with random weights, which change pixels."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from concertdeblur.cli.program import cli
from tests.clips import ClipSpec, frames_of, make_clip, same_planes, stream_facts
from tests.commands import environment, events, run
from tests.pictures import photograph
from tests.weight_sets import random_weight_set


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weight_set(tmp_path_factory.mktemp("weights"))


def test_video(tmp_path: Path, weights: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=6, height=96, width=128, audio="aac"))
    extras = ("--heatmap", "heat.mp4", "--compare", "both.mp4")
    options = ("--weights", weights, "--device", "cpu", "--backend", "torch", "--crf", 0)
    result = run("video", clip, "out.mp4", *options, *extras, "--json", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    told = events(result.stdout)
    assert [event["event"] for event in told[:2]] == ["start", "progress"]
    done = told[-1]
    assert (done["event"], done["num_frames"], done["runtime"]) == ("done", 6, "torch on CPU in float32")
    assert 0 <= done["windows_accepted"] <= done["windows_tried"]
    before, after = frames_of(clip), frames_of(tmp_path / "out.mp4")
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert not any(same_planes(a, b) for a, b in zip(before, after, strict=True))
    assert stream_facts(tmp_path / "out.mp4")[1].payloads == stream_facts(clip)[1].payloads
    assert [len(frames_of(tmp_path / name)) for name in ("heat.mp4", "both.mp4")] == [6, 6]


def test_image(tmp_path: Path, weights: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), photograph(300, 280))
    names = [str(tmp_path / name) for name in ("in.png", "out.png", "heat.png")]
    options = ["--weights", str(weights), "--device", "cpu", "--backend", "torch", "--heatmap", names[2], "--json"]
    result = CliRunner().invoke(cli, ["image", *names[:2], *options])
    assert (result.exit_code, result.stderr) == (0, "")
    start, done = (json.loads(line) for line in result.stdout.splitlines())
    assert (start["event"], start["command"], done["event"]) == ("start", "image", "done")
    assert (done["height"], done["width"]) == (300, 280)
    assert done["windows_tried"] >= done["windows_accepted"] == len(done["windows"])
    assert all(len(window) == 4 and min(window[2:]) > 0 for window in done["windows"])
    pictures = [cv2.imread(name) for name in names]
    assert {picture.shape for picture in pictures if picture is not None} == {(300, 280, 3)}
    assert not np.array_equal(np.asarray(pictures[0]), np.asarray(pictures[1]))


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name, num_frames in (("a.mp4", 12), ("b.mkv", 4), ("c.mp4", 4)):
        make_clip(tmp_path / "clips" / name, ClipSpec(num_frames=num_frames))
    args = [str(tmp_path / "clips"), str(tmp_path / "sharp"), "--strength", "0"]
    result = CliRunner().invoke(cli, ["video", *args, "--json"])
    assert result.exit_code == 0
    done = [event for event in events(result.stdout) if event["event"] == "done"]
    assert [(Path(event["target"]).name, event["num_frames"]) for event in done] == [
        ("a.mp4", 12),
        ("b.mkv", 4),
        ("c.mp4", 4),
    ]
    result = CliRunner().invoke(cli, ["video", *args])
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["3 clips: 0 done now, 3 done by an earlier run."]


def test_identity_does_without_torch(tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", ClipSpec())
    code = """
import sys
from concertdeblur.cli import main
sys.argv = ["concertdeblur", "video", "in.mp4", "out.mp4", "--strength", "0"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True, timeout=60)
    assert len(frames_of(tmp_path / "out.mp4")) == 12
