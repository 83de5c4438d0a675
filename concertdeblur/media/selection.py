"""Which video stream of a clip is meant, and what its header says."""

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from concertdeblur.errors import SourceError, UsageError
from concertdeblur.frame import StreamInfo
from concertdeblur.media.colour import colour_of
from concertdeblur.media.hdr import hdr_metadata
from concertdeblur.media.pixel_formats import sampling_of
from concertdeblur.media.side_data import side_data_of

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


def is_cover_art(stream: Stream) -> bool:
    """Whether a video stream is a still picture that belongs to the clip."""
    return stream.type == "video" and bool(stream.disposition & _COVER)


def select_video(container: InputContainer, path: Path, index: int | None) -> av.VideoStream:
    """The stream to deblur: the one asked for, or the largest.

    Raises:
        SourceError: If the clip has no video that can be decoded.
        UsageError: If the index is no video stream's.

    """
    videos = [stream for stream in container.streams.video if not is_cover_art(stream)]
    if not videos:
        raise SourceError(f"{path}: has no video stream")
    if index is None:
        chosen = max(videos, key=_area)
    else:
        by_index = {stream.index: stream for stream in videos}
        if index not in by_index:
            known = ", ".join(map(str, by_index))
            raise UsageError(f"{path}: stream {index} is no video stream; its video streams are {known}")
        chosen = by_index[index]
    if chosen.codec_context is None:
        raise SourceError(f"{path}: the codec of video stream {chosen.index} is unknown")
    if not chosen.codec_context.width or not chosen.codec_context.height:
        size = f"{chosen.codec_context.width}x{chosen.codec_context.height}"
        raise SourceError(f"{path}: video stream {chosen.index} has no readable picture size ({size})")
    return chosen


def describe(stream: av.VideoStream, first: av.VideoFrame) -> StreamInfo:
    """What is known of a stream once its first frame is decoded."""
    assert stream.time_base is not None
    matrix = display_matrix_of(first)
    aspect = stream.sample_aspect_ratio
    return StreamInfo(
        index=stream.index,
        height=first.height,
        width=first.width,
        time_base=stream.time_base,
        rate=plausible_rate(stream),
        num_frames_hint=num_frames_hint(stream),
        bit_depth=sampling_of(first.format.name).bits,
        pixel_format=first.format.name,
        colour=colour_of(first, stream),
        rotation_deg=first.rotation,
        display_matrix=matrix,
        sample_aspect_ratio=Fraction(aspect) if aspect else None,
        codec=stream.codec_context.codec.canonical_name,
        hdr=hdr_metadata(first),
    )


def display_matrix_of(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of the frame's display matrix; None if it is to be shown as it is."""
    for side_data in side_data_of(frame):
        if side_data.type.name == "DISPLAYMATRIX":
            return struct.unpack("<9i", bytes(side_data)[:36])
    return None


def plausible_rate(stream: av.VideoStream) -> Fraction | None:
    """Nominal frames a second; if the container states its time base as that, the average rate."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= 1000:
            return Fraction(rate)
    return None


def hides_alpha(stream: av.VideoStream) -> bool:
    """Whether a WebM stream has transparency, which FFmpeg's own VP8 and VP9 decoders ignore."""
    return any(key.lower() == "alpha_mode" and value == "1" for key, value in stream.metadata.items())


def promised_end_s(stream: av.VideoStream) -> Fraction | None:
    """When a stream's last packet ends according to the container; None if it does not say for this stream alone."""
    has_index = bool(stream.frames) or "mp4" in cast(InputContainer, stream.container).format.name.split(",")
    if stream.duration and has_index and stream.time_base is not None:  # mp4: of the file, or of its fragments
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    told = next((value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    if found := _CLOCK.fullmatch(told):  # Matroska's statistics
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    return None


def num_frames_hint(stream: av.VideoStream) -> int | None:
    """Frames that the header promises, or that duration and rate give; None if it says neither."""
    if stream.frames:
        return stream.frames
    rate = plausible_rate(stream)
    if rate is None or stream.time_base is None:
        return None
    if stream.duration:
        return round(stream.duration * stream.time_base * rate)
    whole = cast(InputContainer, stream.container).duration
    return round(Fraction(whole, 1_000_000) * rate) if whole else None


def _area(stream: av.VideoStream) -> int:
    context = stream.codec_context
    return context.width * context.height if context is not None else 0
