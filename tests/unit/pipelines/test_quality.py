"""Which weight set a clip gets."""

from pathlib import Path

import pytest

from concertdeblur import pretrained
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.errors import UsageError, WeightsError
from concertdeblur.pipelines import quality
from concertdeblur.pipelines.deblur_image import ImageJob
from concertdeblur.pipelines.quality import load_for_clip
from concertdeblur.pipelines.video_job import VideoJob
from tests.networks import SMALL, random_networks


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both shipped sets, with random weights; the best one takes a second for a frame of one pixel."""
    for name in ("concert", "concert-fast"):
        pretrained.save_weight_set(
            tmp_path / name, random_networks(scale=0.02), recipe=name, architecture=SMALL,
            brmr=BrmrSettings(), provenance={},
        )  # fmt: skip
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", tmp_path)
    monkeypatch.setattr(quality, "seconds_a_pixel", lambda _: 1.0)
    monkeypatch.setattr(quality, "_SLOWEST_S_A_PIXEL", 2.0)
    return tmp_path


def chosen(wanted: pretrained.Quality, *, num_frames: int | None = 10) -> tuple[Deblurrer, list[str]]:
    told: list[str] = []
    made = load_for_clip(
        wanted, device="cpu", backend="torch", num_frames=num_frames, num_pixels=10, on_warning=told.append
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

    def seconds_a_pixel(deblurrer: Deblurrer) -> float:
        tried.append(deblurrer)
        return 1.0

    assert shipped.is_dir()
    monkeypatch.setattr(quality, "seconds_a_pixel", seconds_a_pixel)
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
    assert 0 < quality.seconds_a_pixel(pretrained.load(shipped / "concert", device="cpu", backend="torch")) < 1e-3


@pytest.mark.parametrize("job", [VideoJob, ImageJob])
def test_a_set_and_a_quality_do_not_go_together(job: type[VideoJob] | type[ImageJob]) -> None:
    with pytest.raises(UsageError, match="do not go together"):
        job(weights="mine", quality="fast")
