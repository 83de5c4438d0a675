"""Files that are cut off, damaged, or something else: one sentence that says which, and nothing on standard error."""

import os
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from concertdeblur.errors import SourceError
from concertdeblur.pictures.reading import open_picture
from concertdeblur.pictures.stills import rgb_8_bits
from tests.commands import run
from tests.pictures import photograph

KINDS = [
    "a.jpg",
    "progressive.jpg",
    "a.png",
    "deep.png",
    "a.webp",
    "a.tif",
    "deep.tif",
    "lzw.tif",
    "a.avif",
    "a.gif",
    "a.bmp",
]


def written(folder: Path, name: str) -> Path:
    """A whole picture of one kind."""
    path, image = folder / name, Image.fromarray(photograph(120, 160))
    match name:
        case "deep.png" | "deep.tif":
            cv2.imwrite(str(path), photograph(120, 160).astype(np.uint16) * 257)
        case "progressive.jpg":
            image.save(path, progressive=True)
        case "lzw.tif":
            image.save(path, compression="tiff_lzw")
        case _:
            image.save(path)
    return path


def decoded(path: Path) -> None:
    for still in open_picture(path).stills():
        rgb_8_bits(still)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_cut_off_is_named_as_that(
    tmp_path: Path, name: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, name)
    decoded(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(SourceError, match="cut off") as raised:
        decoded(path)
    assert str(path) in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_one_sentence_at_most(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes changed at random: whatever a decoder makes of it, no other error and no chatter."""
    path = written(tmp_path, name)
    data = path.read_bytes()
    draw, told = np.random.default_rng(0), []
    for _ in range(25):
        changed = bytearray(data)
        for place in draw.integers(0, len(data), 8):
            changed[place] = draw.integers(0, 256)
        path.write_bytes(changed)
        try:
            decoded(path)
        except SourceError as error:
            told.append(str(error))
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in told)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.dng", b"II*\0" + b"\0" * 60, "raw picture; develop it"),
        ("a.jxl", b"\xff\x0a" + b"\0" * 60, "JPEG XL, which is not supported; convert it"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + b"\0" * 60, "is a video; use 'concertdeblur video'"),
        ("a.jpg", b"\x1aE\xdf\xa3" + b"\0" * 60, "is a video"),
        ("a.jpg", b"not a picture", "cannot be read as a picture"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "cut off or damaged|is cut off|is damaged"),
        ("a.heic", b"\0\0\0\x18ftyphevc\0\0\0\0msf1hevc", "plays; convert it to a video"),
    ],
)
def test_what_is_not_supported_is_named_with_what_to_do(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=words):
        decoded(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.array([[-0.5, 2.0]], np.float32), "from -0.5 to 2"), (np.array([[np.nan, 0]], np.float32), "float samples"),
     (np.array([[0, 70000]], np.int32), "from 0 to 70000")],
)  # fmt: skip
def test_samples_out_of_range_are_refused_with_their_range(
    tmp_path: Path, values: npt.NDArray[np.generic], words: str
) -> None:
    Image.fromarray(values).save(tmp_path / "in.tif")
    with pytest.raises(SourceError, match=words):
        decoded(tmp_path / "in.tif")


def test_libraries_keep_their_warnings_to_themselves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A profile that libpng finds fault with, a TIFF tag that libtiff does not know, in 16 bits."""
    cv2.imwrite(str(tmp_path / "in.png"), photograph(20, 30).astype(np.uint16) * 257)
    data = (tmp_path / "in.png").read_bytes()
    bad = b"iCCP" + b"x\0\0" + b"not zlib"  # and a wrong checksum
    (tmp_path / "in.png").write_bytes(data[:33] + struct.pack(">I", len(bad) - 4) + bad + b"\0\0\0\0" + data[33:])
    decoded(tmp_path / "in.png")
    cv2.imwrite(str(tmp_path / "in.tif"), photograph(20, 30).astype(np.uint16) * 257)
    decoded(tmp_path / "in.tif")
    assert capfd.readouterr() == ("", "")


def test_a_chunk_that_is_there_twice_counts_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), photograph(20, 30).astype(np.uint16) * 257)
    whole, data = open_picture(tmp_path / "in.png").still().pixels, (tmp_path / "in.png").read_bytes()
    end = data.rindex(b"IEND") - 4
    (tmp_path / "in.png").write_bytes(data[:end] + data[8:33] + data[end:])
    assert np.array_equal(open_picture(tmp_path / "in.png").still().pixels, whole)
    assert capfd.readouterr() == ("", "")


def test_a_tiff_of_thousands_of_channels_is_refused_in_silence(tmp_path: Path) -> None:
    """In a process of its own: pytest listens to what libraries log, so that they write nothing here."""
    Image.fromarray(photograph(20, 30)).save(tmp_path / "in.tif")
    data = bytearray((tmp_path / "in.tif").read_bytes())
    data[data.index(struct.pack("<HHII", 277, 3, 1, 3)) + 9] = 8  # 2,051 samples a pixel
    (tmp_path / "in.tif").write_bytes(data)
    ended = run("image", tmp_path / "in.tif", tmp_path / "out.png", "--strength", 0)
    assert ended.returncode == 1
    assert re.fullmatch(r"Error: .*in\.tif: .*\n", ended.stderr)


def test_xmp_that_swells_is_damage(tmp_path: Path) -> None:
    Image.fromarray(photograph(20, 30)).save(tmp_path / "in.png")
    data = (tmp_path / "in.png").read_bytes()
    told = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(80 * 2**20))
    chunk = struct.pack(">I", len(told)) + b"iTXt" + told + struct.pack(">I", zlib.crc32(b"iTXt" + told))
    (tmp_path / "in.png").write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(SourceError, match="damaged"):
        decoded(tmp_path / "in.png")


def test_a_picture_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    Image.fromarray(photograph(20, 30)).save(tmp_path / "really.png")
    (tmp_path / "really.png").rename(tmp_path / "named.jpg")
    assert np.array_equal(open_picture(tmp_path / "named.jpg").still().pixels, photograph(20, 30))


def test_200_megapixels_open(tmp_path: Path) -> None:
    Image.new("1", (16_320, 12_240)).save(tmp_path / "in.png")
    assert open_picture(tmp_path / "in.png").width == 16_320


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.float16, "float samples of 16 bits"),
        (np.int16, "signed samples of 16 bits"),
        (np.uint32, "samples of 32 bits"),
    ],
)
def test_kinds_of_samples_that_are_not_supported_are_named(tmp_path: Path, dtype: type, words: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", photograph(20, 30).astype(dtype), photometric="rgb")
    with pytest.raises(SourceError, match=words):
        decoded(tmp_path / "in.tif")


def test_grey_samples_that_are_not_supported_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", photograph(20, 30)[:, :, 0].astype(np.float16))
    with pytest.raises(SourceError, match="has float samples of 16 bits; 8 and 16 bits"):
        decoded(tmp_path / "in.tif")


def test_planes_of_16_bits_are_refused_with_what_to_do(tmp_path: Path) -> None:
    planes = photograph(20, 30).astype(np.uint16).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "in.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(SourceError, match="save it as RGB or RGBA, interleaved"):
        decoded(tmp_path / "in.tif")


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", Path("/dev/zero")):
        with pytest.raises(SourceError, match="is no regular file; name a picture's file"):
            open_picture(path)
