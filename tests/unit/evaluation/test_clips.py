"""Warping errors of a clip without truth, against plain means over pairs of frames."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.evaluation import clips
from concertdeblur.evaluation.clips import frames_of, judge_real_clips
from concertdeblur.evaluation.metrics import Frame, Warp, as_float, warp
from concertdeblur.evaluation.report import Report, clip_lines
from concertdeblur.evaluation.stages import Stages
from concertdeblur.frame import Frame as VideoFrame
from tests.clips import ClipSpec, make_clip


class Identity:
    """A deblurrer that leaves frames as they are."""

    def stream(self, frames: Iterable[VideoFrame], _options: object) -> Iterator[SimpleNamespace]:
        """The frames."""
        return (SimpleNamespace(frame=frame) for frame in frames)


@pytest.mark.parametrize("unseen", [(1,), (0, 1, 2)])
def test_pairs_of_frames_that_show_nothing_twice_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unseen: tuple[int, ...]
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", ClipSpec(num_frames=4, height=96, width=128))
    frames = [as_float(frame) for frame in frames_of(clip)]
    numbers = iter(range(3))

    def partly(before: Frame, now: Frame) -> Warp:
        found = warp(before, now)
        return found if next(numbers) not in unseen else Warp(found.at_HW2, np.zeros_like(found.visible_HW))

    monkeypatch.setattr(clips, "warp", partly)
    stages = Stages(on_progress=lambda _: None, stop=threading.Event())
    (found,) = judge_real_clips(cast(Deblurrer, Identity()), [clip], seed=0, stages=stages)
    pairs = [(frames[n], frames[n + 1]) for n in range(3) if n not in unseen]
    errors = [warp(*pair).error(*pair) for pair in pairs]
    if not errors:
        assert (found.given, found.deblurred, found.ratio) == (None, None, None)
        (line,) = clip_lines(cast(Report, SimpleNamespace(steadiness=None, shaking={}, clips=(found,))))
        assert line.startswith("clip.mkv, 4 frames")
        assert line.endswith("it has no warping error, since nothing is seen in two frames")
        return
    assert found.given is not None
    assert found.given.num == 2
    assert found.given.mean == pytest.approx(np.mean(cast(list[float], errors)))
    assert found.ratio == pytest.approx(1)
