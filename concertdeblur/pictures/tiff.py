"""TIFF: its directories of tags, and files of one or more pages in any number of bits.

Pillow's classes read and write the tags. But Pillow's writer has no 16-bit colour and no float colour, and OpenCV's has
no tags. So the strips of pixels are written behind the tags here.
"""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from concertdeblur.frame import Pixels
from concertdeblur.pictures.metadata import Metadata
from concertdeblur.pictures.stills import Still

Directory: TypeAlias = ImageFileDirectory_v2  # the tags of a page

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 262, 274
NUM_CHANNELS, PLANAR, EXTRA, SAMPLE_FORMAT = 277, 284, 338, 339
COLOUR_PROFILE, XMP, IPTC, RESOURCES = 34675, 700, 33723, 34377
SUBFILE, DNG_VERSION = 254, 50706
_OFFSETS, _SIZES, _TILE_OFFSETS, _TILE_SIZES = 273, 279, 324, 325
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_INCH, _CM = 2, 3
_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
# tags that say how pixels lie in the file, and tags that are kept in another way
_OF_PIXELS = frozenset(
    {*range(254, 260), *range(262, 267), 273, 274, *range(277, 282), 284, *range(290, 294), 301, 317, *range(320, 326)}
    | {330, 332, 333, 334, *range(336, 348), *range(512, 522), 529, 530, 531, 532, 559}
    | {XMP, IPTC, RESOURCES, COLOUR_PROFILE, 37724, 50341}
)
_STRIP_BYTES = 1 << 20


def is_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF (BigTIFF, too) by its first bytes."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def directories(data: bytes) -> list[Directory]:
    """The directory of tags of every page.

    Raises:
        ValueError: If a directory lies outside the file, or they form a circle.
    """
    big = data[2:4] in (b"+\0", b"\0+")
    found, stream, seen = [], io.BytesIO(data), set()
    directory = Directory(data[: 16 if big else 8])
    while directory.next and directory.next not in seen:
        seen.add(directory.next)
        if directory.next >= len(data):
            raise EOFError("a page lies beyond the end of the file")
        following = Directory(data[: 16 if big else 8])
        stream.seek(directory.next)
        following.load(stream)
        found.append(following)
        directory = following
    if not found:
        raise ValueError("it has no page")
    return found


def first_of(value: Any) -> int:
    """The number of a tag, or the first of several."""
    return int(value[0] if isinstance(value, tuple) else value)


def ends_at(directory: Directory) -> int:
    """The place of the last byte of a page's pixels."""
    ends = [0]
    for offsets, sizes in ((_OFFSETS, _SIZES), (_TILE_OFFSETS, _TILE_SIZES)):
        starts, lengths = directory.get(offsets, ()), directory.get(sizes, ())
        starts = starts if isinstance(starts, tuple) else (starts,)
        lengths = lengths if isinstance(lengths, tuple) else (lengths,)
        ends += [start + length for start, length in zip(starts, lengths, strict=False)]
    return max(ends)


def metadata_of(data: bytes, directory: Directory) -> Metadata:
    """The metadata of a page; its descriptive tags become EXIF."""
    exif = Image.Exif()
    exif.endian = "<" if data[:2] == b"II" else ">"
    for tag, value in directory.items():
        if tag not in _OF_PIXELS and tag not in _FOLDERS:
            exif[tag] = value
    for tag in _FOLDERS:
        if tag in directory and isinstance(directory[tag], int):
            inner = Directory(data[:8], group=tag)
            stream = io.BytesIO(data)
            stream.seek(directory[tag])
            inner.load(stream)
            exif.get_ifd(tag).update(dict(inner))
    return Metadata(
        colour_profile=_as_bytes(directory.get(COLOUR_PROFILE)),
        exif=exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) or exif._ifds else None,
        xmp=_as_bytes(directory.get(XMP)),
        iptc=_as_bytes(directory.get(RESOURCES)) or _as_resource(_as_bytes(directory.get(IPTC))),
        resolution_dpi=_resolution(directory),
    )


