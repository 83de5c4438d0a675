"""What goes with the pixels through `image` at strength 0: colours, numbers, and everything beside them."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from concertdeblur.frame import Pixels
from concertdeblur.pictures.containers import PNG_SIGNATURE, nclx_colour, png_chunk, png_chunks, with_nclx_colour
from concertdeblur.pictures.metadata import ColourNumbers
from concertdeblur.pictures.reading import open_picture
from concertdeblur.pipelines.deblur_image import ImageJob, deblur_image
from tests.pictures import photograph

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # one that no writer would invent
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="T"/></x:xmpmeta>'
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif"]


def passed(source: Path, name: str, *, warned: list[str] | None = None, **choices: object) -> Path:
    """The output of `image --strength 0`."""
    target = source.with_name(name)
    job = ImageJob(strength=0, **choices)  # type: ignore[arg-type]
    deblur_image(source, target, job, on_warning=(warned if warned is not None else []).append)
    return target


def shown(path: Path) -> Image.Image:
    """A picture as Pillow reads it; no file stays open."""
    return Image.open(io.BytesIO(path.read_bytes()))


def exif(orientation: int = 1) -> Image.Exif:
    """What a phone writes: place and date in folders of their own, and a maker's note."""
    made = Image.Exif()
    made[271], made[272], made[274] = "Maker", "Phone 9", orientation
    made.get_ifd(0x8769).update({36867: "2024:05:01 20:00:00", 0xA002: 90, 0xA003: 60, 37500: b"note\1\2\3\4"})
    made.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.5), 3: "E", 4: (2.0, 17.0, 40.0)})
    return made


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    """A picture with everything that its format takes."""
    if path.suffix in (".webp", ".avif"):
        options |= {"lossless": True} if path.suffix == ".webp" else {"quality": 100}
    image.save(path, exif=options.pop("exif", exif()).tobytes(), icc_profile=PROFILE, dpi=(300, 300), **options)  # type: ignore[arg-type, attr-defined]
    return path


def described(path: Path) -> dict[str, object]:
    """What Pillow finds beside the pixels."""
    image = shown(path)
    tags = image.getexif()
    return {
        "profile": image.info.get("icc_profile"),
        "make": tags.get(271),
        "model": tags.get(272),
        "orientation": tags.get(274, 1),
        "date": tags.get_ifd(0x8769).get(36867),
        "note": tags.get_ifd(0x8769).get(37500),
        "place": tags.get_ifd(0x8825).get(2),
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_everything_is_kept_between_all_formats(tmp_path: Path, suffix: str, target: str) -> None:
    source = saved(tmp_path / f"in{suffix}", Image.fromarray(photograph(60, 90)))
    warned: list[str] = []
    made = passed(source, f"out{target}", warned=warned)
    assert described(made) == {
        "profile": PROFILE,
        "make": "Maker",
        "model": "Phone 9",
        "orientation": 1,
        "date": "2024:05:01 20:00:00",
        "note": b"note\1\2\3\4",
        "place": (48.0, 51.0, 29.5),
    }
    assert warned == []
    if suffix not in (".webp", ".avif"):  # which have no place for it but EXIF
        info, tags = shown(made).info, shown(made).getexif()
        across = info["dpi"][0] if "dpi" in info else tags[282]
        assert float(across) == pytest.approx(300, abs=0.01)
    if target != ".jpg":
        before = np.asarray(shown(source).convert("RGB")).astype(int)
        after = np.asarray(shown(made).convert("RGB"))
        assert np.abs(before - after).max() <= (3 if ".avif" in (suffix, target) else 0)  # Pillow's AVIF rounds


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_xmp_is_kept_and_told_that_the_picture_is_upright(tmp_path: Path, suffix: str) -> None:
    options: dict[str, object] = {"xmp": XMP}
    if suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": chunks}
    tags = exif(6)
    if suffix == ".tif":
        options, tags[700] = {}, XMP
    source = saved(tmp_path / f"in{suffix}", Image.fromarray(photograph(60, 90)), exif=tags, **options)
    made = open_picture(passed(source, f"out{suffix}"))
    assert made.metadata.xmp is not None
    assert made.metadata.xmp.rstrip(b"\0") == XMP.replace(b'"6"', b'"1"')
    assert (made.height, made.width) == (90, 60)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_whatever_their_channels(
    tmp_path: Path, suffix: str, mode: str, orientation: int
) -> None:
    if suffix == ".jpg" and mode == "RGBA":
        pytest.skip("JPEG has no alpha")
    image = Image.fromarray(photograph(60, 90)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.tile(np.arange(90, dtype=np.uint8), (60, 1))))
    source = saved(tmp_path / f"in{suffix}", image, exif=exif(orientation))
    expected = ImageOps.exif_transpose(shown(source))
    made = shown(passed(source, "out.png"))
    assert made.size == expected.size
    wanted = expected.convert(mode if suffix != ".webp" or mode == "RGBA" else "RGB")
    difference = np.abs(np.asarray(made.convert(wanted.mode)).astype(int) - np.asarray(wanted))
    assert difference.max() <= (3 if suffix == ".avif" else 0)
    assert made.getexif().get(274, 1) == 1
    inner = made.getexif().get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == ((60, 90) if orientation >= 5 else (90, 60))
    assert inner[37500] == b"note\1\2\3\4"


