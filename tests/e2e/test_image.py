"""Pictures in, pictures out: formats, depth, transparency, bad input."""

import errno
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from concertdeblur import pretrained
from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.cam import Area
from concertdeblur.deblurring.deblurrer import DeblurredPicture
from concertdeblur.errors import ConcertDeblurError, SourceError, TargetError, UsageError, WeightsError
from concertdeblur.pipelines.deblur_image import ImageJob, LoadedNetworks, deblur_image
from concertdeblur.pretrained import save_weight_set
from tests.commands import run_here
from tests.networks import SMALL, random_networks
from tests.pictures import photograph


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    save_weight_set(
        folder, random_networks(), recipe="random", architecture=SMALL, brmr=BrmrSettings(), provenance={"seed": 0}
    )
    return str(folder)


def job(weights: str, **choices: object) -> ImageJob:
    return ImageJob(weights=weights, device="cpu", backend="torch", **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "dtype", "suffix"),
    [
        ((60, 90, 3), np.uint8, ".png"),
        ((60, 90, 4), np.uint8, ".png"),
        ((60, 90), np.uint8, ".png"),
        ((60, 90, 3), np.uint16, ".tif"),
        ((61, 91, 3), np.uint8, ".webp"),
        ((1, 1, 3), np.uint8, ".bmp"),
    ],
)
def test_channels_and_depth_are_kept(
    weights: str, tmp_path: Path, shape: tuple[int, ...], dtype: Any, suffix: str
) -> None:
    full = 255 if dtype is np.uint8 else 65535
    picture: Any = np.random.default_rng(0).integers(0, full + 1, shape).astype(dtype)
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    cv2.imwrite(str(source), picture)
    summary = deblur_image(source, target, job(weights))
    made = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert made is not None
    assert (made.shape, made.dtype) == (picture.shape, picture.dtype)
    assert (summary.height, summary.width) == shape[:2]
    assert summary.windows_accepted == len(summary.windows) <= summary.windows_tried
    if len(shape) == 3 and shape[2] == 4:
        assert np.array_equal(made[..., 3], picture[..., 3])


def test_strength_zero_is_lossless_and_needs_no_weights(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), photograph(50, 70))
    deblur_image(tmp_path / "in.png", tmp_path / "out.png", ImageJob(strength=0, weights="nothing"))
    made = cv2.imread(str(tmp_path / "out.png"))
    assert made is not None
    assert np.array_equal(made, photograph(50, 70))


def test_colours_are_not_swapped(weights: str, tmp_path: Path) -> None:
    """A red picture with detail stays red."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[..., 2] = 180 + photograph(64, 64)[..., 0] // 8
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    deblur_image(tmp_path / "in.png", tmp_path / "out.png", job(weights, strength=0.1))
    made = cv2.imread(str(tmp_path / "out.png"))
    assert made is not None
    assert made[..., 2].mean() > 3 * made[..., 0].mean()


def test_heatmap_is_written(weights: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), photograph(70, 90))
    deblur_image(tmp_path / "in.png", tmp_path / "out.png", job(weights, heatmap=tmp_path / "heat.png"))
    heat = cv2.imread(str(tmp_path / "heat.png"))
    assert heat is not None
    assert heat.shape == (70, 90, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_before_and_after_stand_side_by_side(weights: str, tmp_path: Path, suffix: str, dtype: type) -> None:
    scale = 257 if dtype is np.uint16 else 1
    cv2.imwrite(str(tmp_path / "in.png"), photograph(70, 90).astype(dtype) * scale)
    both, heat = tmp_path / f"both{suffix}", tmp_path / "heat.png"
    deblur_image(tmp_path / "in.png", tmp_path / "out.png", job(weights, compare=both, heatmap=heat))
    after = cv2.imread(str(tmp_path / "out.png"))
    pair = cv2.imread(str(both))
    assert pair is not None
    assert after is not None
    assert heat.exists()
    expected = np.concatenate([photograph(70, 90), after], axis=1)
    assert np.abs(pair.astype(int) - expected).mean() < (3 if suffix == ".jpg" else 1)  # cv2 rounds 16 bits down


def test_windows_end_where_the_picture_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks see the picture padded; nobody else does."""
    whole = Area(y=0, x=0, height=208, width=304)
    made = DeblurredPicture(pixels=photograph(200, 300), heatmap=None, windows_tried=(whole,), windows_kept=(whole,))
    monkeypatch.setattr(LoadedNetworks, "deblur", lambda _networks, _pixels, _options: made)
    cv2.imwrite(str(tmp_path / "in.png"), photograph(200, 300))
    summary = deblur_image(tmp_path / "in.png", tmp_path / "out.png", ImageJob())
    assert summary.windows == ((0, 0, 200, 300),)


def test_what_a_format_cannot_hold_is_said(weights: str, tmp_path: Path) -> None:
    warnings: list[str] = []
    cv2.imwrite(str(tmp_path / "in.png"), np.full((16, 16, 4), 40000, np.uint16))
    deblur_image(tmp_path / "in.png", tmp_path / "out.jpg", job(weights), on_warning=warnings.append)
    assert len(warnings) == 2
    assert "16 bits" in warnings[0]
    assert "transparency" in warnings[1]


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("missing", SourceError),
        ("empty", SourceError),
        ("text", SourceError),
        ("folder", SourceError),
        ("suffix", UsageError),
        ("exists", TargetError),
        ("same", TargetError),
        ("no folder", TargetError),
        ("weights", WeightsError),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    weights: str, tmp_path: Path, case: str, kind: type[ConcertDeblurError]
) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    cv2.imwrite(str(source), photograph(16, 16))
    choices = job(weights if case != "weights" else "nothing")
    match case:
        case "missing":
            source = tmp_path / "none.png"
        case "empty":
            source.write_bytes(b"")
        case "text":
            source.write_text("not a picture")
        case "folder":
            source = tmp_path
        case "suffix":
            target = tmp_path / "out.xyz"
        case "exists":
            target.write_text("precious")
        case "same":
            target.symlink_to(source)
            choices = job(weights, overwrite=True)
        case "no folder":
            target = tmp_path / "none" / "out.png"
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(kind) as raised:
        deblur_image(source, target, choices)
    assert "\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if case == "exists":
        assert target.read_text() == "precious"


def test_the_weight_set_reads_back(weights: str) -> None:
    manifest = pretrained.read_manifest(Path(weights))
    assert manifest.architecture == SMALL
    assert manifest.brmr == BrmrSettings()


def test_all_outputs_of_a_picture_appear_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photograph(20, 30)).save(tmp_path / "in.png")
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "both" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    words = ("image", "in.png", "out.png", "--compare", "both.png", "--strength", "0")
    ended = run_here(*words, folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]
    monkeypatch.undo()
    assert run_here(*words, folder=tmp_path).returncode == 0