def pages(stills: Iterable[Still], metadata: Metadata) -> bytes:
    """The bytes of a file of one or more pages, compressed without loss."""
    made = bytearray(b"II*\0\0\0\0\0")
    link = 4  # the place at which that of the next directory is written
    for still in stills:
        made += b"\0" * (len(made) % 2)
        struct.pack_into("<I", made, link, len(made))
        tags, strips = _page(still, metadata)
        link = len(made) + 2 + 12 * len(tags)
        made += tags.tobytes(len(made))
        for strip in strips:
            made += strip
    return bytes(made)


def _page(still: Still, metadata: Metadata) -> tuple[Directory, list[bytes]]:
    channels = still.interleaved()
    height, width = channels.shape[:2]
    number = 1 if channels.ndim == 2 else channels.shape[2]
    is_float = channels.dtype == np.float32
    rows = max(1, _STRIP_BYTES // (width * number * channels.itemsize))
    strips = [zlib.compress(_differences(channels[y : y + rows])) for y in range(0, height, rows)]
    starts = np.cumsum([0, *(len(strip) for strip in strips)])
    tags = Directory(b"II*\0\0\0\0\0")
    _describe(tags, metadata)
    values: dict[int, tuple[int, object]] = {
        WIDTH: (4, width),
        HEIGHT: (4, height),
        BITS: (3, (channels.itemsize * 8,) * number),
        259: (3, 8),  # deflate
        PHOTOMETRIC: (3, 1 if number < 3 else 2),
        _OFFSETS: (4, tuple(int(start) for start in starts[:-1])),
        NUM_CHANNELS: (3, number),
        278: (4, rows),
        _SIZES: (4, tuple(len(strip) for strip in strips)),
        PLANAR: (3, 1),
        317: (3, 1 if is_float else 2),  # each pixel is stored as its difference from the one to its left
        SAMPLE_FORMAT: (3, (3 if is_float else 1,) * number),
    }
    if still.alpha is not None:
        values[EXTRA] = (3, 2)  # alpha is not multiplied in
    for tag, (kind, value) in values.items():
        tags.tagtype[tag] = kind
        tags[tag] = value
    return tags, strips


def _describe(tags: Directory, metadata: Metadata) -> None:
    if metadata.exif is not None:
        exif = Image.Exif()
        exif.load(metadata.exif)
        for tag, value in exif.items():
            if tag not in _OF_PIXELS:
                tags[tag] = dict(exif.get_ifd(tag)) if tag in _FOLDERS else value
                if tag in _FOLDERS:
                    tags.tagtype[tag] = 4
    for tag, kind, blob in (
        (COLOUR_PROFILE, 7, metadata.colour_profile), (XMP, 1, metadata.xmp), (RESOURCES, 7, metadata.iptc)
    ):  # fmt: skip
        if blob is not None:
            tags.tagtype[tag] = kind
            tags[tag] = blob
    if metadata.resolution_dpi is not None and _X_RESOLUTION not in tags:
        tags[_X_RESOLUTION], tags[_Y_RESOLUTION] = metadata.resolution_dpi
        tags[_UNIT] = _INCH


def _differences(strip: Pixels) -> bytes:
    if strip.dtype == np.float32:
        return np.ascontiguousarray(strip).astype("<f4").tobytes()
    made = strip.copy()
    made[:, 1:] = np.subtract(strip[:, 1:], strip[:, :-1])  # modulo 2^bits, as a reader undoes it
    return made.astype(made.dtype.newbyteorder("<")).tobytes()


def _resolution(directory: Directory) -> tuple[float, float] | None:
    across, down, unit = (directory.get(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION, _UNIT))
    if across is None or down is None or unit not in (None, _INCH, _CM):
        return None
    factor = 2.54 if unit == _CM else 1.0
    return float(across) * factor, float(down) * factor


def _as_resource(iptc: bytes | None) -> bytes | None:
    """IPTC as one of Photoshop's resources, which is how JPEG holds it."""
    return None if iptc is None else b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def _as_bytes(value: object) -> bytes | None:
    if isinstance(value, tuple):
        return b"".join(value) if isinstance(value[0], bytes) else bytes(value)
    return value if isinstance(value, bytes) else None
