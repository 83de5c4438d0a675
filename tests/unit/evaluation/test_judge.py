"""Which pictures are measured; and the speed of a frame of a video, by a clock that a stub of a deblurrer sets."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.deblurring import stream_speed
from concertdeblur.errors import DatasetError
from concertdeblur.evaluation.contenders import WeightSet
from concertdeblur.evaluation.judge import Judge
from concertdeblur.evaluation.pairs import EvaluationData, PairOptions, find_pairs
from concertdeblur.evaluation.stages import Stages
from concertdeblur.frame import Frame
from tests.pictures import photograph, write_photographs


class Clock:
    """A deblurrer that takes a second for a frame, and nine more for the first two, and the clock that it sets."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.seen: list[npt.NDArray[np.uint8]] = []

    def perf_counter(self) -> float:
        """What the clock shows."""
        return self.now_s

    def stream(self, frames: Iterable[Frame], _options: object) -> Iterator[Frame]:
        """The frames themselves."""
        for frame in frames:
            assert frame.pixels is not None
            self.now_s += 1 if frame.pts > 1 else 10
            self.seen.append(np.asarray(frame.pixels, dtype=np.uint8))
            yield frame


def judge_of(data: Path, told: list[str]) -> Judge:
    return Judge(
        data=find_pairs(data, PairOptions(is_all=True)), weights=cast(WeightSet, None), level=0.5, seed=0,
        stages=Stages(on_progress=lambda _: None, stop=threading.Event()), on_warning=told.append,
    )  # fmt: skip


def test_pictures_that_cannot_be_measured_are_told_and_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    write_photographs(tmp_path)
    whole = (tmp_path / "p1.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert cv2.imwrite(str(tmp_path / "small.png"), photograph(80, 300))
    judge = judge_of(tmp_path, told)
    judge.check()
    assert {pair.picture for pair in judge.data.pairs} == {f"p{number}.png" for number in range(4)}
    assert len(judge.data.pairs) == 4 * 8
    (message,) = told
    assert message.startswith("2 of 6 pictures are skipped: cut.png (")
    assert "small.png (300x80 is too small" in message


def test_of_pairs_only_those_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    for half in ("blur", "sharp"):
        (tmp_path / "test" / half).mkdir(parents=True)
        write_photographs(tmp_path / "test" / half)
    (tmp_path / "test" / "blur" / "p2.png").write_text("no picture")
    judge = judge_of(tmp_path, told)
    judge.check()
    assert [pair.name for pair in judge.data.pairs] == [f"test/blur/p{number}.png" for number in (0, 1, 3)]
    assert [line.split(" (")[0] for line in told] == ["1 of 4 pictures are skipped: test/blur/p2.png"]


def test_a_folder_of_which_nothing_can_be_measured_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), photograph(80, 300))
    with pytest.raises(DatasetError, match="no picture can be measured; 2 of 2 pictures are skipped"):
        judge_of(tmp_path, []).check()


def test_frames_of_a_moving_stream_are_timed_once_it_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tile = Clock(), photograph(256, 256)
    monkeypatch.setattr(stream_speed, "time", clock)
    pair = SimpleNamespace(read=lambda: (tile, tile))
    found = Judge(
        data=cast(EvaluationData, SimpleNamespace(pairs=[pair])),
        weights=cast(WeightSet, SimpleNamespace(deblurrer=lambda: clock)),
        level=0.5, seed=0, stages=Stages(on_progress=lambda _: None, stop=threading.Event()),
    ).frame_speed()  # fmt: skip
    assert (found.seconds.mean, found.seconds.num) == (1, 4)
    assert {frame.shape for frame in clock.seen} == {(720, 1280, 3)}
    for before, now in zip(clock.seen, clock.seen[1:], strict=False):
        assert not np.array_equal(before, now)
        assert np.array_equal(before[:, :1000], now[:, 4:1004])  # it has moved to the right
