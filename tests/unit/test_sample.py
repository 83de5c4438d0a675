"""The sample clip: the same every time, with sound, with motion to undo."""

import resource
import subprocess
import sys
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur import sample
from concertdeblur.blur.tone import tone_curve
from concertdeblur.errors import TargetError
from concertdeblur.psnr import psnr_db
from concertdeblur.sample import HEIGHT_PX, NUM_FRAMES, RATE_FPS, WIDTH_PX, frames, write_sample
from tests.commands import environment

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sample")
    blurred, sharp = folder / "sample.mp4", folder / "sharp.mp4"
    write_sample(blurred, sharp)
    return blurred, sharp


def decoded(path: Path) -> list[Picture]:
    with av.open(str(path)) as clip:
        context = clip.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert clip.streams.video[0].average_rate == RATE_FPS
        return [np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8) for frame in clip.decode(video=0)]


def detail(picture: Picture) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def test_frames_are_the_same_every_time_and_move() -> None:
    first, second = ([*islice(frames(), 3)] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])
    assert psnr_db(first[0][1], first[1][1], full_scale=255) < 30


def test_both_clips_have_all_frames_and_the_sound(clips: tuple[Path, Path]) -> None:
    for path in clips:
        pictures = decoded(path)
        assert len(pictures) == NUM_FRAMES
        assert pictures[0].shape == (HEIGHT_PX, WIDTH_PX, 3)
        with av.open(str(path)) as clip:
            num_samples = sum(frame.samples for frame in clip.decode(audio=0))
        assert abs(num_samples - 3 * 48_000) <= 2048


def test_the_blurred_clip_lacks_detail_of_the_sharp_one(clips: tuple[Path, Path]) -> None:
    blurred, sharp = (decoded(path) for path in clips)
    shares = [detail(b) / detail(s) for b, s in zip(blurred, sharp, strict=True)]
    assert np.mean(shares) < 0.5
    assert max(shares) < 1
    gaps = [psnr_db(b, s, full_scale=255) for b, s in zip(blurred, sharp, strict=True)]
    assert 22 < np.mean(gaps) < 30
    for b, s in zip(blurred, sharp, strict=True):  # a smear keeps its light
        assert tone_curve().linear(b).mean() == pytest.approx(tone_curve().linear(s).mean(), rel=0.06)


def test_lamps_blink(clips: tuple[Path, Path]) -> None:
    bright = [int((picture.min(2) > 235).sum()) for picture in decoded(clips[1])]
    assert min(bright) < max(bright) / 2
    assert (np.abs(np.diff(bright)) > 60).sum() > NUM_FRAMES / 6  # a lamp is a hundred pixels


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = next(frames())
    monkeypatch.setattr(sample, "frames", lambda: [pair, pair])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(TargetError, match=r"a\.mp4: cannot be written"):
            write_sample(tmp_path / "a.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["a.xyz"], 2, "must end in one of"),
        (["a.webm"], 2, "cannot hold the sample's H.264"),
        (["a.mp4", "--sharp", "a.mp4"], 2, "different files"),
        (["nowhere/a.mp4"], 1, "no such folder"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, args: list[str], code: int, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "concertdeblur.sample", *args], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not list(tmp_path.iterdir())
