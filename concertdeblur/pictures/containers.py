"""The chunks and boxes of picture files, which say whether a file is complete and of what kind it is."""

import struct
import zlib
from collections.abc import Iterator

from concertdeblur.pictures.metadata import ColourNumbers

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})
_HEIF_SEQUENCES = frozenset({b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


class CutOff(Exception):
    """A file ends before what it announces."""


def check_whole(data: bytes) -> None:
    """Check whether a file is as long as its container says. JPEG, GIF and BMP are checked when they are decoded.

    Raises:
        CutOff: If it is shorter.
    """
    if data.startswith(PNG_SIGNATURE):
        if all(kind != b"IEND" for kind, _ in png_chunks(data)):
            raise CutOff
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise CutOff
    elif data[4:8] == b"ftyp":
        _check_boxes(data)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the kind and payload of each chunk of a PNG.

    Raises:
        CutOff: If the file ends within a chunk.
        ValueError: If a checksum is wrong.
    """
    position = len(PNG_SIGNATURE)
    while position < len(data):
        if position + 12 > len(data):
            raise CutOff
        size, kind = struct.unpack_from(">I4s", data, position)
        payload = data[position + 8 : position + 8 + size]
        if position + 12 + size > len(data):
            raise CutOff
        if (
            kind in (b"IHDR", b"IDAT", b"PLTE")
            and zlib.crc32(kind + payload) != struct.unpack_from(">I", data, position + 8 + size)[0]
        ):
            raise ValueError("a checksum is wrong")
        yield kind, payload
        if kind == b"IEND":
            return
        position += 12 + size


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """The bytes of a PNG's chunk."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def is_heif(data: bytes) -> bool:
    """Whether a file is HEIC, or another picture in HEIF except AVIF."""
    brands = _brands(data)
    return bool(brands & (_HEIF_BRANDS | _HEIF_SEQUENCES)) and not brands & _AVIF_BRANDS


def is_heif_sequence(data: bytes) -> bool:
    """Whether a HEIF is animated: it has a track beside its pictures, or instead of them."""
    return data[8:12] in _HEIF_SEQUENCES


def is_video(data: bytes) -> bool:
    """Whether a file is a clip in one of the common containers."""
    is_iso = data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and not _brands(data) & (
        _HEIF_BRANDS | _HEIF_SEQUENCES | _AVIF_BRANDS
    )
    return is_iso or data[:4] == b"\x1aE\xdf\xa3" or (data[:4] == b"RIFF" and data[8:12] == b"AVI ")


def nclx_colour(data: bytes) -> ColourNumbers | None:
    """The colour numbers of an AVIF."""
    position = data.find(b"colrnclx")
    if position < 0 or position + 12 > len(data):
        return None
    primaries, transfer = struct.unpack_from(">HH", data, position + 8)
    return ColourNumbers(primaries=primaries, transfer=transfer)


def with_nclx_colour(data: bytes, colour: ColourNumbers) -> bytes:
    """The bytes of an AVIF with other colour numbers; its matrix stays."""
    position = data.find(b"colrnclx")
    if position < 0:
        return data
    return data[: position + 8] + struct.pack(">HH", colour.primaries, colour.transfer) + data[position + 12 :]


def _brands(data: bytes) -> set[bytes]:
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 512, len(data))
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _check_boxes(data: bytes) -> None:
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:  # 0 means: to the end of the file
            return
        if size < 8 or position + size > len(data):
            raise CutOff
        position += size
