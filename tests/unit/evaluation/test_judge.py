"""The speed of a frame of a video, by a clock that a stub of a deblurrer sets forward."""

import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.deblurring import stream_speed
from concertdeblur.evaluation.contenders import WeightSet
from concertdeblur.evaluation.judge import Judge
from concertdeblur.evaluation.pairs import EvaluationData
from concertdeblur.evaluation.stages import Stages
from concertdeblur.frame import Frame
from tests.pictures import photograph


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
