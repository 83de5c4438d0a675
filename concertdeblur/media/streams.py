"""What becomes of each stream of a clip: one is encoded, the others are copied, converted, attached or dropped."""

import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.media.clip import Clip
from concertdeblur.media.containers import FORMATS, MUX_ERRORS, can_copy, can_encode, open_source
from concertdeblur.media.descriptions import codec_tag, has_own_channel_order
from concertdeblur.media.selection import is_cover_art
from concertdeblur.media.sound import ENCODERS, SoundChoice, can_decode, mixing
from concertdeblur.media.subtitles import CONVERTIBLE, CueConverter, LossyCueError

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
    target_codec: str = ""  # of a converted stream: FFmpeg's name of a text codec, or a key of `sound.ENCODERS`
    is_cover: bool = False
    reason: str = ""  # why it is dropped or converted; empty if the user asked for it, or misses nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamChoices:
    """What a user decides about the streams beside the video."""

    audio: SoundChoice = "copy"
    converts_unfit: bool = False  # sound that the container cannot hold is converted; else that is an error
    drops_unfit: bool = False  # sound that the container cannot hold is left out


def plan_streams(
    clip: Clip, main_index: int, format_name: str, choices: StreamChoices
) -> tuple[tuple[StreamPlan, ...], list[str]]:
    """Decide before work starts what becomes of every stream.

    Args:
        clip: The clip.
        main_index: The stream that is deblurred.
        format_name: FFmpeg's name of the output's container.
        choices: What becomes of sound.

    Returns:
        One plan for each stream in the source's order, and one warning for each that is lost or converted unasked.

    Raises:
        UnsupportedStreamError: If sound cannot be held and may not be dropped or converted.

    """
    plans, warnings = [], []
    for stream in clip.container.streams:
        plan = _plan(clip, stream, main_index, format_name, choices)
        plans.append(plan)
        name = f"stream {plan.index} ({plan.kind}, {plan.codec or 'unknown codec'})"
        if plan.action is Action.CONVERT and plan.reason:
            warnings.append(f"{name} becomes {plan.target_codec}: {plan.reason}")
        elif plan.action is Action.DROP and plan.reason:
            if plan.kind == "audio" and not choices.drops_unfit:
                raise UnsupportedStreamError(f"{clip.path.name}: {_advice(stream, name, format_name, choices)}")
            warnings.append(f"{name} is dropped: {plan.reason}")
    return tuple(plans), warnings


def _advice(stream: Stream, name: str, format_name: str, choices: StreamChoices) -> str:
    """What can be done about sound that a container cannot hold, or that cannot be converted as asked."""
    if choices.audio != "copy" and can_copy(stream, format_name):
        keeps = "without --audio and --compatible it is copied"
        return f"{name} cannot be converted to {choices.audio}: {keeps}, --drop-streams leaves it out"
    ways = []
    fitting = [suffix for suffix, name in FORMATS.items() if name != format_name and can_copy(stream, name)]
    if fitting:
        ways.append(f"an output that ends in {' or '.join(fitting)} keeps it")
    if (codec := _converted(stream, format_name)) is not None:
        ways.append(f"--audio {codec} converts it")
    ways.append("--drop-streams leaves it out")
    if fitting:
        return f"a {format_name} file cannot hold {name}: {', '.join(ways)}"
    is_ordered = has_own_channel_order(stream)
    cannot = (
        ""
        if codec
        else f", and it cannot be {'converted: its channels have no usual order' if is_ordered else 'decoded'}"
    )
    return f"no container here can hold {name}{cannot}: {', '.join(ways)}"


def _converted(stream: Stream, format_name: str) -> SoundChoice | None:
    """The codec that sound is converted to if the container cannot hold its own; None if that cannot be done."""
    if not can_decode(stream):
        return None
    codecs: tuple[SoundChoice, ...] = ("aac", "opus")
    return next((codec for codec in codecs if can_encode(ENCODERS[codec], format_name)), None)


def codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec (not of its decoder); empty if unknown."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return str(getattr(stream, "name", None) or "")


def _plan(clip: Clip, stream: Stream, main_index: int, format_name: str, choices: StreamChoices) -> StreamPlan:
    container, codec, is_cover = clip.container, codec_name(stream), is_cover_art(stream)
    if stream.codec_context is None and not codec:
        codec = codec_tag(container, stream.index)

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
    if stream.type == "audio" and choices.audio == "drop":
        return plan(Action.DROP)
    is_wanted = stream.type != "audio" or choices.audio in ("copy", codec)
    if is_wanted and can_copy(stream, format_name):
        return plan(Action.COPY)
    if stream.type == "audio":
        asked = None if choices.audio == "copy" else choices.audio
        if asked and can_decode(stream) and can_encode(ENCODERS[asked], format_name):
            return plan(Action.CONVERT, mixing(asked, stream.codec_context), asked)
        if asked is None and choices.converts_unfit and (fallback := _converted(stream, format_name)):
            reasons = (cannot_hold, mixing(fallback, stream.codec_context))
            return plan(Action.CONVERT, "; ".join(filter(None, reasons)), fallback)
        if asked and can_copy(stream, format_name):
            return plan(Action.DROP, f"it cannot be converted to {asked}")
    wanted = _TEXT_CODEC[format_name]
    if stream.type == "subtitle" and codec in CONVERTIBLE and can_write_text(wanted, format_name):
        loss = _conversion_loss(clip.path, stream.index, codec, wanted)
        if not loss:
            return plan(Action.CONVERT, target_codec=wanted)
        return plan(Action.DROP, f"{cannot_hold}, and {wanted} cannot say all of it ({loss})")
    return plan(Action.DROP, cannot_hold)


def _is_written_anew(container: InputContainer, stream: Stream) -> bool:
    """Whether the muxer makes this track itself from tags: the text track of mp4's chapters, or a time code."""
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
    """What a text subtitle loses in the other format, in words; empty if it loses nothing."""
    converter = CueConverter(codec, target)
    with open_source(source) as container:
        try:
            for packet in container.demux(container.streams[index]):
                if packet.size:
                    converter.convert(packet.pts or 0, packet.duration or 0, bytes(packet))
            converter.rest()
        except LossyCueError as error:
            return str(error)
    return ""
