"""Segments of one video: each is encoded into its own file of packets, and all are joined at the end, not decoded.

A file of packets is no clip: it holds what an encoder gave, with the time stamps in the stream's own time base, so that
nothing is rounded on the way. Each segment begins with a key frame, since its encoder began there.
"""

import contextlib
import hashlib
import io
import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet

from concertdeblur.errors import ConcertDeblurError, TargetError
from concertdeblur.frame import Frame, StreamInfo
from concertdeblur.media.colour import PlaneConverter
from concertdeblur.media.containers import MUX_ERRORS
from concertdeblur.media.encoding import Encoding, written_range
from concertdeblur.media.output_file import target_error
from concertdeblur.media.pyav_writer import PyavWriter, add_encoder, encoder_input, open_encoder
from concertdeblur.media.reader import closing_on_error
from concertdeblur.media.reordering import decode_stamps_of_runs

_MAGIC = b"concertdeblur packets 1\n"
_HEAD = struct.Struct("<32s")  # sha256 of the encoder's extradata
_PACKET = struct.Struct("<qqI?")  # pts, duration, bytes, whether it is a key frame


class SegmentWriter:
    """Frames -> a file of packets, with an encoder like that of `PyavWriter`; used from one thread at a time."""

    def __init__(self, path: Path, info: StreamInfo, encoding: Encoding) -> None:
        """Open encoder and file.

        Raises:
            OSError: If the file cannot be written.
            UnsupportedStreamError: If the encoder does not open.

        """
        self._time_base = info.time_base
        self._converter = PlaneConverter(info, encoding.pixel_format, value_range=written_range(info, encoding))
        self._durations: dict[int, int] = {}
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")
        self._container = av.open(io.BytesIO(), "w", format=encoding.format_name)  # it sets the encoder up
        with closing_on_error(self.close):
            self._stream = add_encoder(self._container, info, encoding)
            open_encoder(self._stream, info, encoding)
            self._put(_MAGIC + _HEAD.pack(_digest(self._stream)))

    def write(self, frame: Frame) -> None:
        """Encode one frame; its pts must be larger than the last one's."""
        if frame.duration:
            self._durations[frame.pts] = frame.duration
        self._store(self._stream.encode(encoder_input(frame, self._converter, self._time_base)))

    def finish(self) -> str:
        """Drain the encoder; the file is on the disk then, whatever happens to the machine.

        Returns:
            The file's sha256.

        """
        self._store(self._stream.encode(None))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Release everything, also in the middle; safe after `finish`."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(*MUX_ERRORS):  # some muxers complain where nothing was muxed
            self._container.close()

    def _store(self, packets: "list[Packet[Any]]") -> None:
        for packet in packets:
            assert packet.pts is not None
            duration = self._durations.pop(packet.pts, 0) or packet.duration or 0
            self._put(_PACKET.pack(packet.pts, duration, packet.size, packet.is_keyframe))
            self._put(bytes(packet))

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


def join(writer: PyavWriter, part: Path, paths: Sequence[Path], time_base: Fraction) -> None:
    """Complete an output with the packets of its segments.

    Args:
        writer: Of the output, set up as the segments' encoders were.
        part: The output's temporary file, named in errors.
        paths: The segments' files, in order.
        time_base: Of the video stream.

    Raises:
        TargetError: If a segment was made by another encoder, or the output cannot be written.

    """
    wanted = hashlib.sha256(writer.extradata).digest()
    try:
        if any(_extradata_digest(path) != wanted for path in paths):
            raise TargetError("the encoder has changed since the segments were made; --restart makes them anew")
        writer.join(_in_one_time(paths, time_base))
    except ConcertDeblurError:
        raise
    except OSError as error:
        raise target_error(part, error) from error


def _in_one_time(paths: Sequence[Path], time_base: Fraction) -> "Iterator[Packet[Any]]":
    """All packets of all segments, with new dts: each segment's encoder began anew, so its own ones overlap."""
    stamps = decode_stamps_of_runs(lambda: map(_coded_stamps, paths))
    for path in paths:
        for pts, duration, is_keyframe, data in _packets(path):
            made: Packet[Any] = Packet(data)
            made.time_base, made.is_keyframe = time_base, is_keyframe
            made.pts, made.dts, made.duration = pts, next(stamps), duration
            yield made


def _coded_stamps(path: Path) -> npt.NDArray[np.int64]:
    """The pts of a segment's packets, in coding order."""
    return np.fromiter((pts for pts, *_ in _packets(path, with_data=False)), np.int64)


def _packets(path: Path, *, with_data: bool = True) -> Iterator[tuple[int, int, bool, bytes]]:
    """(pts, duration, whether it is a key frame, data) of each packet of a file, in coding order."""
    with path.open("rb") as file:
        file.seek(len(_MAGIC) + _HEAD.size)
        while head := file.read(_PACKET.size):
            pts, duration, size, is_keyframe = _PACKET.unpack(head)
            if with_data:
                yield pts, duration, is_keyframe, file.read(size)
            else:
                file.seek(size, os.SEEK_CUR)
                yield pts, duration, is_keyframe, b""


def _extradata_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(len(_MAGIC))
        (digest,) = _HEAD.unpack(file.read(_HEAD.size))
    return bytes(digest)


def _digest(stream: av.VideoStream) -> bytes:
    return hashlib.sha256(stream.codec_context.extradata or b"").digest()
