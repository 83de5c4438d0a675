"""Which weight set a clip gets."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from concertdeblur import pretrained
from concertdeblur.deblurring import stream_speed
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.deblurring.working_size import working_size
from concertdeblur.errors import UsageError, WeightsError
from concertdeblur.frame import Frame
from concertdeblur.pipelines import quality
from concertdeblur.pipelines.deblur_image import ImageJob
from concertdeblur.pipelines.kept_networks import KeptNetworks
from concertdeblur.pipelines.quality import load_for_clip
from concertdeblur.pipelines.video_job import VideoJob
from tests.networks import SMALL, random_networks


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both shipped sets, with random weights; the best one takes ten seconds for a frame of 2x5 px."""
    for name in ("concert", "concert-fast"):
        pretrained.save_weight_set(
            tmp_path / name, random_networks(scale=0.02), recipe=name, architecture=SMALL,
            brmr=BrmrSettings(), provenance={},
        )  # fmt: skip
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setattr(quality, "seconds_a_frame", lambda *_: 10.0)
    monkeypatch.setattr(quality, "_SLOWEST_S_A_PIXEL", 2.0)
    return tmp_path


def chosen(wanted: pretrained.Quality, *, num_frames: int | None = 10) -> tuple[Deblurrer, list[str]]:
    told: list[str] = []
    made = load_for_clip(
        wanted, device="cpu", backend="torch", num_frames=num_frames, height=2, width=5, on_warning=told.append
    )
    return made, told


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("wanted", "num_frames", "name"),
    [
        ("best", 10**6, "concert"),
        ("fast", 1, "concert-fast"),
        ("auto", 180, "concert"),
        ("auto", 181, "concert-fast"),
        ("auto", None, "concert-fast"),
    ],
)
def test_long_clips_get_the_fast_set_by_themselves(
    wanted: pretrained.Quality, num_frames: int | None, name: str
) -> None:
    made, told = chosen(wanted, num_frames=num_frames)
    assert made.name == name
    assert [("--quality best" in line) for line in told] == ([True] if name != "concert" and wanted == "auto" else [])


def test_how_long_it_would_take_is_told(shipped: Path) -> None:
    assert shipped.is_dir()
    assert "would take about 2.8 hours, so the faster concert-fast is used" in chosen("auto", num_frames=1000)[1][0]
    assert "would take about 33 minutes" in chosen("auto", num_frames=200)[1][0]


def test_a_short_clip_is_not_tried(monkeypatch: pytest.MonkeyPatch, shipped: Path) -> None:
    """On a machine that takes 2 s for a pixel, 90 frames of 10 px take half an hour."""
    tried = list[Deblurrer]()

    def seconds_a_frame(deblurrer: Deblurrer, *_: int) -> float:
        tried.append(deblurrer)
        return 10.0

    assert shipped.is_dir()
    monkeypatch.setattr(quality, "seconds_a_frame", seconds_a_frame)
    assert chosen("auto", num_frames=90)[0].name == "concert"
    assert not tried
    assert chosen("auto", num_frames=91)[0].name == "concert"
    assert len(tried) == 1


def test_without_the_fast_set_there_is_the_best(shipped: Path) -> None:
    (shipped / "concert-fast" / "manifest.toml").unlink()
    made, told = chosen("auto", num_frames=10**6)
    assert (made.name, told) == ("concert", [])
    with pytest.raises(WeightsError, match="concert-fast is not installed; take --quality best"):
        chosen("fast")


def test_a_trial_takes_some_time(monkeypatch: pytest.MonkeyPatch, shipped: Path) -> None:
    monkeypatch.undo()
    deblurrer = pretrained.load(shipped / "concert", device="cpu", backend="torch")
    assert 0 < quality.seconds_a_frame(deblurrer, 48, 64) < 60


def test_large_frames_are_tried_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands at 1 s for each frame of the trial; four times its pixels take four times as long."""
    ticks = itertools.count()
    seen: list[tuple[int, ...]] = []

    class Stub:
        def stream(self, frames: Iterable[Frame], _options: DeblurOptions) -> Iterator[Frame]:
            for frame in frames:
                assert frame.pixels is not None
                seen.append(frame.pixels.shape[:2])
                yield frame

    monkeypatch.setattr(stream_speed, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    for size, tried, seconds in (
        ((720, 1280), (720, 1280), 1.0),
        ((360, 640), (360, 640), 1.0),
        ((1440, 2560), (720, 1280), 4.0),
        ((1920, 1080), (1280, 720), 2.25),
        ((1080, 2560), (720, 1707), 2.2495),  # at 1280x720 px its height would be below 720 px
        ((640, 1920), (555, 1663), 1.3314),
    ):
        assert quality.seconds_a_frame(cast(Deblurrer, Stub()), *size) == pytest.approx(seconds, rel=1e-3)
        assert set(seen) == {tried}
        assert (min(working_size(*size)) < min(size)) == (min(working_size(*tried)) < min(tried))
        seen.clear()


def test_each_size_is_tried_once() -> None:
    kept, tried = KeptNetworks(), list[tuple[int, int]]()

    def measure(_deblurrer: Deblurrer, height: int, width: int) -> float:
        tried.append((height, width))
        return float(height)

    deblurrer = cast(Deblurrer, object())
    assert [kept.measured(deblurrer, size, measure) for size in ((2, 3), (4, 5), (2, 3))] == [2, 4, 2]
    assert tried == [(2, 3), (4, 5)]


@pytest.mark.parametrize("job", [VideoJob, ImageJob])
def test_a_set_and_a_quality_do_not_go_together(job: type[VideoJob] | type[ImageJob]) -> None:
    with pytest.raises(UsageError, match="do not go together"):
        job(weights="mine", quality="fast")
