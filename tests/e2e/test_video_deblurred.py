"""The way through the networks, with a stand-in for them: what is changed is written right, nothing else is."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from concertdeblur.deblurring.deblurrer import DeblurOptions, DeblurredFrame
from concertdeblur.errors import Interrupted, UsageError
from concertdeblur.frame import Colour, Frame
from concertdeblur.pipelines import deblur_video as pipeline
from concertdeblur.pipelines.deblur_video import Progress, VideoJob, deblur_video
from concertdeblur.runtime import Runtime
from tests.clips import (
    STEP,
    VFR_PTS,
    ClipSpec,
    frames_of,
    make_clip,
    picture,
    planes_of,
    rgb_of,
    same_planes,
    stream_facts,
)

Change = Callable[[int, npt.NDArray[Any]], npt.NDArray[Any] | None]


class FakeDeblurrer:
    """Applies a function to every frame (None: unchanged), looking a few frames ahead as the real one may."""

    name, digest = "fake", "0"

    def __init__(self, change: Change, look_ahead: int = 3, backend: str = "openvino") -> None:
        self.runtime = Runtime(device=torch.device("cpu"), backend=backend, dtype=torch.float32)  # type: ignore[arg-type]
        self._change = change
        self._look_ahead = look_ahead

    def stream(self, frames: Iterable[Frame], options: DeblurOptions) -> Iterator[DeblurredFrame]:
        """As `Deblurrer.stream`."""
        waiting: list[Frame] = []
        numbers = itertools.count()
        for frame in frames:
            waiting.append(frame)
            if len(waiting) > self._look_ahead:
                yield self._made(next(numbers), waiting.pop(0), options)
        for frame in waiting:
            yield self._made(next(numbers), frame, options)

    def _made(self, number: int, frame: Frame, options: DeblurOptions) -> DeblurredFrame:
        assert frame.pixels is not None
        pixels = self._change(number, np.asarray(frame.pixels))
        heat = np.linspace(0, 1, frame.pixels.shape[1], dtype=np.float32)[None].repeat(frame.pixels.shape[0], axis=0)
        return DeblurredFrame(
            source=frame,
            frame=frame if pixels is None else frame.with_pixels(pixels),
            heatmap=heat if options.heatmap else None,
            windows_tried=2,
            windows_accepted=1,
        )


@pytest.fixture(params=["openvino", "torch"])
def use(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[Change], None]:
    """Put a stand-in where the weights are loaded: once with threads around it, once without."""

    def put(change: Change) -> None:
        made = FakeDeblurrer(change, backend=request.param)
        monkeypatch.setattr(pipeline.VideoRun, "_load", lambda _run, _info: made)

    return put


def test_unchanged_frames_keep_their_planes(tmp_path: Path, use: Callable[[Change], None]) -> None:
    use(lambda _number, _pixels: None)
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pts=VFR_PTS, audio="aac"))
    seen: list[Progress] = []
    summary = deblur_video(source, tmp_path / "out.mp4", VideoJob(crf=0), on_progress=seen.append)
    before, after = frames_of(source), frames_of(tmp_path / "out.mp4")
    assert [f.pts for f in after] == list(VFR_PTS)
    assert all(same_planes(a, b) for a, b in zip(before, after, strict=True))
    assert stream_facts(tmp_path / "out.mp4")[1].payloads == stream_facts(source)[1].payloads
    assert (summary.num_frames, summary.windows_tried, summary.windows_accepted) == (12, 24, 12)
    assert summary.runtime.endswith("on CPU in float32")
    assert [p.num_frames for p in seen] == list(range(1, 13))
    assert {p.total_frames for p in seen} == {12}


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("value_range", [1, 2])
def test_pure_colours_come_out_right_in_every_matrix(
    tmp_path: Path, use: Callable[[Change], None], matrix: int, value_range: int
) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 30), (255, 255, 255), (0, 0, 0)]
    use(lambda number, pixels: np.broadcast_to(np.array(colours[number], np.uint8), pixels.shape))
    colour = Colour(primaries=1, transfer=1, matrix=matrix, range=value_range)
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=6, colour=colour))
    deblur_video(source, tmp_path / "out.mp4", VideoJob(crf=0))
    made = frames_of(tmp_path / "out.mp4")
    assert {(f.colorspace, f.color_range, f.color_primaries, f.color_trc) for f in made} == {
        (matrix, value_range, 1, 1)
    }
    for wanted, frame in zip(colours, made, strict=True):
        swscale = {1: 1, 6: 5, 9: 9}[matrix]
        found = rgb_of(frame, matrix=swscale, value_range=value_range)[20, 30].astype(int)
        assert np.abs(found - wanted).max() <= 3


def test_untagged_hd_is_written_as_bt709(tmp_path: Path, use: Callable[[Change], None]) -> None:
    use(lambda _number, pixels: np.broadcast_to(np.array((255, 0, 0), np.uint8), pixels.shape))
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=1, height=720, width=1280))
    deblur_video(source, tmp_path / "out.mp4", VideoJob(crf=0, preset="ultrafast"))
    made = frames_of(tmp_path / "out.mp4")[0]
    assert [int(plane[5, 5]) for plane in planes_of(made)] == pytest.approx([63, 102, 240], abs=1)


def test_pixels_survive_the_way_there_and_back(tmp_path: Path, use: Callable[[Change], None]) -> None:
    seen: list[npt.NDArray[Any]] = []
    use(lambda _number, pixels: seen.append(pixels) or pixels.copy())  # type: ignore[func-returns-value]
    colour = Colour(primaries=1, transfer=1, matrix=1, range=1)
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pixel_format="yuv444p", colour=colour))
    deblur_video(source, tmp_path / "out.mp4", VideoJob(crf=0))
    assert np.abs(seen[3].astype(int) - picture(3, 48, 64)).max() <= 3
    for first, made in zip(frames_of(source), frames_of(tmp_path / "out.mp4"), strict=True):
        for a, b in zip(planes_of(first), planes_of(made), strict=True):
            assert np.abs(a.astype(int) - b).max() <= 1


def test_10_bit_pq_reaches_the_networks_and_comes_back(tmp_path: Path, use: Callable[[Change], None]) -> None:
    seen: list[npt.NDArray[Any]] = []
    use(lambda _number, pixels: seen.append(pixels) or pixels.copy())  # type: ignore[func-returns-value]
    colour = Colour(primaries=9, transfer=16, matrix=9, range=1)
    spec = ClipSpec(num_frames=4, pixel_format="yuv420p10le", colour=colour, codec="ffv1", options={})
    source = make_clip(tmp_path / "in.mkv", spec)
    deblur_video(source, tmp_path / "out.mkv", VideoJob(codec="ffv1"))
    assert {pixels.dtype for pixels in seen} == {np.dtype(np.uint16)}
    assert max(int(pixels.max()) for pixels in seen) > 50_000
    made = frames_of(tmp_path / "out.mkv")
    assert (made[0].color_trc, made[0].format.name) == (16, "yuv420p10le")
    for first, frame in zip(frames_of(source), made, strict=True):
        luma = [planes_of(each)[0].view(np.uint16).astype(int) for each in (first, frame)]
        assert np.abs(luma[0] - luma[1]).max() <= 1


@pytest.mark.parametrize("rotation_deg", [0, 90, -90, 180])
def test_compare_and_heatmap_are_videos_of_their_own(
    tmp_path: Path, use: Callable[[Change], None], rotation_deg: int
) -> None:
    use(lambda _number, pixels: np.full_like(pixels, 250))
    source = make_clip(tmp_path / "in.mp4", ClipSpec(pts=VFR_PTS, audio="aac", rotation_deg=rotation_deg))
    compare, heatmap = tmp_path / "compare.mp4", tmp_path / "heatmap.mkv"
    deblur_video(source, tmp_path / "out.mp4", VideoJob(compare=compare, heatmap=heatmap))
    assert [facts.kind for facts in stream_facts(compare)] == ["video"]
    pairs, heats = frames_of(compare), frames_of(heatmap)
    assert [f.pts for f in pairs] == list(VFR_PTS)
    assert [f.pts for f in heats] == pytest.approx([p / 12.8 for p in VFR_PTS], abs=0.5)
    shown = np.rot90(rgb_of(pairs[0], matrix=5), k=round(pairs[0].rotation / 90))
    upright = np.rot90(picture(0, 48, 64), k=round(pairs[0].rotation / 90))
    assert shown.shape == (upright.shape[0], 2 * upright.shape[1], 3)
    width = upright.shape[1]
    assert np.abs(shown[:, :width].astype(int) - upright).mean() < 12
    assert shown[:, width:].min() > 235
    heat = rgb_of(heats[0], matrix=5).astype(int)
    assert heat[24, 4, 2] > heat[24, 4, 0]  # blue is sharp
    assert heat[24, 56, 0] > heat[24, 56, 2]  # red is blurred


def test_stopping_leaves_nothing_and_says_how_far_it_got(tmp_path: Path, use: Callable[[Change], None]) -> None:
    use(lambda _number, pixels: pixels)
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=60, audio="aac"))
    stop = threading.Event()

    def after_five(progress: Progress) -> None:
        if progress.num_frames == 5:
            stop.set()

    num_threads = threading.active_count()
    job = VideoJob(compare=tmp_path / "compare.mp4")
    with pytest.raises(Interrupted, match=r"stopped after 5 of 60 frames"):
        deblur_video(source, tmp_path / "out.mp4", job, on_progress=after_five, stop=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert threading.active_count() == num_threads


def test_an_error_in_the_networks_leaves_nothing(tmp_path: Path, use: Callable[[Change], None]) -> None:
    def fail(number: int, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if number == 4:
            raise ZeroDivisionError
        return pixels

    use(fail)
    source = make_clip(tmp_path / "in.mp4", ClipSpec())
    with pytest.raises(ZeroDivisionError):
        deblur_video(source, tmp_path / "out.mp4", VideoJob())
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("extra", ["heatmap", "compare"])
def test_extra_videos_need_the_networks(tmp_path: Path, extra: str) -> None:
    with pytest.raises(UsageError, match="strength 0"):
        VideoJob(strength=0, **{extra: tmp_path / "extra.mp4"})  # type: ignore[arg-type]


def test_decord_reads_for_the_networks_too(tmp_path: Path, use: Callable[[Change], None]) -> None:
    use(lambda _number, pixels: np.full_like(pixels, 128))
    source = make_clip(tmp_path / "in.mp4", ClipSpec(audio="aac"))
    deblur_video(source, tmp_path / "out.mp4", VideoJob(reader="decord"))
    assert [f.pts for f in frames_of(tmp_path / "out.mp4")] == [STEP * number for number in range(12)]
    assert stream_facts(tmp_path / "out.mp4")[1].payloads == stream_facts(source)[1].payloads
