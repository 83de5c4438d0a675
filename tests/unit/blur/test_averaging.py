"""Averages of consecutive frames: blur that follows what moves."""

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from concertdeblur.blur.averaging import averaged, crispness, timed_pairs
from concertdeblur.blur.capture import CapturedPair
from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import SourceError
from tests.pictures import photograph


def panning_clip(path: Path, *, step_px: int, num_frames: int = 14, soft_px: float = 0, bars_px: int = 0) -> Path:
    """A camera that pans over a photograph by whole pixels, 320x288."""
    wide = photograph(288, 700)
    wide = np.asarray(cv2.GaussianBlur(wide, (0, 0), soft_px), dtype=np.uint8) if soft_px else wide
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 288, "yuv420p"
        for number in range(num_frames):
            frame = np.ascontiguousarray(wide[:, 20 + number * step_px :][:, :320])
            frame[:, :bars_px] = 0
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        output.mux(stream.encode(None))
    return path


def averaged_pairs(
    clip: Path, *, seed: int = 0, max_pairs: int = 64, size_px: int = 128, least_px: int = 128
) -> Iterator[CapturedPair]:
    """Pairs without their times."""
    return (pair for _, pair in timed_pairs(clip, seed=seed, max_pairs=max_pairs, sides_px=(least_px, size_px)))


def detail(picture: Picture, *, axis: int) -> float:
    return float(np.abs(np.diff(picture.astype(float), axis=axis)).mean())


def test_a_pan_blurs_along_its_direction(tmp_path: Path) -> None:
    clip = panning_clip(tmp_path / "pan.mp4", step_px=4)
    pairs = list(averaged_pairs(clip, max_pairs=2, size_px=128))
    assert len(pairs) == 2
    for pair in pairs:
        assert pair.blurred.shape == pair.sharp.shape == (128, 128, 3)
        kept = [detail(pair.blurred, axis=axis) / detail(pair.sharp, axis=axis) for axis in (0, 1)]
        assert kept[1] < 0.85 * kept[0]


def test_the_same_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    clip = panning_clip(tmp_path / "pan.mp4", step_px=4)
    first, again, other = (next(averaged_pairs(clip, seed=seed, max_pairs=1)) for seed in (3, 3, 4))
    assert np.array_equal(first.blurred, again.blurred)
    assert np.array_equal(first.sharp, again.sharp)
    assert not np.array_equal(first.sharp, other.sharp)


@pytest.mark.parametrize(("step_px", "soft_px"), [(0, 0.0), (4, 5.0)])
def test_a_still_or_soft_clip_gives_nothing(tmp_path: Path, step_px: int, soft_px: float) -> None:
    assert not list(averaged_pairs(panning_clip(tmp_path / "clip.mp4", step_px=step_px, soft_px=soft_px)))


def test_frames_in_between_fill_the_path_of_a_lamp() -> None:
    frames = [np.zeros((3, 40, 80), np.float32) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[:, 18:22, 20 + 16 * number : 24 + 16 * number] = 1
    there = np.zeros((40, 80, 2), np.float32)
    there[..., 0] = 16
    mean = averaged(frames, [(there, -there)] * 2)
    assert mean[:, 19, 26:50].min() > 0.7 * mean[:, 19, 26:50].max()  # a streak, not three dots
    assert mean.sum() == pytest.approx(frames[0].sum(), rel=0.05)


def test_crispness_falls_with_blur() -> None:
    luma = np.asarray(cv2.cvtColor(photograph(200, 200), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    soft = [crispness(np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), dtype=np.uint8)) for sigma in (0.5, 1, 2)]
    assert crispness(luma) > soft[0] > 0.23 > soft[1] > soft[2]


def test_what_moved_while_it_was_filmed_is_not_crisp() -> None:
    luma = np.asarray(cv2.cvtColor(photograph(200, 200), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    assert crispness(np.asarray(cv2.blur(luma, (5, 1)), dtype=np.uint8)) < 0.23 < crispness(luma)
    half = luma.copy()
    half[:, 100:] = cv2.blur(luma, (1, 7))[:, 100:]
    moved = np.zeros(luma.shape, dtype=bool)
    moved[:, 100:] = True
    assert crispness(half, moved) < 0.7 * crispness(luma, moved)
    assert crispness(half, ~moved) == pytest.approx(crispness(luma, ~moved), rel=0.1)


def test_a_clip_with_bars_gives_pairs_of_what_is_between_them(tmp_path: Path) -> None:
    clip = panning_clip(tmp_path / "pan.mp4", step_px=4, bars_px=80)
    for pair in averaged_pairs(clip, max_pairs=4, size_px=128):
        assert (np.ptp(pair.sharp, axis=0).max(axis=1) < 6).mean() <= 0.1


def test_a_pair_is_as_large_as_the_clip_allows(tmp_path: Path) -> None:
    clip = panning_clip(tmp_path / "pan.mp4", step_px=4)
    assert next(averaged_pairs(clip, size_px=300, least_px=256)).sharp.shape == (288, 300, 3)


def test_a_clip_smaller_than_the_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="smaller than 512 px"):
        next(averaged_pairs(panning_clip(tmp_path / "clip.mp4", step_px=1, num_frames=2), size_px=512, least_px=512))
