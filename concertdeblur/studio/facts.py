"""What is known of a clip or a picture before anything is done with it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from concertdeblur.errors import ConcertDeblurError, UnsupportedStreamError
from concertdeblur.frame import StreamInfo
from concertdeblur.media.backends import open_reader
from concertdeblur.media.clip_folder import looks_like_clip
from concertdeblur.media.containers import open_source
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.pictures.formats import is_picture_name
from concertdeblur.pictures.reading import open_picture


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """A clip, or a picture, as it is shown: upright and in its true shape."""

    kind: str  # "clip" or "picture"
    height: int  # px as shown
    width: int
    num_frames: int | None = None  # as the header says; None: it does not say
    duration_s: float | None = None
    rate_fps: float | None = None
    has_sound: bool = False
    codec: str = ""
    num_pixels: int = 0  # of a frame as coded
    size_bytes: int = 0
    is_interlaced: bool = False
    is_hdr: bool = False
    warnings: tuple[str, ...] = ()


def facts_of(path: Path) -> ClipFacts:
    """Look at a file.

    Raises:
        ConcertDeblurError: If it is missing, broken, or of a kind that is not supported: the sentence of `video` or
            `image`.

    """
    if is_picture_name(path) and not looks_like_clip(path):
        picture = open_picture(path)
        picture.still()  # whether it decodes
        return ClipFacts(
            kind="picture", height=picture.height, width=picture.width, num_frames=picture.num_pictures,
            num_pixels=picture.height * picture.width, size_bytes=path.stat().st_size,
        )  # fmt: skip
    warnings: list[str] = []
    is_interlaced = False
    try:
        info = _info(path, warnings, deinterlace=False)
    except UnsupportedStreamError as error:
        info, is_interlaced = _info_of_interlaced(path, warnings, error), True
    with open_source(path) as container:
        has_sound = bool(container.streams.audio)
    height, width = shown_size(info)
    return ClipFacts(
        kind="clip", height=height, width=width, num_frames=info.num_frames_hint,
        duration_s=None if not info.rate or info.num_frames_hint is None else float(info.num_frames_hint / info.rate),
        rate_fps=None if info.rate is None else float(info.rate), has_sound=has_sound, codec=info.codec,
        num_pixels=info.height * info.width, size_bytes=path.stat().st_size, is_interlaced=is_interlaced,
        is_hdr=info.colour.is_hdr, warnings=tuple(warnings),
    )  # fmt: skip


def shown_size(info: StreamInfo) -> tuple[int, int]:
    """(height, width) of a stream's frames as a player shows them."""
    height, width = info.height, round(info.width * (info.sample_aspect_ratio or Fraction(1)))
    return (width, height) if info.orientation.swaps_sides else (height, width)


def _info(path: Path, warnings: list[str], *, deinterlace: bool) -> StreamInfo:
    with open_reader(path, ReaderOptions(deinterlace=deinterlace), on_warning=warnings.append) as reader:
        next(iter(reader.frames()), None)  # whether the first frame becomes a picture
        return reader.info


def _info_of_interlaced(path: Path, warnings: list[str], refusal: UnsupportedStreamError) -> StreamInfo:
    """The clip deinterlaced, where that is what it takes: the page has no option for it."""
    try:
        info = _info(path, warnings, deinterlace=True)
    except ConcertDeblurError:
        raise refusal from None
    warnings.append("this clip is interlaced, as old cameras record; its two half pictures are made one")
    return info
