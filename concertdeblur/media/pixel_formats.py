"""Choosing the encoder's pixel format: the source's own where it can, else the one that loses least."""

from dataclasses import dataclass

import av

_ANY_SIZE_ENCODERS = frozenset({"ffv1", "libsvtav1"})  # these take odd sizes in every chroma format (tried)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The properties of a pixel format that matter to a picture."""

    bits: int
    chroma_width: int  # of a picture 4 px wide: 4, 2 or 1
    chroma_height: int
    is_rgb: bool
    is_grey: bool
    has_alpha: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatChoice:
    """The chosen format, and what it costs in words for the user."""

    name: str
    losses: tuple[str, ...]


def sampling_of(pixel_format: str) -> Sampling:
    """Depth, chroma sampling and kind of one of FFmpeg's pixel formats."""
    described = av.VideoFormat(pixel_format, 4, 4)
    colours = [component for component in described.components if not component.is_alpha]
    chroma = [component for component in colours if component.is_chroma]
    is_grey = len(colours) == 1 and not described.has_palette
    return Sampling(
        bits=max((component.bits for component in colours), default=8),
        chroma_width=chroma[0].width if chroma else 4,
        chroma_height=chroma[0].height if chroma else 4,
        is_rgb=described.is_rgb or described.has_palette,
        is_grey=is_grey,
        has_alpha=len(colours) != len(described.components),
    )


def choose_pixel_format(
    source: str, supported: tuple[str, ...], *, height: int, width: int, encoder: str
) -> FormatChoice:
    """The format that an encoder should get for frames of a source format.

    Args:
        source: The source's pixel format.
        supported: What the encoder takes.
        height: Of the frame; odd sizes rule out subsampled chroma in most encoders.
        width: As height.
        encoder: FFmpeg's name of the encoder.

    """
    wanted = sampling_of(source)
    fitting = [name for name in supported if _fits(name, height, width, encoder)]
    if not fitting:
        raise ValueError(f"{encoder} takes no pixel format for {width}x{height}")
    best = min(fitting, key=lambda name: (_cost(wanted, sampling_of(name)), name != source, fitting.index(name)))
    return FormatChoice(name=best, losses=_losses(source, best, wanted, sampling_of(best)))


def _fits(name: str, height: int, width: int, encoder: str) -> bool:
    if "msb" in name or name.startswith(("x2", "gray" if encoder.endswith("_nvenc") else "x2")):
        return False
    try:
        described = av.VideoFormat(name, 4, 4)
    except ValueError:
        return False
    if not described.components or "f16" in name or "f32" in name:
        return False
    sampling = sampling_of(name)
    if encoder in _ANY_SIZE_ENCODERS:
        return True
    return width % (4 // sampling.chroma_width) == 0 and height % (4 // sampling.chroma_height) == 0


def _cost(wanted: Sampling, offered: Sampling) -> int:
    cost = 1000 * max(0, wanted.bits - offered.bits) + max(0, offered.bits - wanted.bits)
    if not wanted.is_grey:
        cost += 4000 * offered.is_grey
        if not wanted.is_rgb and not offered.is_rgb:
            for want, offer in (
                (wanted.chroma_width, offered.chroma_width),
                (wanted.chroma_height, offered.chroma_height),
            ):
                cost += 300 * max(0, want - offer) + 10 * max(0, offer - want)
    cost += 200 if wanted.is_rgb != offered.is_rgb else 0
    cost += 100 * (8 - offered.chroma_width - offered.chroma_height) if wanted.is_rgb and not offered.is_rgb else 0
    cost += 50 if wanted.is_grey and not offered.is_grey else 0
    cost += 40 if wanted.has_alpha and not offered.has_alpha else 0
    cost += 5 if offered.has_alpha and not wanted.has_alpha else 0
    return cost


def _losses(source: str, chosen: str, wanted: Sampling, offered: Sampling) -> tuple[str, ...]:
    losses = []
    if offered.bits < wanted.bits:
        losses.append(f"{wanted.bits} bits become {offered.bits}")
    if wanted.has_alpha and not offered.has_alpha:
        losses.append("transparency is dropped")
    if wanted.is_rgb != offered.is_rgb:
        losses.append(f"{source} is converted to {chosen}")
    elif (wanted.chroma_width, wanted.chroma_height) != (offered.chroma_width, offered.chroma_height):
        losses.append(f"chroma {source} becomes {chosen}")
    return tuple(losses)