def test_transparent_colours_are_not_multiplied_by_alpha(tmp_path: Path) -> None:
    rgba = np.dstack([photograph(40, 50), np.full((40, 50), 0, np.uint8)])
    rgba[:20, :, 3] = 7
    for suffix in (".tif", ".png", ".webp"):
        options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
        Image.fromarray(rgba).save(tmp_path / f"in{suffix}", **options)  # type: ignore[arg-type]
        for target in (".tif", ".png", ".webp", ".avif"):
            made = np.asarray(shown(passed(tmp_path / f"in{suffix}", f"{suffix[1:]}{target}")))
            assert np.abs(made.astype(int) - rgba).max() <= (3 if target == ".avif" else 0)


def deep(channels: int) -> Pixels:
    """A picture with every kind of number in 16 bits; RGB order, alpha last."""
    made = np.random.default_rng(channels).integers(0, 65536, (40, 50, channels), dtype=np.uint16)
    return made[:, :, 0] if channels == 1 else made


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("target", [".png", ".tif"])
def test_16_bits_keep_their_numbers_and_their_profile(tmp_path: Path, suffix: str, target: str, channels: int) -> None:
    picture = deep(channels)
    order = [2, 1, 0, 3][:channels]
    cv2.imwrite(str(tmp_path / "bare.png"), picture if channels == 1 else picture[:, :, order])
    described_by = passed(tmp_path / "bare.png", f"in{suffix}")
    if suffix == ".png":
        profile = png_chunk(b"iCCP", b"P\0\0" + zlib.compress(PROFILE))
        data = described_by.read_bytes()
        described_by.write_bytes(data[:33] + profile + data[33:])
    made = open_picture(passed(described_by, f"out{target}"))
    assert made.depth_bits == 16
    assert np.array_equal(made.still().interleaved(), picture)
    assert made.metadata.colour_profile == (PROFILE if suffix == ".png" else None)


@pytest.mark.parametrize("target", ["out.png", "out.tif"])
def test_grey_with_alpha_in_16_bits_keeps_its_numbers(tmp_path: Path, target: str) -> None:
    grey, alpha = deep(3)[:, :, 0], deep(3)[:, :, 1]
    rows = np.dstack([grey, alpha]).astype(">u2").reshape(40, -1).view(np.uint8)
    header = np.array([50, 40], ">u4").tobytes() + bytes([16, 4, 0, 0, 0])
    pixels = zlib.compress(np.hstack([np.zeros((40, 1), np.uint8), rows]).tobytes())
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    (tmp_path / "in.png").write_bytes(PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))
    made = open_picture(passed(tmp_path / "in.png", target)).still()
    assert np.array_equal(made.rgb[:, :, 1], grey)
    assert made.alpha is not None
    assert np.array_equal(made.alpha, alpha)


