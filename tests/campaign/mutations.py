"""Damage to files: of any bytes, and of a container's own structure (boxes, elements, packets, chunks)."""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Mutation = tuple[bytes, str]  # the damaged file, and what was done in words
_EXTREMES = (0, 1, 2, 0x7FFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def damaged(data: bytes, suffix: str, draw: random.Random) -> Mutation:
    """A file damaged once or a few times; by its structure where that is known, every second time."""
    said = []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        structural = _STRUCTURAL.get(suffix)
        if structural is not None and draw.random() < 0.55:
            made = structural(data, draw)
            data, told = made if made is not None else _by_bytes(data, draw)
        else:
            data, told = _by_bytes(data, draw)
        said.append(told)
    return data, ", ".join(said)


def _by_bytes(data: bytes, draw: random.Random) -> Mutation:
    if len(data) < 2:
        return data + b"\0", "one byte more"
    return draw.choice(_BYTEWISE)(data, draw)


def _span(data: bytes, draw: random.Random) -> tuple[int, int]:
    """Somewhere, of any size: short as often as long; ends and beginnings as often as the middle."""
    size = max(1, min(len(data), int(2 ** draw.uniform(0, 12))))
    start = draw.choice((draw.randrange(len(data)), draw.randrange(min(len(data), 600)), max(0, len(data) - size)))
    return start, min(len(data), start + size)


def _flipped(data: bytes, draw: random.Random) -> Mutation:
    made, count = bytearray(data), draw.choice((1, 2, 8, 40))
    reach = draw.choice((len(data), len(data), min(len(data), 600)))
    for _ in range(count):
        made[draw.randrange(reach)] ^= 1 << draw.randrange(8)
    return bytes(made), f"{count} bits of the first {reach} bytes flipped"


def _noisy(data: bytes, draw: random.Random) -> Mutation:
    start, stop = _span(data, draw)
    return data[:start] + draw.randbytes(stop - start) + data[stop:], f"noise from {start} to {stop}"


def _zeroed(data: bytes, draw: random.Random) -> Mutation:
    start, stop = _span(data, draw)
    return data[:start] + bytes(stop - start) + data[stop:], f"zeros from {start} to {stop}"


def _cut(data: bytes, draw: random.Random) -> Mutation:
    stop = draw.randrange(1, len(data))
    return data[:stop], f"cut off at {stop} of {len(data)}"


def _removed(data: bytes, draw: random.Random) -> Mutation:
    start, stop = _span(data, draw)
    return data[:start] + data[stop:], f"without {start} to {stop}"


def _doubled(data: bytes, draw: random.Random) -> Mutation:
    start, stop = _span(data, draw)
    return data[:stop] + data[start:stop] + data[stop:], f"{start} to {stop} twice"


def _swapped(data: bytes, draw: random.Random) -> Mutation:
    a, b, c = sorted(draw.randrange(len(data)) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:], f"{a} to {b} and {b} to {c} in turned order"


_BYTEWISE: tuple[Callable[[bytes, random.Random], Mutation], ...] = (
    _flipped, _flipped, _noisy, _zeroed, _cut, _removed, _doubled, _swapped,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A box, element or chunk: where it lies, and where its payload does."""

    name: str
    start: int
    payload: int
    stop: int
    size_at: int
    size_format: str  # of struct; empty: EBML's own


def _of_pieces(data: bytes, draw: random.Random, pieces: list[Piece]) -> Mutation | None:
    """Damage that any tree of sized pieces can have."""
    if not pieces:
        return None
    piece = draw.choice(pieces)
    whole = data[piece.start : piece.stop]
    match draw.randrange(6):
        case 0:
            return data[: piece.start] + data[piece.stop :], f"without {piece.name}"
        case 1:
            return data[: piece.stop] + whole + data[piece.stop :], f"{piece.name} twice"
        case 2:
            return _with_size(data, piece, draw)
        case 3:
            other = draw.choice(pieces)
            return data[: other.start] + whole + data[other.start :], f"a copy of {piece.name} before {other.name}"
        case _:
            return _with_extreme(data, piece, draw)


def _with_size(data: bytes, piece: Piece, draw: random.Random) -> Mutation:
    size = draw.choice((*_EXTREMES, 7, 8, piece.stop - piece.start + draw.choice((-8, -1, 1, 8, 1000))))
    made = bytearray(data)
    if piece.size_format:
        struct.pack_into(piece.size_format, made, piece.size_at, size & 0xFFFFFFFF)
    else:
        length = piece.payload - piece.size_at
        mask = (1 << 7 * length) - 1
        made[piece.size_at : piece.payload] = (size & mask | 1 << 7 * length).to_bytes(length, "big")
    return bytes(made), f"{piece.name} says size {size}"


def _with_extreme(data: bytes, piece: Piece, draw: random.Random) -> Mutation:
    """A number in the payload, maybe a count, a time scale, a width or a flag, gets a value at its limits."""
    made, length = bytearray(data), piece.stop - piece.payload
    if not length:
        return data[: piece.start] + data[piece.stop :], f"without {piece.name}"
    width = draw.choice([w for w in (1, 2, 4, 8) if w <= length])
    at = piece.payload + draw.randrange(min(length, 120) - width + 1 if length >= width else 1)
    if piece.size_format and width > 1 and draw.random() < 0.8:
        at = piece.payload + (at - piece.payload) // width * width
    value = draw.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    made[at : at + width] = value.to_bytes(width, "little" if piece.size_format == "<I" else "big")
    return bytes(made), f"{piece.name} has {value:#x} at its byte {at - piece.payload}"


_BOXES_OF_BOXES = frozenset(
    ["moov", "trak", "mdia", "minf", "dinf", "stbl", "edts", "udta", "mvex", "moof", "traf", "meta", "ilst"]
)


def boxes(data: bytes, start: int = 0, stop: int | None = None, above: str = "") -> Iterator[Piece]:
    """Every box of an mp4, mov, heic or avif, outer ones before inner ones."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, start)
        name = kind.decode("latin-1")
        end = start + size if size >= 8 else stop
        payload = start + 8
        if end > stop:
            return
        yield Piece(name=f"{above}{name}", start=start, payload=payload, stop=end, size_at=start, size_format=">I")
        if name in _BOXES_OF_BOXES:
            yield from boxes(data, payload + 4 * (name == "meta"), end, f"{above}{name}/")
        start = end


_EBML_MASTERS = frozenset(
    (0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB, 0xB7,
     0x114D9B74, 0x4DBB, 0x1043A770, 0x45B9, 0xB6, 0x80, 0x1254C367, 0x7373, 0x63C0, 0x67C8, 0x55B0)
)  # fmt: skip


def elements(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
    """Every element of a Matroska or WebM file."""
    stop = len(data) if stop is None else stop
    while start + 2 <= stop:
        id_length = 9 - data[start].bit_length() if data[start] else 9
        if id_length > 4 or start + id_length >= stop:
            return
        kind = int.from_bytes(data[start : start + id_length], "big")
        size_at = start + id_length
        size_length = 9 - data[size_at].bit_length() if data[size_at] else 9
        payload = size_at + size_length
        if size_length > 8 or payload > stop:
            return
        mask = (1 << 7 * size_length) - 1
        size = int.from_bytes(data[size_at:payload], "big") & mask
        end = stop if size == mask else min(stop, payload + size)
        yield Piece(name=f"element {kind:#x}", start=start, payload=payload, stop=end, size_at=size_at, size_format="")
        if kind in _EBML_MASTERS:
            yield from elements(data, payload, end)
        start = end


def chunks(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
    """Every chunk of a RIFF file: avi, webp."""
    stop = len(data) if stop is None else stop
    while start + 8 <= stop:
        kind, size = struct.unpack_from("<4sI", data, start)
        end = min(stop, start + 8 + size + size % 2)
        name = kind.decode("latin-1")
        yield Piece(name=f"chunk {name}", start=start, payload=start + 8, stop=end, size_at=start + 4, size_format="<I")
        if name in ("RIFF", "LIST"):
            yield from chunks(data, start + 12, end)
        start = end


def png_chunks(data: bytes) -> Iterator[Piece]:
    """Every chunk of a PNG, whose checksum is then wrong, as damage makes it."""
    start = 8
    while start + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        end = min(len(data), start + 12 + size)
        yield Piece(name=f"chunk {kind.decode('latin-1')}", start=start, payload=start + 8, stop=end,
                    size_at=start, size_format=">I")  # fmt: skip
        start = end


def jpeg_segments(data: bytes) -> Iterator[Piece]:
    """Every segment of a JPEG until its scan; its size is half of what is called one here."""
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] not in (0xDA, 0xD9):
        end = min(len(data), start + 2 + int.from_bytes(data[start + 2 : start + 4], "big"))
        yield Piece(name=f"segment {data[start + 1]:#x}", start=start, payload=start + 4, stop=end,
                    size_at=start, size_format=">I")  # fmt: skip
        start = end


def tiff_directory(data: bytes) -> Iterator[Piece]:
    """Every entry of the first directory of a little-endian TIFF."""
    at = int.from_bytes(data[4:8], "little")
    if data[:2] != b"II" or at + 2 > len(data):
        return
    for number in range(int.from_bytes(data[at : at + 2], "little")):
        start = at + 2 + 12 * number
        if start + 12 <= len(data):
            yield Piece(name=f"tag {int.from_bytes(data[start : start + 2], 'little')}", start=start, payload=start,
                        stop=start + 12, size_at=start + 4, size_format="<I")  # fmt: skip


_PACKET = 188


def _of_packets(data: bytes, draw: random.Random) -> Mutation | None:
    """A transport stream's packets lost, doubled, swapped, or with their headers changed."""
    count = len(data) // _PACKET
    if count < 2:
        return None
    packets = [data[i * _PACKET : (i + 1) * _PACKET] for i in range(count)]
    first, second = draw.randrange(count), draw.randrange(count)
    match draw.randrange(6):
        case 0:
            del packets[first]
            told = f"without packet {first}"
        case 1:
            packets.insert(first, packets[second])
            told = f"packet {second} again before {first}"
        case 2:
            packets[first], packets[second] = packets[second], packets[first]
            told = f"packets {first} and {second} swapped"
        case 3:
            packets[first] = b"\x46" + packets[first][1:]
            told = f"packet {first} without its sync byte"
        case _:
            at = draw.randrange(1, 24)  # flags, stream, counter, and the times behind them
            made = bytearray(packets[first])
            made[at] = draw.choice((0, 0xFF, made[at] ^ 1 << draw.randrange(8)))
            packets[first] = bytes(made)
            told = f"packet {first} has {made[at]:#x} at its byte {at}"
    return b"".join(packets) + data[count * _PACKET :], told


def _structural(find: Callable[[bytes], Iterator[Piece]]) -> Callable[[bytes, random.Random], Mutation | None]:
    return lambda data, draw: _of_pieces(data, draw, list(find(data)))


_STRUCTURAL: dict[str, Callable[[bytes, random.Random], Mutation | None]] = {
    ".ts": _of_packets,
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".avif", ".heic"), _structural(boxes)),
    **dict.fromkeys((".mkv", ".webm"), _structural(elements)),
    **dict.fromkeys((".avi", ".webp"), _structural(chunks)),
    ".png": _structural(png_chunks),
    ".jpg": _structural(jpeg_segments),
    ".tif": _structural(tiff_directory),
}
