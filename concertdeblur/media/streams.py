"""What becomes of each stream of a clip: one is encoded, the others are copied, converted, attached or dropped."""

import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.media.containers import MUX_ERRORS, can_copy, open_source
from concertdeblur.media.selection import is_cover_art
from concertdeblur.media.subtitles import CONVERTIBLE, LossyCueError, convert

_TEXT_CODEC = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}


class Action(Enum):
    """What is done with a stream."""

    ENCODE = "encode"
    COPY = "copy"
    CONVERT = "convert"
    ATTACH = "attach"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """What becomes of one stream of the source."""

    index: int
    kind: str
    action: Action
    codec: str = ""  # the source's, FFmpeg's name; empty if unknown
    target_codec: str = ""  # of a converted one
    is_cover: bool = False
    reason: str = ""  # why it is dropped; empty where nobody misses it


def plan_streams(
    source: Path, main_index: int, format_name: str, *, drop_streams: bool
) -> tuple[tuple[StreamPlan, ...], list[str]]:
    """Decide before work starts what becomes of every stream.

    Args:
        source: The clip.
        main_index: The stream that is deblurred.
        format_name: FFmpeg's name of the output's container.
        drop_streams: Whether sound that the container cannot hold may be dropped.

    Returns:
        One plan a stream in the source's order, and one warning a stream that is lost.

    Raises:
        UnsupportedStreamError: If sound cannot be held and may not be dropped.

    """
    plans, warnings = [], []
    with open_source(source) as container:
        for stream in container.streams:
            plan = _plan(container, stream, main_index, format_name)
            plans.append(plan)
            if plan.action is not Action.DROP or not plan.reason:
                continue
            name = f"stream {plan.index} ({plan.kind}, {plan.codec or 'unknown codec'})"
            if plan.kind == "audio" and not drop_streams:
                raise UnsupportedStreamError(
                    f"{source.name}: a {format_name} file cannot hold {name}; "
                    "choose another container, or add --drop-streams"
                )
            warnings.append(f"{name} is dropped: {plan.reason}")
    return tuple(plans), warnings


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec (not of its decoder); empty if unknown."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return str(getattr(stream, "name", None) or "")


def _plan(container: InputContainer, stream: Stream, main_index: int, format_name: str) -> StreamPlan:
    codec, is_cover = codec_name(stream), is_cover_art(stream)

    def plan(action: Action, reason: str = "", target_codec: str = "") -> StreamPlan:
        return StreamPlan(
            index=stream.index,
            kind=stream.type,
            action=action,
            codec=codec,
            target_codec=target_codec,
            is_cover=is_cover,
            reason=reason,
        )

    cannot_hold = f"a {format_name} file cannot hold it"
    if stream.index == main_index:
        return plan(Action.ENCODE)
    if _is_written_anew(container, stream):
        return plan(Action.DROP)
    if format_name == "matroska" and (is_cover or stream.type == "attachment"):
        return plan(Action.ATTACH)
    if stream.type == "attachment" or (is_cover and format_name == "webm"):
        return plan(Action.DROP, cannot_hold)
    if can_copy(stream, format_name):
        return plan(Action.COPY)
    wanted = _TEXT_CODEC[format_name]
    if stream.type == "subtitle" and codec in CONVERTIBLE and can_write_text(wanted, format_name):
        loss = _conversion_loss(Path(container.name.removeprefix("file:")), stream.index, codec, wanted)
        if not loss:
            return plan(Action.CONVERT, target_codec=wanted)
        return plan(Action.DROP, f"{cannot_hold}, and {wanted} cannot say all of it ({loss})")
    return plan(Action.DROP, cannot_hold)


def _is_written_anew(container: InputContainer, stream: Stream) -> bool:
    """Tracks that the muxer makes itself from tags: the text track of mp4's chapters, and time codes."""
    if stream.type != "data" or "mp4" not in container.format.name:
        return False
    return "timecode" in stream.metadata or (bool(container.chapters()) and stream.discard == Discard.all)


def can_write_text(codec: str, format_name: str) -> bool:
    """Whether the container takes subtitles of a text codec."""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            trial.add_mux_stream(codec)
    except MUX_ERRORS:
        return False
    return True


def _conversion_loss(source: Path, index: int, codec: str, target: str) -> str:
    """What of a text subtitle the other format cannot say; empty if nothing."""
    with open_source(source) as container:
        for packet in container.demux(container.streams[index]):
            try:
                if packet.size:
                    convert(bytes(packet), codec, target)
            except LossyCueError as error:
                return str(error)
    return ""
