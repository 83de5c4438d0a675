"""A HEIC file as a phone writes it: an HEVC picture in boxes, shown turned or mirrored as the container says."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt


def heic(picture: npt.NDArray[np.uint8], *, turns: int = 0, mirror: int | None = None, deep: bool = False) -> bytes:
    """A picture of even sides, (height, width, 3) RGB, nearly without loss.

    Args:
        picture: As it is stored.
        turns: Quarter turns counter-clockwise to show it upright (irot).
        mirror: 0 top for bottom, 1 left for right (imir); applied after the turns.
        deep: In 10 bits instead of 8.
    """
    sample, settings = _hevc(picture, "yuv444p10le" if deep else "yuv444p")
    height, width = picture.shape[:2]
    properties = [
        _box(b"hvcC", settings),
        _box(b"ispe", struct.pack(">III", 0, width, height)),
        _box(b"pixi", struct.pack(">IB3B", 0, 3, *(3 * [10 if deep else 8]))),
        _box(b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, 1, 0x80)),
    ]
    if turns:
        properties.append(_box(b"irot", bytes([turns])))
    if mirror is not None:
        properties.append(_box(b"imir", bytes([mirror])))
    links = bytes([0x81, *range(2, len(properties) + 1)])
    start = _box(b"ftyp", b"heic" + struct.pack(">I", 0) + b"mif1heic")
    item = _box(b"infe", struct.pack(">IHH4s", 0x02000000, 1, 0, b"hvc1") + b"\0")

    def meta(offset: int) -> bytes:
        location = struct.pack(">IBBHHHHII", 0, 0x44, 0, 1, 1, 0, 1, offset, len(sample))
        return _box(
            b"meta",
            struct.pack(">I", 0)
            + _box(b"hdlr", struct.pack(">II4s3I", 0, 0, b"pict", 0, 0, 0) + b"\0")
            + _box(b"pitm", struct.pack(">IH", 0, 1))
            + _box(b"iloc", location)
            + _box(b"iinf", struct.pack(">IH", 0, 1) + item)
            + _box(
                b"iprp",
                _box(b"ipco", b"".join(properties)) + _box(b"ipma", struct.pack(">IIHB", 0, 1, 1, len(links)) + links),
            ),
        )

    offset = len(start) + len(meta(0)) + 8
    return start + meta(offset) + _box(b"mdat", sample)


def _hevc(picture: npt.NDArray[np.uint8], pixel_format: str) -> tuple[bytes, bytes]:
    """One coded picture and its decoder's settings, as an mp4 holds both."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("hevc", rate=1, options={"x265-params": "qp=4:bframes=0:log-level=none"})
        track.height, track.width = picture.shape[:2]
        track.pix_fmt, track.codec_tag = pixel_format, "hvc1"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        shown = frame.reformat(format=pixel_format, dst_colorspace=1, dst_color_range=2)
        shown.pts, shown.time_base = 0, Fraction(1)
        for packet in (*track.encode(shown), *track.encode(None)):
            container.mux(packet)
    data = stream.getvalue()
    at = data.index(b"hvcC")
    settings = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
    stream.seek(0)
    with av.open(stream, "r") as written:
        sample = next(bytes(packet) for packet in written.demux(video=0) if packet.size)
    return sample, settings


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload
