"""Outputs set up so that a muxer keeps time stamps and tags as they are."""

import math
from fractions import Fraction
from pathlib import Path

from av.container import OutputContainer

from concertdeblur.errors import TargetError
from concertdeblur.frame import StreamInfo
from concertdeblur.media.containers import MUX_ERRORS, error_text, open_output
from concertdeblur.media.copier import Companions
from concertdeblur.media.streams import Action
from concertdeblur.media.tags import container_tags, needs_key_value_table

_MAX_MOVIE_TIMESCALE = 1_000_000  # with it an hour just fits the header's 32 bits
_MIN_MOV_TIMESCALE = 10_000  # below it the mov muxer multiplies the time scale unless told otherwise


def muxer_options(info: StreamInfo, format_name: str, companions: Companions | None) -> dict[str, str]:
    """Options of the mov muxer that keep time stamps and tags; other muxers need none."""
    options: dict[str, str] = {}
    if format_name not in ("mp4", "mov"):
        return options
    options["movie_timescale"] = str(_movie_timescale(info, companions))
    copied = [plan for plan in companions.plans if plan.action is Action.COPY] if companions else []
    other_videos = [plan for plan in copied if plan.kind == "video" and not plan.is_cover]
    if not other_videos and info.time_base.denominator < _MIN_MOV_TIMESCALE:
        options["video_track_timescale"] = str(info.time_base.denominator)  # for every video track
    has_cover = any(plan.is_cover for plan in copied)  # the key-value table has no place for a cover
    if companions and not has_cover and needs_key_value_table(container_tags(companions.clip.container)):
        options["movflags"] = "use_metadata_tags"
    return options


def _movie_timescale(info: StreamInfo, companions: Companions | None) -> int:
    """Units a second in the mov header, which stores each track's start offset in them; the default is 1000."""
    main = info.time_base.denominator
    if companions is None:
        return main
    kept = {plan.index for plan in companions.plans if plan.action in (Action.COPY, Action.ENCODE)}
    bases = [stream.time_base for stream in companions.clip.container.streams if stream.index in kept]
    exact = math.lcm(main, *(base.denominator for base in bases if base))
    return exact if exact <= _MAX_MOVIE_TIMESCALE else main


def seconds_shift(companions: Companions | None, time_base: Fraction) -> int:
    """How much is subtracted from every pts of a clip that is cut, in units of the time base."""
    begin = companions.begin_s if companions else None
    return int(begin / time_base) if begin is not None else 0


def remuxed_output(part: Path, info: StreamInfo, format_name: str, companions: Companions | None) -> OutputContainer:
    """Open an output for packets that are encoded already.

    Raises:
        TargetError: If it cannot be opened.

    """
    try:
        return open_output(part, format_name, muxer_options(info, format_name, companions))
    except MUX_ERRORS as error:
        raise TargetError(f"{part}: cannot be written ({error_text(error)})") from error
