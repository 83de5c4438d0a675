"""Animations, pages, and what a format cannot hold: processed whole, or refused before work."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin

from concertdeblur.errors import TargetError, UsageError
from concertdeblur.pictures.formats import format_of
from concertdeblur.pictures.reading import open_picture
from concertdeblur.pipelines.deblur_image import ImageJob, deblur_image
from tests.pictures import photograph
from tests.unit.pictures.test_kept import passed

FRAMES = [Image.fromarray(np.roll(photograph(40, 60), 9 * n, axis=1)) for n in range(4)]
TIMES_MS = [100, 250, 40, 300]


def animation(path: Path, **choices: object) -> Path:
    options: dict[str, object] = {".webp": {"lossless": True}, ".avif": {"quality": 100}}.get(path.suffix, {})  # type: ignore[assignment]
    FRAMES[0].save(path, save_all=True, append_images=FRAMES[1:], duration=TIMES_MS, **(options | choices))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png", ".avif", ".gif"])
@pytest.mark.parametrize("target", [".webp", ".png", ".avif"])
def test_every_picture_of_an_animation_is_processed_and_keeps_its_time(
    tmp_path: Path, suffix: str, target: str
) -> None:
    source = animation(tmp_path / f"in{suffix}", **({"loop": 3} if suffix != ".avif" else {}))
    made = open_picture(passed(source, f"out{target}"))
    before = open_picture(source)
    assert (made.holds, made.num_pictures) == ("animation", 4)
    for was, now, time_ms in zip(before.stills(), made.stills(), TIMES_MS, strict=True):
        assert now.duration_ms == pytest.approx(time_ms)
        assert np.abs(was.rgb.astype(int) - now.rgb).max() <= (4 if target == ".avif" else 0)
    if ".avif" not in (suffix, target):
        assert made.loop == (4 if suffix == ".gif" else 3)


@pytest.mark.parametrize(("loop", "words"), [(3, "plays for ever; it was to play 3 times"), (0, "")])
def test_how_often_an_avif_plays_is_said(tmp_path: Path, loop: int, words: str) -> None:
    told: list[str] = []
    passed(animation(tmp_path / "in.webp", loop=loop), "out.avif", warned=told)
    assert " ".join(told).endswith(words)
    assert bool(told) == bool(words)


def test_a_gif_plays_once_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert open_picture(animation(tmp_path / "once.gif")).loop == 1
    assert open_picture(animation(tmp_path / "ever.gif", loop=0)).loop == 0


def test_a_png_keeps_the_picture_for_those_who_show_no_animations(tmp_path: Path) -> None:
    FRAMES[3].save(tmp_path / "in.png", save_all=True, default_image=True, append_images=FRAMES[:2], duration=[100, 50])
    made = open_picture(passed(tmp_path / "in.png", "out.png"))
    assert (made.has_default_picture, made.num_pictures) == (True, 3)
    assert [still.duration_ms for still in made.stills()][1:] == [100, 50]
    assert np.array_equal(made.still().pixels, np.asarray(FRAMES[3]))


@pytest.mark.parametrize("target", [".jpg", ".tif", ".bmp"])
def test_an_animation_is_refused_by_what_cannot_hold_it(tmp_path: Path, target: str) -> None:
    with pytest.raises(TargetError, match=r"animation of 4 pictures.*\.png, \.webp, \.avif can"):
        passed(animation(tmp_path / "in.gif"), f"out{target}")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_page_is_processed(tmp_path: Path, dtype: type) -> None:
    pages: list[npt.NDArray[Any]] = [
        np.asarray(frame).astype(dtype) * (257 if dtype is np.uint16 else 1) for frame in FRAMES
    ]
    pages[2] = pages[2][:30, :, 0]  # another size, and grey
    cv2.imwritemulti(str(tmp_path / "in.tif"), [page[..., ::-1] if page.ndim == 3 else page for page in pages])
    made = open_picture(passed(tmp_path / "in.tif", "out.tif"))
    assert (made.holds, made.num_pictures) == ("pages", 4)
    for page, still in zip(pages, made.stills(), strict=True):
        assert np.array_equal(page, still.pixels)
    for target in (".png", ".jpg", ".webp"):
        with pytest.raises(TargetError, match=r"4 pictures, which \.\w+ cannot hold; \.tif can"):
            passed(tmp_path / "in.tif", f"out{target}")


def test_a_smaller_copy_inside_a_tiff_is_no_page(tmp_path: Path) -> None:
    small = FRAMES[0].resize((6, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    stream = io.BytesIO()
    FRAMES[0].save(stream, "TIFF", save_all=True, append_images=[small])
    (tmp_path / "in.tif").write_bytes(stream.getvalue())
    warned: list[str] = []
    made = Image.open(io.BytesIO(passed(tmp_path / "in.tif", "out.png", warned=warned).read_bytes()))
    assert np.array_equal(np.asarray(made), np.asarray(FRAMES[0]))
    assert "smaller copies" in warned[0]


def test_a_comparison_of_many_pictures_is_refused(tmp_path: Path) -> None:
    source = animation(tmp_path / "in.webp")
    with pytest.raises(UsageError, match="holds 4 pictures"):
        passed(source, "out.webp", compare=tmp_path / "both.png")


@pytest.mark.parametrize(
    ("size", "suffix", "words"),
    [
        ((16_384, 8), ".webp", "WebP holds 16383 px"),
        ((8, 16_384), ".webp", "16384"),
        ((65_501, 2), ".jpg", "JPEG holds 65500 px"),
        ((32_769, 2), ".avif", "AVIF holds 32768 px"),
    ],
)
def test_a_side_that_is_too_long_is_refused_before_work(
    tmp_path: Path, size: tuple[int, int], suffix: str, words: str
) -> None:
    Image.new("RGB", size, (200, 9, 9)).save(tmp_path / "in.png")
    with pytest.raises(TargetError, match=words) as raised:
        deblur_image(tmp_path / "in.png", tmp_path / f"out{suffix}", ImageJob(weights="nothing is loaded"))
    assert ".png" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize("suffix", [".webp", ".jpg", ".avif"])
def test_the_longest_side_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    most = format_of(Path(f"x{suffix}")).most_side_px
    assert most is not None
    Image.new("RGB", (most, 1), (200, 9, 9)).save(tmp_path / "in.png")
    assert open_picture(passed(tmp_path / "in.png", f"out{suffix}")).width == most


def test_a_comparison_is_twice_as_wide(tmp_path: Path) -> None:
    Image.new("RGB", (9000, 2)).save(tmp_path / "in.png")
    with pytest.raises(TargetError, match="18000x2"):
        passed(tmp_path / "in.png", "out.png", compare=tmp_path / "both.webp")


@pytest.mark.parametrize("quality", [90, 100])
def test_a_jpeg_holds_noise(tmp_path: Path, quality: int) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (300, 300, 3), np.uint8) * 255
    cv2.imwrite(str(tmp_path / "in.png"), noise)
    made = passed(tmp_path / "in.png", "out.jpg", jpeg_quality=quality)
    assert open_picture(made).still().pixels.shape == noise.shape


@pytest.mark.parametrize("kind", ["IPTC", "comment"])
def test_what_is_too_long_for_a_jpeg_is_left_out_and_said(tmp_path: Path, kind: str) -> None:
    source, image = tmp_path / "in", Image.fromarray(photograph(20, 30))
    if kind == "IPTC":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[34377] = 7
        tags[34377] = b"8BIM\x04\x04\0\0" + (70_000).to_bytes(4, "big") + bytes(70_000)
        image.save(source, format="TIFF", tiffinfo=tags)
    else:
        image.save(source, format="GIF", comment=b"x" * 70_000)
    warned: list[str] = []
    assert open_picture(passed(source, "out.jpg", warned=warned)).metadata.carried() == ()
    assert warned == [f"in: .jpg cannot hold its {kind}; left out"]
