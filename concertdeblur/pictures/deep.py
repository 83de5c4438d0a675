"""Pixels with more than 8 bits a channel, read by OpenCV: 16-bit colour of PNG and TIFF, AVIF, float TIFF.

OpenCV gets nothing but the pixels, so that its decoders have nothing to print on standard error.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.frame import Pixels
from concertdeblur.pictures.containers import PNG_SIGNATURE, CutOff, png_chunk, png_chunks
from concertdeblur.pictures.stills import Still, split

_BEFORE_PIXELS = (b"IHDR", b"PLTE")
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # channels of PNG's colour types


def read_png(data: bytes) -> Still:
    """Read a PNG of 16 bits a channel; a colour that it calls transparent becomes alpha.

    Raises:
        CutOff: If its pixels end early.
        ValueError: If they cannot be decoded.
    """
    chunks = list(png_chunks(data))
    first: dict[bytes, bytes] = {}
    for kind, payload in chunks:
        first.setdefault(kind, payload)
    header = first[b"IHDR"]
    colour_type = header[9]
    _check_inflated(header, b"".join(payload for kind, payload in chunks if kind == b"IDAT"))
    needed = [(kind, first[kind]) for kind in _BEFORE_PIXELS if kind in first]  # a second one would be complained about
    needed += [*(chunk for chunk in chunks if chunk[0] == b"IDAT"), (b"IEND", b"")]
    bare = PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in needed)
    channels = _decoded(bare)
    if colour_type in (0, 4):
        channels = channels if channels.ndim == 2 else np.ascontiguousarray(channels[:, :, [0, 3]])
    still = split(channels)
    transparent = first.get(b"tRNS")
    if transparent is None or still.alpha is not None:
        return still
    key = np.frombuffer(transparent, dtype=">u2").astype(np.uint16)
    is_clear = np.all(still.pixels.reshape(*still.pixels.shape[:2], -1) == key, axis=2)
    return Still(pixels=still.pixels, alpha=np.where(is_clear, np.uint16(0), np.uint16(65535)))


def read_tiff(data: bytes, page: int) -> Pixels:
    """Read the channels of a TIFF's page as they are stored, in RGB order with alpha last.

    Raises:
        ValueError: If they cannot be decoded.
    """
    with _quiet():
        is_read, pages = cv2.imdecodemulti(_as_array(data), cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    if not is_read or not pages:
        raise ValueError("its pixels cannot be decoded")
    return _rgb_order(np.asarray(pages[0]))


def read_avif(data: bytes) -> Pixels:
    """Read the first picture of an AVIF, uint8, or uint16 in the file's own 10 or 12 bits; it is not turned.

    Raises:
        ValueError: If it cannot be decoded.
    """
    return _decoded(data)


def encoded(suffix: str, channels: Pixels, options: list[int]) -> bytes:
    """A picture file of channels in RGB order, without metadata."""
    with _quiet():
        is_encoded, data = cv2.imencode(suffix, _rgb_order(channels), options)
    if not is_encoded:
        raise ValueError(f"it cannot be encoded as {suffix}")
    return data.tobytes()


def encoded_with(suffix: str, channels: Pixels, options: list[int], metadata: dict[int, bytes]) -> bytes:
    """A picture file of channels in RGB order with metadata by OpenCV's kinds."""
    with _quiet():
        is_encoded, data = cv2.imencodeWithMetadata(
            suffix, _rgb_order(channels), list(metadata), [_as_array(value) for value in metadata.values()], options
        )
    if not is_encoded:
        raise ValueError(f"it cannot be encoded as {suffix}")
    return data.tobytes()


def _decoded(data: bytes) -> Pixels:
    with _quiet():
        decoded = cv2.imdecode(_as_array(data), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("its pixels cannot be decoded")
    return _rgb_order(np.asarray(decoded))


def _rgb_order(channels: Pixels) -> Pixels:
    """The channels from OpenCV's order to RGB, or back."""
    if channels.ndim == 2 or channels.shape[2] < 3:
        return np.ascontiguousarray(channels)
    order = [2, 1, 0, 3][: channels.shape[2]]
    return np.ascontiguousarray(channels[:, :, order])


def _check_inflated(header: bytes, compressed: bytes) -> None:
    """Check that there are as many bytes as libpng will read, since it prints a message if there are not."""
    width, height, depth_bits, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
    pixel = _CHANNELS[colour_type] * depth_bits // 8
    if interlace:
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
        expected = sum(rows * (1 + columns * pixel) for columns, rows in sizes if columns > 0 and rows > 0)
    else:
        expected = height * (1 + width * pixel)
    inflating, found = zlib.decompressobj(), 0
    while compressed and not inflating.eof:
        found += len(inflating.decompress(compressed, 1 << 20))
        compressed = inflating.unconsumed_tail
    if found + len(inflating.flush()) < expected:
        raise CutOff


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from printing messages about the file on standard error."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def _as_array(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)
