"""Tags and chapters: which of them belong to the clip, and which a muxer makes itself."""

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.stream import Stream

from concertdeblur.media.clip import Clip
from concertdeblur.media.containers import open_source
from concertdeblur.media.streams import Action, StreamPlan

_MOST_REORDERED = 20  # packets within which the first frame comes
_MUXERS_OWN = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_STATISTICS = ("_statistics", "bps", "duration", "number_of_frames", "number_of_bytes", "source_id")
_CODEC_SPECIFIC = frozenset({"encoder", "vendor_id", "alpha_mode"})  # they describe the encoded stream, which is new
# Tags for which the mov muxer has atoms; any other needs its key-value table.
_MOV_TAGS = frozenset(
    [
        "title",
        "artist",
        "album_artist",
        "album",
        "author",
        "comment",
        "composer",
        "copyright",
        "creation_time",
        "date",
        "description",
        "disc",
        "encoder",
        "episode_id",
        "episode_sort",
        "genre",
        "grouping",
        "location",
        "lyrics",
        "network",
        "performer",
        "season_number",
        "show",
        "sort_name",
        "synopsis",
        "track",
        "timecode",
    ]
)


def container_tags(container: InputContainer) -> dict[str, str]:
    """The container's tags, without those that describe the file and not the clip."""
    return {key: value for key, value in container.metadata.items() if key.lower() not in _MUXERS_OWN}


def stream_tags(stream: Stream, *, is_encoded: bool) -> dict[str, str]:
    """A stream's tags, without statistics; if it is encoded anew, also without those of its encoder."""
    dropped = _CODEC_SPECIFIC if is_encoded else frozenset()
    found = dict(stream.metadata)
    if "name" in found:  # the mov demuxer calls `name` what its muxer calls `title`
        found.setdefault("title", found.pop("name"))
    return {
        key: value
        for key, value in found.items()
        if not key.lower().startswith(_STATISTICS) and key.lower() not in dropped
    }


def needs_key_value_table(tags: dict[str, str]) -> bool:
    """Whether the mov muxer would drop some of these tags without its key-value table."""
    return any(key.split("-")[0].lower() not in _MOV_TAGS for key in tags)


def chapters_within(container: InputContainer, begin_s: Fraction | None, end_s: Fraction | None) -> list[Any]:
    """The chapters that lie in a part of the clip, moved so that its beginning is 0."""
    begin, made = begin_s or Fraction(0), []
    for chapter in container.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        start, stop = max(chapter["start"] * base, begin), chapter["end"] * base
        stop = stop if end_s is None else min(stop, end_s)
        if stop > start or (begin_s is None and end_s is None):
            made.append({**chapter, "start": int((start - begin) / base), "end": int((stop - begin) / base)})
    return made


def losses(
    clip: Clip, written: Path, plans: tuple[StreamPlan, ...], *, start_s: Fraction, is_rounded: bool, is_cut: bool
) -> list[str]:
    """One warning for each way in which the headers of the finished file say less than the source's.

    Args:
        clip: The source.
        written: The finished file.
        plans: What became of each stream.
        start_s: When the first frame should be shown.
        is_rounded: Whether some frame's time is no whole number of milliseconds.
        is_cut: Whether only a part of the clip was asked for; its tags may then differ.

    """
    with open_source(written) as after:
        warnings = _lost_time(after, plans, start_s, is_rounded)
        return warnings if is_cut else warnings + _lost_tags(clip.container, after, plans)


def _lost_tags(before: InputContainer, after: InputContainer, plans: tuple[StreamPlan, ...]) -> list[str]:
    kept = {key.lower(): value for key, value in after.metadata.items()}
    lost = [key for key, value in container_tags(before).items() if kept.get(key.lower()) != value]
    lost = [key for key in lost if key.split("-")[0].lower() not in kept]
    warnings = [f"tags that this container cannot hold are dropped: {', '.join(sorted(lost))}"] if lost else []
    if len(after.chapters()) < len(before.chapters()) and not after.chapters():
        warnings.append("chapters are dropped: this container cannot hold them")
    present = [plan for plan in plans if plan.action in (Action.ENCODE, Action.COPY, Action.CONVERT)]
    for plan, stream in zip(present, after.streams, strict=False):
        origin, made = (stream_tags(each, is_encoded=False) for each in (before.streams[plan.index], stream))
        for key in ("language", "title"):
            value = origin.get(key)
            if value and value != "und" and made.get(key) != value:
                warnings.append(f"stream {plan.index}: its {key} '{value}' is dropped: this container cannot hold it")
    return warnings


def _begin_s(container: InputContainer, stream: Stream) -> Fraction:
    """When a stream's first frame is shown, from its packets: Matroska's header tells only when the clip begins."""
    packets = (packet for packet in container.demux(stream) if packet.pts is not None and not packet.is_discard)
    shown_s = ((packet.pts or 0) * packet.time_base for packet in islice(packets, _MOST_REORDERED))
    return min(shown_s, default=Fraction(0))


def _lost_time(
    container: InputContainer, plans: tuple[StreamPlan, ...], start_s: Fraction, is_rounded: bool
) -> list[str]:
    present = [plan for plan in plans if plan.action in (Action.ENCODE, Action.COPY, Action.CONVERT)]
    position = next(number for number, plan in enumerate(present) if plan.action is Action.ENCODE)
    stream = container.streams[position]
    time_base = stream.time_base or Fraction(1, 1000)
    starts_s = _begin_s(container, stream)
    warnings = []
    if is_rounded and time_base == Fraction(1, 1000):
        warnings.append("time stamps are rounded to milliseconds: this container keeps no finer ones")
    if abs(starts_s - start_s) > time_base:
        shift_ms = round(float(starts_s - start_s) * 1000)
        warnings.append(
            f"all streams start {shift_ms} ms later: this container cannot hold sound that begins before time 0"
        )
    return warnings
