"""What a picture carries besides its pixels; after turning, it says that the pixels are upright."""

import re
import struct
from dataclasses import dataclass, replace

import numpy as np

from concertdeblur.frame import Pixels
from concertdeblur.pictures.formats import Carried, PictureFormat

_ORIENTATION, _EXIF_IFD, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>))[2-8](["'<])""")
# ISO/IEC 23091-2: the numbers that are shown right without a tag (BT.709 or unspecified; gamma, sRGB or unspecified)
_PLAIN_PRIMARIES, _PLAIN_TRANSFERS = (1, 2), (1, 2, 6, 13)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColourNumbers:
    """Colour by the code points of ISO/IEC 23091-2 (cICP in PNG, nclx in AVIF and HEIC)."""

    primaries: int
    transfer: int

    @property
    def is_plain(self) -> bool:
        """Whether a picture without them is shown in the same colours."""
        return self.primaries in _PLAIN_PRIMARIES and self.transfer in _PLAIN_TRANSFERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What a picture carries; bytes are passed on as they are."""

    colour_profile: bytes | None = None  # ICC
    colour_numbers: ColourNumbers | None = None
    exif: bytes | None = None  # begins with TIFF's "II" or "MM"
    xmp: bytes | None = None
    iptc: bytes | None = None  # Photoshop's image resources, as in a JPEG's APP13 after its name
    resolution_dpi: tuple[float, float] | None = None  # across, down
    texts: tuple[tuple[str, str], ...] = ()  # of a PNG: keyword and text
    comment: bytes | None = None  # of a JPEG or GIF
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()  # colour and text of a PNG, for another PNG

    def carried(self) -> tuple[Carried, ...]:
        """The kinds of data that are there."""
        found: dict[Carried, object] = {
            "colour profile": self.colour_profile,
            "colour numbers": self.colour_numbers and not self.colour_numbers.is_plain,
            "EXIF": self.exif,
            "XMP": self.xmp,
            "IPTC": self.iptc,
            "resolution": self.resolution_dpi,
            "text": self.texts,
            "comment": self.comment,
        }
        return tuple(name for name, value in found.items() if value)

    def lost_in(self, target: PictureFormat) -> tuple[Carried, ...]:
        """The kinds of data that a format cannot hold."""
        return tuple(name for name in self.carried() if name not in target.carries)

    def only_colour(self) -> "Metadata":
        """The same without data that do not change how the pixels look."""
        colour = {b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"}
        chunks = tuple(chunk for chunk in self.png_chunks if chunk[0] in colour)
        return Metadata(colour_profile=self.colour_profile, colour_numbers=self.colour_numbers, png_chunks=chunks)

    def upright(self, orientation: int) -> "Metadata":
        """The metadata of the picture after it was turned upright from this EXIF orientation."""
        if orientation == 1:
            return self
        dpi = self.resolution_dpi
        return replace(
            self,
            exif=None if self.exif is None else _upright_exif(self.exif, is_quarter_turn=orientation >= 5),
            xmp=None if self.xmp is None else _XMP_ORIENTATION.sub(rb"\g<1>1\g<2>", self.xmp),
            resolution_dpi=(dpi[1], dpi[0]) if dpi is not None and orientation >= 5 else dpi,
            png_chunks=tuple(chunk for chunk in self.png_chunks if chunk[0] != b"pHYs"),
        )


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels (height, width, ...) as they are to be shown, by EXIF's orientation 1 to 8."""
    turns = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0)  # quarter turns, counter-clockwise
    made = np.rot90(pixels, turns)
    if orientation in (2, 4, 5, 7):
        made = made[:, ::-1]
    return np.ascontiguousarray(made)


def orientation_of(exif: bytes | None) -> int:
    """EXIF's orientation, 1 to 8; 1 if there is none."""
    try:
        tags = _Tags(bytearray(exif or b""))
        position = tags.find(tags.first, _ORIENTATION)
        value = 1 if position is None else tags.number(position)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _upright_exif(exif: bytes, *, is_quarter_turn: bool) -> bytes:
    """The same EXIF with orientation 1. Other bytes stay in their places, since makers' notes need this.

    The thumbnail is not upright, so it is unlinked.
    """
    try:
        tags = _Tags(bytearray(exif))
    except struct.error:
        return exif
    try:
        position = tags.find(tags.first, _ORIENTATION)
        if position is not None:
            tags.set_number(position, 1)
        tags.end_chain(tags.first)
        folder = tags.find(tags.first, _EXIF_IFD)
        if is_quarter_turn and folder is not None:
            inner = tags.number(folder)
            width, height = tags.find(inner, _WIDTH), tags.find(inner, _HEIGHT)
            if width is not None and height is not None:
                tags.exchange(width, height)
    except struct.error:  # it is damaged: the tags that were found are set
        pass
    return bytes(tags.data)


class _Tags:
    """The directories of TIFF tags in EXIF, read and changed in place; `struct.error` where they are damaged."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self._order = ">" if data[:2] == b"MM" else "<"
        (self.first,) = self._read("I", 4)

    def find(self, directory: int, tag: int) -> int | None:
        """The place of a tag's entry."""
        (count,) = self._read("H", directory)
        for position in range(directory + 2, directory + 2 + 12 * count, 12):
            if self._read("H", position)[0] == tag:
                return position
        return None

    def number(self, position: int) -> int:
        """The number in an entry, a SHORT or a LONG."""
        return int(self._read(self._kind(position), position + 8)[0])

    def set_number(self, position: int, value: int) -> None:
        """Write the number of an entry, a SHORT or a LONG."""
        struct.pack_into(self._order + self._kind(position), self.data, position + 8, value)

    def exchange(self, one: int, other: int) -> None:
        """Swap type and value of two entries."""
        mine, yours = self.data[one + 2 : one + 12], self.data[other + 2 : other + 12]
        self.data[one + 2 : one + 12], self.data[other + 2 : other + 12] = yours, mine

    def end_chain(self, directory: int) -> None:
        """Let no other directory follow."""
        (count,) = self._read("H", directory)
        struct.pack_into(self._order + "I", self.data, directory + 2 + 12 * count, 0)

    def _kind(self, position: int) -> str:
        return "I" if self._read("H", position + 2)[0] == 4 else "H"

    def _read(self, kind: str, position: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + kind, self.data, position)
