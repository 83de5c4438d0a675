"""Writes picture files, with all metadata that the format can hold.

All but JPEG are written without loss. Pillow writes 8 bits. OpenCV writes 16-bit PNG and every AVIF, since Pillow
rounds them. `tiff` writes TIFF.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from concertdeblur.frame import full_scale
from concertdeblur.pictures import containers, deep, tiff
from concertdeblur.pictures.formats import PictureFormat
from concertdeblur.pictures.metadata import Metadata
from concertdeblur.pictures.stills import Still

_MOST_EXIF, _MOST_XMP, _MOST_IPTC, _MOST_COMMENT = 65_527, 65_502, 65_519, 65_533  # bytes in one segment of a JPEG
_MOST_PIXEL_BYTES = 4  # of a JPEG, for each pixel of its blocks; noise at quality 100 takes 3.3
_PILLOW = threading.Lock()  # the size of Pillow's buffer is one for the whole process
_INCH = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """How several pictures play."""

    loop: int = 0  # how often it plays; 0: for ever
    has_default_picture: bool = False  # a PNG's first picture is shown only where animations are not


def what_is_lost(
    target: PictureFormat, suffix: str, metadata: Metadata, *, depth_bits: int, has_alpha: bool, loop: int = 0
) -> list[str]:
    """What a format cannot hold of a picture, each a clause for a warning; `loop` is 0 where it plays for ever."""
    told = []
    if loop and target.name == "AVIF":
        told.append(f"{suffix} plays for ever; it was to play {loop} time{'' if loop == 1 else 's'}")
    if depth_bits > target.depth_bits:
        told.append(f"{suffix} holds {target.depth_bits} bits a channel; the {depth_bits} bits are rounded")
    if has_alpha and not target.has_alpha:
        told.append(f"{suffix} cannot hold transparency; it is dropped")
    names: list[str] = [*metadata.lost_in(target)]
    if target.name == "JPEG":
        names += [name for name, blob, most in _in_one_segment(metadata) if len(blob or b"") > most]
    if not target.has_grey and _is_grey_profile(metadata):
        names.append("colour profile of grey")
    if names:
        told.append(f"{suffix} cannot hold its {_listed(names)}; left out")
    return told


def encode(
    target: PictureFormat, stills: list[Still], metadata: Metadata, *, sequence: Sequence | None = None,
    depth_bits: int = 16, jpeg_quality: int = 95,
) -> bytes:  # fmt: skip
    """The bytes of a file of one picture, of pages (TIFF), or of an animation (WebP, PNG, AVIF).

    Args:
        target: The format; data that it cannot hold are left out (`what_is_lost`).
        stills: One picture, or several if the format takes them.
        metadata: The metadata.
        sequence: How an animation plays.
        depth_bits: Bits of the source; an AVIF of 10 bits stays one of 10 bits.
        jpeg_quality: 1 to 100.

    Raises:
        ValueError: If an encoder refuses the picture.
    """
    ready = [_fitting(still, target) for still in stills]
    if target.name == "TIFF":
        return tiff.pages([_readable_in_tiff(still) for still in ready], metadata)
    if len(ready) > 1:
        return _animation(target, ready, metadata, sequence or Sequence())
    (still,) = ready
    if target.name == "PNG":
        return _png(still, metadata)
    if target.name == "AVIF":
        return _avif(still, metadata, 10 if depth_bits == 10 else 12)
    if not target.has_grey and _is_grey_profile(metadata):
        metadata = replace(metadata, colour_profile=None)
    options = {"JPEG": _jpeg_options, "WebP": _webp_options, "BMP": _bmp_options}[target.name](metadata)
    if target.name != "JPEG":
        return _saved(_image(still), target, **options)
    with _room_for(still, metadata):
        return _saved(_image(still), target, quality=jpeg_quality, **options)


def _fitting(still: Still, target: PictureFormat) -> Still:
    still = still.in_bits(16 if 8 < target.depth_bits < 32 else target.depth_bits)
    if not target.has_alpha:
        still = replace(still, alpha=None)
    return still if target.has_grey else replace(still, pixels=still.rgb)


def _readable_in_tiff(still: Still) -> Still:
    """Pictures in grey with alpha and more than 8 bits as colour with alpha, which more programs read."""
    is_rare = still.alpha is not None and still.pixels.ndim == 2 and still.pixels.dtype != np.uint8
    return replace(still, pixels=still.rgb) if is_rare else still


def _image(still: Still) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(still.interleaved()))


def _saved(image: Image.Image, target: PictureFormat, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=target.name.upper(), **options)
    return stream.getvalue()


@contextmanager
def _room_for(still: Still, metadata: Metadata) -> Iterator[None]:
    """Have Pillow's buffer hold a whole JPEG.

    libjpeg needs that to optimise. Pillow has room for one or two bytes a pixel, but noise takes more.
    """
    beside = (metadata.exif, metadata.xmp, metadata.iptc, metadata.colour_profile, metadata.comment)
    height, width = (-(-side // 8) * 8 for side in still.pixels.shape[:2])  # of whole blocks
    room = _MOST_PIXEL_BYTES * height * width + 2 * sum(len(blob or b"") for blob in beside)
    with _PILLOW:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, room)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before


def _present(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _in_one_segment(metadata: Metadata) -> tuple[tuple[str, bytes | None, int], ...]:
    """What a JPEG holds in one segment each: its name, its bytes and the most bytes."""
    return (
        ("EXIF", metadata.exif, _MOST_EXIF),
        ("XMP", metadata.xmp, _MOST_XMP),
        ("IPTC", metadata.iptc, _MOST_IPTC),
        ("comment", metadata.comment, _MOST_COMMENT),
    )


def _jpeg_options(metadata: Metadata) -> dict[str, Any]:
    segmented = _in_one_segment(metadata)
    exif, xmp, iptc, comment = (blob if len(blob or b"") <= most else None for _, blob, most in segmented)
    segments = b""
    if iptc is not None:
        payload = b"Photoshop 3.0\0" + iptc
        segments = b"\xff\xed" + (len(payload) + 2).to_bytes(2, "big") + payload
    return _present(
        subsampling=0,  # a sharpened picture must not be smeared in colour
        optimize=True,
        icc_profile=metadata.colour_profile,
        exif=None if exif is None else b"Exif\0\0" + exif,
        xmp=xmp,
        dpi=metadata.resolution_dpi,
        comment=comment,
        extra=segments or None,
    )


def _webp_options(metadata: Metadata) -> dict[str, Any]:
    return _present(
        lossless=True,
        exact=True,  # colours under full transparency are kept, too
        icc_profile=metadata.colour_profile,
        exif=_exif_with_resolution(metadata),
        xmp=metadata.xmp,
    )


def _bmp_options(metadata: Metadata) -> dict[str, Any]:
    return _present(dpi=metadata.resolution_dpi)


def _png_options(metadata: Metadata) -> dict[str, Any]:
    chunks = PngImagePlugin.PngInfo()
    for kind, payload in metadata.png_chunks:
        if kind != b"pHYs":
            chunks.add(kind, payload)
    kinds = {kind for kind, _ in metadata.png_chunks}
    colour = metadata.colour_numbers
    if colour is not None and not colour.is_plain and b"cICP" not in kinds:
        chunks.add(b"cICP", bytes((colour.primaries, colour.transfer, 0, 1)))
    if metadata.xmp is not None:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", errors="replace"))
    if metadata.comment is not None:
        chunks.add_itxt("Comment", metadata.comment.decode("utf-8", errors="replace"))
    return _present(
        pnginfo=chunks, icc_profile=metadata.colour_profile, exif=metadata.exif, dpi=metadata.resolution_dpi
    )


def _png(still: Still, metadata: Metadata) -> bytes:
    options = _png_options(metadata)
    png = PictureFormat(name="PNG", suffixes=(".png",))
    if still.pixels.dtype == np.uint8:
        return _saved(_image(still), png, **options)
    channels = still.interleaved()
    if channels.ndim == 3 and channels.shape[2] == 2:  # OpenCV has no grey with alpha
        channels = np.dstack([still.rgb, channels[:, :, 1]])
    pixels = list(containers.png_chunks(deep.encoded(".png", channels, [])))
    # the chunks that Pillow writes beside the pixels of a one-pixel picture
    beside = containers.png_chunks(_saved(Image.new("L", (1, 1)), png, **options))
    chunks = [pixels[0], *(chunk for chunk in beside if chunk[0] not in (b"IHDR", b"IDAT", b"IEND"))]
    chunks += [chunk for chunk in pixels[1:] if chunk[0] in (b"IDAT", b"IEND")]
    return containers.PNG_SIGNATURE + b"".join(containers.png_chunk(*chunk) for chunk in chunks)


def _avif(still: Still, metadata: Metadata, deep_bits: int) -> bytes:
    """The bytes of an AVIF without loss: 8 bits, or the upper 10 or 12 of 16."""
    channels, depth_bits = still.interleaved(), 8
    if channels.dtype == np.uint16:
        depth_bits, full = deep_bits, (1 << deep_bits) - 1
        channels = ((channels.astype(np.uint32) * full + 32767) // 65535).astype(np.uint16)
    if channels.ndim == 3 and channels.shape[2] == 2:
        channels = np.dstack([channels[:, :, 0]] * 3 + [channels[:, :, 1]])
    blobs = {
        cv2.IMAGE_METADATA_EXIF: _exif_with_resolution(metadata),
        cv2.IMAGE_METADATA_XMP: metadata.xmp,
        cv2.IMAGE_METADATA_ICCP: metadata.colour_profile,
    }
    options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, depth_bits, cv2.IMWRITE_AVIF_SPEED, 8]
    made = deep.encoded_with(".avif", channels, options, {kind: blob for kind, blob in blobs.items() if blob})
    colour = metadata.colour_numbers
    return made if colour is None else containers.with_nclx_colour(made, colour)


def _animation(target: PictureFormat, stills: list[Still], metadata: Metadata, sequence: Sequence) -> bytes:
    has_alpha = any(still.alpha is not None for still in stills)
    frames = [_image(replace(_opaque(still) if has_alpha else still, pixels=still.rgb).in_bits(8)) for still in stills]
    durations = [still.duration_ms for still in stills]
    options: dict[str, Any]
    if target.name == "PNG":
        options = _png_options(metadata) | {"default_image": sequence.has_default_picture, "loop": sequence.loop}
        durations = durations[1:] if sequence.has_default_picture else durations
    elif target.name == "WebP":
        options = _webp_options(metadata) | {"loop": sequence.loop, "method": 4}
        durations = [round(duration) for duration in durations]
    else:
        options = _webp_options(metadata) | {"quality": 100, "subsampling": "4:4:4", "speed": 8}
        durations = [round(duration) for duration in durations]
    return _saved(frames[0], target, save_all=True, append_images=frames[1:], duration=durations, **options)


def _opaque(still: Still) -> Still:
    if still.alpha is not None:
        return still
    return replace(still, alpha=np.full(still.pixels.shape[:2], full_scale(still.pixels), still.pixels.dtype))


def _exif_with_resolution(metadata: Metadata) -> bytes | None:
    """EXIF with the resolution in it, since WebP and AVIF have no other place for it."""
    dpi = metadata.resolution_dpi
    if dpi is None:
        return metadata.exif
    exif = Image.Exif()
    if metadata.exif is not None:
        exif.load(metadata.exif)
    if 282 in exif:
        return metadata.exif
    exif[282], exif[283], exif[296] = dpi[0], dpi[1], _INCH
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _is_grey_profile(metadata: Metadata) -> bool:
    return (metadata.colour_profile or b"")[16:20] == b"GRAY"


def _listed(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}"
