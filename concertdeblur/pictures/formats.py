"""What each picture format can hold; this is known before work starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from concertdeblur.errors import UsageError

Carried = Literal["colour profile", "colour numbers", "EXIF", "XMP", "IPTC", "resolution", "text", "comment"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFormat:
    """A format that pictures are written in."""

    name: str
    suffixes: tuple[str, ...]  # the usual one first
    most_side_px: int | None = None  # None: more than memory holds
    depth_bits: int = 8  # most bits a channel; 32 is float
    has_alpha: bool = True
    has_grey: bool = True
    holds: Literal["one", "animation", "pages"] = "one"  # the most that it holds
    carries: frozenset[Carried] = frozenset()


_PHOTO: frozenset[Carried] = frozenset({"colour profile", "EXIF", "XMP", "resolution"})

# sides: WebP has 14 bits; libjpeg takes 65,500 of JPEG's 65,535; libavif opens no more than 32,768
FORMATS = (
    PictureFormat(
        name="JPEG", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"), most_side_px=65_500, has_alpha=False,
        carries=_PHOTO | {"IPTC", "comment"},
    ),
    PictureFormat(
        name="PNG", suffixes=(".png", ".apng"), most_side_px=1_000_000, depth_bits=16, holds="animation",
        carries=_PHOTO | {"colour numbers", "text", "comment"},
    ),
    PictureFormat(
        name="WebP", suffixes=(".webp",), most_side_px=16_383, has_grey=False, holds="animation", carries=_PHOTO
    ),
    PictureFormat(
        name="TIFF", suffixes=(".tif", ".tiff"), depth_bits=32, holds="pages", carries=_PHOTO | {"IPTC"}
    ),
    PictureFormat(
        name="AVIF", suffixes=(".avif",), most_side_px=32_768, depth_bits=12, holds="animation",
        carries=_PHOTO | {"colour numbers"},
    ),
    PictureFormat(name="BMP", suffixes=(".bmp",), has_alpha=False, carries=frozenset({"resolution"})),
)  # fmt: skip
_BY_SUFFIX = {suffix: one for one in FORMATS for suffix in one.suffixes}

WRITTEN_SUFFIXES = frozenset(_BY_SUFFIX)
READ_ONLY_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".mpo", ".gif", ".jp2", ".ppm", ".pgm"})
READ_SUFFIXES = WRITTEN_SUFFIXES | READ_ONLY_SUFFIXES

# a suffix of unsupported files -> what it is, and what converts it into a file that can be read
_NOT_READ = {
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
        "a camera's raw picture; develop it to TIFF or JPEG first, for example with darktable or RawTherapee",
    ),
    ".jxl": "JPEG XL, which is not supported; convert it to PNG or JPEG first, for example with djxl",
    ".svg": "a drawing, not a picture of pixels; export it to PNG first",
    ".pdf": "a document; export its pictures first, for example with pdfimages",
    ".psd": "a Photoshop document; export it to TIFF or PNG first",
}


def format_of(path: Path) -> PictureFormat:
    """The format that a file name asks for.

    Raises:
        UsageError: If it ends in no suffix of a format that pictures are written in.
    """
    found = _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        usual = ", ".join(sorted(suffix for one in FORMATS for suffix in one.suffixes[:2]))
        hint = " HEIC is read but not written;" if path.suffix.lower() in (".heic", ".heif", ".hif") else ""
        raise UsageError(f"{path.name}:{hint} a picture's name must end in one of {usual}")
    return found


def is_picture_name(path: Path) -> bool:
    """Whether a file in a folder is meant as a picture."""
    return path.suffix.lower() in READ_SUFFIXES and not path.name.startswith(".")


def is_stray_name(path: Path) -> bool:
    """Whether a file is one that computers leave beside pictures: `._x.jpg`, `.DS_Store`, `Thumbs.db`."""
    return path.name.startswith("._") or path.name.lower() in (".ds_store", "thumbs.db", "desktop.ini")


def why_not_read(path: Path) -> str | None:
    """What an unsupported file is, by its name, and what to do with it; None if the name says nothing."""
    return _NOT_READ.get(path.suffix.lower())


def default_suffix(path: Path) -> str:
    """The suffix of an output that the user does not name: the picture's own, if that format is written."""
    suffix = path.suffix.lower()
    if suffix in WRITTEN_SUFFIXES:
        return path.suffix
    if suffix in (".heic", ".heif", ".hif", ".mpo"):
        return ".jpg"
    return ".png"  # png holds animations, too