@pytest.mark.parametrize("depth_bits", [10, 12])
def test_deep_avif_keeps_its_numbers(tmp_path: Path, depth_bits: int) -> None:
    picture = np.right_shift(deep(3).astype(np.uint16), 16 - depth_bits)
    options = [cv2.IMWRITE_AVIF_DEPTH, depth_bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    cv2.imwrite(str(tmp_path / "in.avif"), picture, options)
    made = passed(tmp_path / "in.avif", "out.avif")
    assert open_picture(made).depth_bits == depth_bits
    assert np.array_equal(np.asarray(cv2.imread(str(made), cv2.IMREAD_UNCHANGED)), picture)
    spread = open_picture(passed(tmp_path / "in.avif", "out.png")).still().pixels
    assert spread.max() == 65535
    assert np.array_equal(np.rint(spread / 65535 * ((1 << depth_bits) - 1)), picture[:, :, ::-1])


def test_float_pictures_stay_float_in_tiff_and_are_rounded_elsewhere(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).random((40, 50, 3), dtype=np.float32)
    cv2.imwrite(str(tmp_path / "in.tif"), picture)
    made = open_picture(passed(tmp_path / "in.tif", "out.tif"))
    assert np.array_equal(made.still().pixels, picture[:, :, ::-1])
    warned: list[str] = []
    rounded = open_picture(passed(tmp_path / "in.tif", "out.png", warned=warned)).still().pixels
    assert "32 bits" in warned[0]
    assert np.abs(rounded / 65535 - picture[:, :, ::-1]).max() < 1e-5
    Image.fromarray(picture[:, :, 0]).save(tmp_path / "grey.tif")
    assert np.array_equal(open_picture(passed(tmp_path / "grey.tif", "g.tif")).still().pixels, picture[:, :, 0])


def test_the_chunks_of_a_png_are_kept_as_they_are(tmp_path: Path) -> None:
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", "Someone")
    told.add_text("Description", "long " * 30, zip=True)
    told.add_itxt("Title", "Tournée", lang="fr", tkey="Titre")
    told.add(b"gAMA", (45455).to_bytes(4, "big"))
    told.add(b"cICP", bytes((12, 16, 0, 1)))
    Image.fromarray(photograph(40, 50)).save(tmp_path / "in.png", pnginfo=told, dpi=(144, 144))
    for number, bits in (("out.png", 8), ("deep.png", 16)):
        if bits == 16:
            data = (tmp_path / "in.png").read_bytes()
            cv2.imwrite(str(tmp_path / "in16.png"), deep(3))
            bare = (tmp_path / "in16.png").read_bytes()
            kept = b"".join(png_chunk(*c) for c in png_chunks(data) if c[0] not in (b"IHDR", b"IDAT", b"IEND"))
            (tmp_path / "in.png").write_bytes(bare[:33] + kept + bare[33:])
        before = list(png_chunks((tmp_path / "in.png").read_bytes()))
        after = list(png_chunks(passed(tmp_path / "in.png", number).read_bytes()))
        for kind in (b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cICP", b"pHYs"):
            assert [chunk for chunk in after if chunk[0] == kind] == [chunk for chunk in before if chunk[0] == kind]


def test_colour_numbers_go_from_avif_to_png_and_back(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "bare.avif"), photograph(40, 50), [cv2.IMWRITE_AVIF_QUALITY, 100])
    data = with_nclx_colour((tmp_path / "bare.avif").read_bytes(), ColourNumbers(primaries=12, transfer=16))
    (tmp_path / "in.avif").write_bytes(data)
    png = passed(tmp_path / "in.avif", "out.png")
    assert (b"cICP", bytes((12, 16, 0, 1))) in list(png_chunks(png.read_bytes()))
    avif = passed(png, "again.avif")
    assert nclx_colour(avif.read_bytes()) == ColourNumbers(primaries=12, transfer=16)
    warned: list[str] = []
    passed(tmp_path / "in.avif", "out.jpg", warned=warned)
    assert "colour numbers" in warned[0]


def test_metadata_can_be_stripped_but_the_colours_stay(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        source = saved(tmp_path / f"in{suffix}", Image.fromarray(photograph(60, 90)), exif=exif(6))
        made = open_picture(passed(source, f"out{suffix}", strip_metadata=True)).metadata
        assert made.carried() == ("colour profile",)
        assert made.colour_profile == PROFILE


def test_iptc_and_comments_of_a_jpeg_are_kept(tmp_path: Path) -> None:
    resources = b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\5Title"
    payload = b"Photoshop 3.0\0" + resources
    segment = b"\xff\xed" + (len(payload) + 2).to_bytes(2, "big") + payload
    source = saved(tmp_path / "in.jpg", Image.fromarray(photograph(40, 50)), comment=b"loud", extra=segment)
    made = open_picture(passed(source, "out.jpg")).metadata
    assert (made.iptc, made.comment) == (resources, b"loud")
    assert open_picture(passed(source, "out.tif")).metadata.iptc == resources
    assert shown(passed(source, "out.png")).info["Comment"] == "loud"


def test_jpeg_quality_is_a_choice(tmp_path: Path) -> None:
    Image.fromarray(photograph(200, 200)).save(tmp_path / "in.png")
    sizes = [passed(tmp_path / "in.png", f"{q}.jpg", jpeg_quality=q).stat().st_size for q in (40, 80, 95, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 4


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "LAB", "I;16", "LA"])
def test_other_kinds_of_pixels_come_out_as_they_are_shown(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(photograph(60, 90))
    suffix = ".tif" if mode in ("LAB", "CMYK") else ".png"
    match mode:
        case "I;16":
            image = Image.fromarray(deep(1))
        case "LAB":
            srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
            assert converted is not None
            image = converted
        case _:
            image = image.convert(mode)
    image.save(tmp_path / f"in{suffix}")
    warned: list[str] = []
    made = shown(passed(tmp_path / f"in{suffix}", "out.png", warned=warned))
    if mode in ("CMYK", "LAB"):
        assert "converted to sRGB" in warned[0]
        assert np.abs(np.asarray(made).astype(int) - photograph(60, 90)).mean() < 8
        profile = ImageCms.ImageCmsProfile(io.BytesIO(made.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
    elif mode == "I;16":
        assert np.array_equal(np.asarray(made), deep(1))
    else:
        wanted = image.convert("L" if mode == "1" else "RGB" if mode == "P" else mode)
        assert np.array_equal(np.asarray(made), np.asarray(wanted))
        assert warned == []


def test_a_colour_that_is_called_transparent_becomes_alpha(tmp_path: Path) -> None:
    picture = photograph(40, 50)
    picture[:10] = (9, 8, 7)
    Image.fromarray(picture).save(tmp_path / "in.png", transparency=(9, 8, 7))
    made = np.asarray(shown(passed(tmp_path / "in.png", "out.png")))
    assert made.shape == (40, 50, 4)
    assert not made[:10, :, 3].any()
    assert (made[10:, :, 3] == 255).all()


def test_the_profile_of_grey_is_not_put_on_colours(tmp_path: Path) -> None:
    grey = bytearray(PROFILE)
    grey[16:20] = b"GRAY"
    Image.fromarray(photograph(40, 50)).convert("L").save(tmp_path / "in.png", icc_profile=bytes(grey))
    warned: list[str] = []
    assert "icc_profile" not in shown(passed(tmp_path / "in.png", "out.webp", warned=warned)).info
    assert "colour profile of grey" in warned[0]
    assert shown(passed(tmp_path / "in.png", "out.jpg")).info["icc_profile"] == bytes(grey)


def test_a_second_picture_inside_a_jpeg_is_named(tmp_path: Path) -> None:
    stream = io.BytesIO()
    first, second = (Image.fromarray(photograph(60, 90)) for _ in range(2))
    first.save(stream, format="MPO", save_all=True, append_images=[second])
    (tmp_path / "in.jpg").write_bytes(stream.getvalue())
    warned: list[str] = []
    assert shown(passed(tmp_path / "in.jpg", "out.jpg", warned=warned)).format == "JPEG"
    assert "gain map" in warned[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_that_a_tiff_has_multiplied_by_alpha_are_divided(tmp_path: Path, dtype: type) -> None:
    full = int(np.iinfo(dtype).max)
    colours = photograph(40, 50).astype(np.int64) * (full // 255)
    multiplied: Pixels = np.dstack([np.rint(colours / 3), np.full((40, 50), full // 3)]).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"], byteorder=">")
    made = open_picture(passed(tmp_path / "in.tif", "out.tif")).still()
    assert np.abs(made.pixels.astype(int) - colours).max() <= 3
    assert made.alpha is not None
    assert (made.alpha == full // 3).all()


def test_white_that_is_zero_stays_white(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.array([[0, 65535, 1000]], np.uint16), photometric="miniswhite")
    assert open_picture(passed(tmp_path / "in.tif", "out.tif")).still().pixels.tolist() == [[65535, 0, 64535]]


@pytest.mark.parametrize("depth_bits", [1, 2, 4])
def test_a_grey_of_few_bits_that_is_clear_stays_clear(tmp_path: Path, depth_bits: int) -> None:
    header = (8).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes((depth_bits, 0, 0, 0, 0))
    row = np.array([0, 1, 1, 0, 1, 0, 0, 1], np.uint8)  # of samples
    bits = np.unpackbits(row[:, None], axis=1)[:, -depth_bits:]
    packed = zlib.compress(b"\0" + np.packbits(bits).tobytes())
    chunks = ((b"IHDR", header), (b"tRNS", b"\0\1"), (b"IDAT", packed), (b"IEND", b""))
    source = tmp_path / "in.png"
    source.write_bytes(PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks))
    still = open_picture(passed(source, "out.png")).still()
    assert still.pixels[0].tolist() == (row * (255 // (2**depth_bits - 1))).tolist()
    assert still.alpha is not None
    assert still.alpha[0].tolist() == np.where(row == 1, 0, 255).tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_exif_that_nothing_can_read_is_left_out_and_said(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in.jpg"
    Image.fromarray(photograph(20, 30)).save(source, exif=b"Exif\0\0hello")
    warned: list[str] = []
    made = passed(source, f"out{suffix}", warned=warned)
    assert warned == ["in.jpg: its EXIF is damaged, and is left out"]
    assert open_picture(made).metadata.exif is None


@pytest.mark.parametrize("name", ["in.jp2", "in.ppm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bits_of_a_jpeg_2000_or_ppm_that_are_rounded_are_said(tmp_path: Path, name: str, dtype: type) -> None:
    picture: Pixels = photograph(40, 60).astype(dtype) * dtype(257 if dtype is np.uint16 else 1)
    cv2.imwrite(str(tmp_path / name), picture)
    warned: list[str] = []
    passed(tmp_path / name, "out.png", warned=warned)
    told = f"{name}: its 16 bits a channel are rounded to 8; convert it to a 16-bit png or tif first"
    assert warned == ([told] if dtype is np.uint16 else [])
