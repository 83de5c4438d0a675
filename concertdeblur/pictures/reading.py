"""Reads picture files: the pixels are upright, in RGB or grey, with as many bits as the file has.

Pillow reads all 8-bit pictures and all metadata, and prints nothing. But it reduces 16-bit colour, and the 10 and 12
bits of AVIF, to 8 bits. So OpenCV reads these. OpenCV in turn drops metadata, and multiplies the colours of a TIFF by
its alpha. libheif reads HEIC, by way of pi-heif. That is the build of pillow-heif that only reads: its wheel is LGPL
and has 1.5 MB, while the other one holds x265 (GPL, 23 MB unpacked).
"""

import io
import logging
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from concertdeblur.errors import SourceError
from concertdeblur.frame import Pixels
from concertdeblur.pictures import containers, deep, tiff
from concertdeblur.pictures.containers import CutOff
from concertdeblur.pictures.formats import why_not_read
from concertdeblur.pictures.metadata import ColourNumbers, Metadata, orientation_of, turned
from concertdeblur.pictures.stills import Still, split

_READ_BY_PILLOW = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")
_SIGNATURES = (b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", containers.PNG_SIGNATURE)
_MOST_PIXELS = 2**30  # OpenCV's limit; Pillow's own one would refuse the 200 megapixels of a phone
_PILLOW = threading.Lock()  # Pillow's limit is one for the whole process
_STANDARD_ERROR = threading.Lock()
_ALPHA_MULTIPLIED, _ALPHA_APART = 1, 2  # values of TIFF's extra samples
_CUT_OFF = "is cut off: the file ends before the picture does; copy it again"
_DECODER_ERRORS = (
    OSError, ValueError, TypeError, SyntaxError, IndexError, KeyError, RuntimeError,
    struct.error, zlib.error, cv2.error,
)  # fmt: skip
_COLOUR_CHUNKS = frozenset({b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"})
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_MOST_CHANNELS = 5  # CMYK with alpha
_MOST_XMP_BYTES = 64 * 2**20  # as Pillow has it for all texts
logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any it writes errors to standard error


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFile:
    """A picture's file that was opened: its header read, its length checked."""

    path: Path
    height: int  # upright
    width: int
    depth_bits: int  # a channel: 8, 10, 12, 16, or 32 for float
    has_alpha: bool
    metadata: Metadata  # of the upright picture
    holds: Literal["one", "animation", "pages"] = "one"
    num_pictures: int = 1
    loop: int = 0  # how often an animation plays; 0: for ever
    has_default_picture: bool = False  # a PNG's first picture is shown only where animations are not
    changes: tuple[str, ...] = ()  # what reading changes, each as a clause
    read: Callable[[int], Still]  # picture `number`; `still` and `stills` name its errors

    def still(self, number: int = 0) -> Still:
        """One picture, decoded.

        Raises:
            SourceError: If it is cut off or damaged.
        """
        with _named_errors(self.path):
            return self.read(number)

    def stills(self) -> Iterator[Still]:
        """Every picture in order, decoded when it is asked for.

        Raises:
            SourceError: If one is cut off or damaged.
        """
        return (self.still(number) for number in range(self.num_pictures))


def open_picture(path: Path) -> PictureFile:
    """Open a picture's file; its bytes decide its kind, not its name.

    Raises:
        SourceError: If it is missing, empty, cut off, damaged, or of a kind that is not supported; the message says
            which, and what to do.
    """
    data = _bytes_of(path)
    with _named_errors(path):
        if containers.is_video(data):
            raise SourceError(f"{path}: is a video; use 'concertdeblur video'")
        containers.check_whole(data)
        if containers.is_heif(data):
            return _open_heif(path, data)
        if tiff.is_tiff(data):
            return _open_tiff(path, data)
        return _open_by_pillow(path, data)


def _bytes_of(path: Path) -> bytes:
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; name a picture")
    try:
        data = path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    if data is None:
        raise SourceError(f"{path}: is no regular file; name a picture's file")
    if not data:
        raise SourceError(f"{path}: is empty")
    unread = why_not_read(path)
    if unread is not None:
        raise SourceError(f"{path}: is {unread}")
    return data


class _Unsupported(Exception):
    """A file has something that is not supported; the message is a clause."""


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn errors of decoders into one sentence, and hide their warnings, which are not meant for users."""
    try:
        # there is one filter for the whole process, so only the main thread sets it
        if threading.current_thread() is not threading.main_thread():
            yield
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
    except SourceError:
        raise
    except _Unsupported as error:
        raise SourceError(f"{path}: {error}") from error
    except (CutOff, EOFError) as error:
        raise SourceError(f"{path}: {_CUT_OFF}") from error
    except UnidentifiedImageError as error:
        known = _begins_like_a_picture(path)
        told = (
            "is cut off or damaged" if known else "cannot be read as a picture; png, jpg, webp, tif, avif and heic can"
        )
        raise SourceError(f"{path}: {told}") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path}: has more than {_MOST_PIXELS} pixels, which is the most") from error
    except _DECODER_ERRORS as error:
        text = " ".join(str(error).split())
        is_cut = any(word in text.lower() for word in ("truncated", "end of file", "end-of-file"))
        raise SourceError(f"{path}: {_CUT_OFF if is_cut else f'is damaged and cannot be decoded ({text})'}") from error


def _begins_like_a_picture(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(16)
    return start.startswith(_SIGNATURES) or start[4:8] == b"ftyp"


def _opened(data: bytes) -> Image.Image:
    with _PILLOW:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = _MOST_PIXELS // 2  # Pillow raises an error at twice its limit
        try:
            return Image.open(io.BytesIO(data), formats=_READ_BY_PILLOW)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _open_by_pillow(path: Path, data: bytes) -> PictureFile:
    """Open a picture or animation that Pillow reads: JPEG, PNG, WebP, AVIF, GIF, BMP and others."""
    if data.startswith(containers.PNG_SIGNATURE):
        # the checksums are corrected: those of the pixels are right, but Pillow stops at a wrong one of a comment
        chunks = containers.png_chunks(data)
        data = containers.PNG_SIGNATURE + b"".join(containers.png_chunk(*chunk) for chunk in chunks)
    image = _opened(data)
    _scale_clear_grey(image, data)
    num_pictures = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    is_png = image.format == "PNG"
    depth_bits = _depth_bits(image, data)
    metadata = _png_metadata(image, data) if is_png else _pillow_metadata(image, data)
    orientation = orientation_of(metadata.exif)
    changes = list(_conversions(image))
    if image.format == "MPO":
        changes.append("what the JPEG holds besides the picture (a gain map, a preview, another view) is left out")
    if image.mode == "RGB" and (stored := _stored_bits(image, data)) > 8:
        changes.append(f"its {stored} bits a channel are rounded to 8; convert it to a 16-bit png or tif first")
    if num_pictures > 1 and depth_bits > 8:
        changes.append("an animation has 8 bits a channel; its others are rounded")
        depth_bits = 8
    metadata = _without_damage(_in_new_colours(metadata, image), changes)

    def read(number: int) -> Still:
        if depth_bits > 8 and image.format in ("PNG", "AVIF") and image.mode != "I;16":
            still = deep.read_png(data) if is_png else _spread(split(deep.read_avif(data)), depth_bits)
        else:
            still = _by_pillow(image, number, is_animated=num_pictures > 1)
        return _turned(still, orientation)

    height, width = _upright_size(image.size, orientation)
    return PictureFile(
        path=path, height=height, width=width, depth_bits=depth_bits, has_alpha=_has_alpha(image),
        metadata=metadata.upright(orientation), holds="animation" if num_pictures > 1 else "one",
        num_pictures=num_pictures, loop=_loop(image),
        has_default_picture=bool(getattr(image, "default_image", False)) and num_pictures > 1,
        changes=tuple(changes), read=read,
    )  # fmt: skip


def _open_tiff(path: Path, data: bytes) -> PictureFile:
    """Open a TIFF of one or more pages; smaller copies and masks in it are not pages."""
    every = tiff.directories(data)
    if any(tiff.DNG_VERSION in directory for directory in every):
        raise SourceError(f"{path}: is a camera's raw picture (DNG); develop it to TIFF or JPEG first")
    if any(tiff.ends_at(directory) > len(data) for directory in every):
        raise CutOff
    numbers = [n for n, directory in enumerate(every) if not int(directory.get(tiff.SUBFILE, 0)) & 0b101] or [0]
    first = every[numbers[0]]
    metadata = tiff.metadata_of(data, first)
    orientations = [int(directory.get(tiff.ORIENTATION, 1)) for directory in every]
    num_others = len(every) - len(numbers)
    changes = [f"{num_others} smaller copies or masks inside are left out"] if num_others else []
    depth_bits = max(_tiff_depth_bits(every[n]) for n in numbers)
    image: Image.Image | None = None
    if not _is_deep(first):
        try:
            image = _opened(data)
        except UnidentifiedImageError as error:
            if (channels := int(tiff.first_of(first.get(tiff.NUM_CHANNELS, 1)))) > _MOST_CHANNELS:
                raise _Unsupported(f"has {channels} channels; up to {_MOST_CHANNELS} are supported") from error
            raise _Unsupported(f"has {_samples_of(first)}; 8 and 16 bits, and float of 32, are supported") from error
        image.seek(numbers[0])
        changes += _conversions(image)
        metadata = _in_new_colours(metadata, image)

    def read(number: int) -> Still:
        page = numbers[number]
        if _is_deep(every[page]):
            return _turned(_deep_page(data, every[page], page), orientations[page])
        still = _by_pillow(image or _opened(data), page, is_animated=False)  # Pillow turns pictures of a TIFF only
        if every[page].get(tiff.PHOTOMETRIC) == 0 and still.pixels.dtype == np.uint16:
            return replace(still, pixels=np.uint16(65535) - still.pixels)  # in this kind of TIFF white is 0
        return still

    has_alpha = tiff.first_of(first.get(tiff.EXTRA, 0)) in (_ALPHA_MULTIPLIED, _ALPHA_APART)
    orientation = orientations[numbers[0]]
    height, width = _upright_size((int(first[tiff.WIDTH]), int(first[tiff.HEIGHT])), orientation)
    return PictureFile(
        path=path, height=height, width=width, depth_bits=depth_bits, has_alpha=has_alpha,
        metadata=metadata.upright(orientation), holds="pages" if len(numbers) > 1 else "one",
        num_pictures=len(numbers), changes=tuple(changes), read=read,
    )  # fmt: skip


def _open_heif(path: Path, data: bytes) -> PictureFile:
    """Open a HEIC; libheif turns it as the container says, so EXIF's orientation is ignored."""
    import pi_heif

    if containers.is_heif_sequence(data):
        raise SourceError(f"{path}: is a HEIC that plays; convert it to a video first, for example with ffmpeg")
    heif: Any = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    first = heif[heif.primary_index]
    info, numbers = first.info, list(range(len(heif)))
    depth_bits = int(info.get("bit_depth", 8))
    nclx = info.get("nclx_profile") or {}
    exif = info.get("exif")
    metadata = Metadata(
        colour_profile=info.get("icc_profile") if info.get("icc_profile_type") in ("prof", "rICC") else None,
        colour_numbers=ColourNumbers(
            primaries=int(nclx["color_primaries"]), transfer=int(nclx["transfer_characteristics"])
        ) if nclx else None,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=info.get("xmp"),
    )  # fmt: skip
    changes: list[str] = []
    metadata = _without_damage(metadata, changes)
    told = orientation_of(metadata.exif)

    def read(number: int) -> Still:
        picture = heif[numbers[number]]
        still = split(np.array(picture))
        if still.pixels.dtype != np.uint16:
            return still
        # libheif's samples are moved up to 16 bits, with zeros below
        alpha = None if still.alpha is None else np.right_shift(still.alpha.astype(np.uint16), 16 - depth_bits)
        moved = replace(still, pixels=np.right_shift(still.pixels.astype(np.uint16), 16 - depth_bits), alpha=alpha)
        return _spread(moved, depth_bits)

    height, width = first.size[1], first.size[0]
    return PictureFile(
        path=path, height=height, width=width, depth_bits=depth_bits, has_alpha=bool(first.has_alpha),
        metadata=metadata.upright(told), holds="pages" if len(numbers) > 1 else "one",
        num_pictures=len(numbers), changes=tuple(changes), read=read,
    )  # fmt: skip


def _by_pillow(image: Image.Image, number: int, *, is_animated: bool) -> Still:
    """One picture as Pillow decodes it, in 8 bits, or 16 and float where it is grey."""
    if number != image.tell():
        image.seek(number)
    with _libtiff_silenced() if image.format == "TIFF" else nullcontext():
        image.load()
    duration_ms = float(image.info.get("duration", 0) or 0)
    if is_animated:
        mode = "RGB" if image.mode == "RGB" and image.format != "GIF" else "RGBA"
        return split(np.array(image.convert(mode)), duration_ms=duration_ms)
    if image.mode.startswith("I;16"):
        still = Still(pixels=np.asarray(image).astype(np.uint16))
        key = image.info.get("transparency")
        return still if key is None else replace(still, alpha=_all_but(still.pixels, key))
    if image.mode == "I":
        return Still(pixels=_whole_numbers(np.asarray(image)))
    if image.mode == "F":
        return Still(pixels=_unit_floats(np.asarray(image)))
    return split(np.array(_in_rgb_or_grey(image)))


@contextmanager
def _libtiff_silenced() -> Iterator[None]:
    """Keep libtiff from writing to standard error, which it does in spite of Pillow."""
    with _STANDARD_ERROR:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _scale_clear_grey(image: Image.Image, data: bytes) -> None:
    """Bring the grey that a PNG calls transparent to 8 bits, as its pixels are; Pillow leaves it in 2 or 4 bits."""
    key = image.info.get("transparency")
    if image.format == "PNG" and image.mode == "L" and isinstance(key, int) and data[24] < 8:
        image.info["transparency"] = key * 255 // ((1 << data[24]) - 1)


def _all_but(pixels: Pixels, key: int) -> Pixels:
    return np.where(pixels == key, np.uint16(0), np.uint16(65535))


def _in_rgb_or_grey(image: Image.Image) -> Image.Image:
    is_keyed = "transparency" in image.info
    match image.mode:
        case "1":
            return _in_rgb_or_grey(image.convert("L"))
        case "L":
            return image.convert("LA") if is_keyed else image
        case "La":
            return image.convert("LA")
        case "P" | "PA":
            return image.convert("RGBA" if is_keyed or image.mode == "PA" else "RGB")
        case "RGB":
            return image.convert("RGBA") if is_keyed else image
        case "RGBa":
            return image.convert("RGBA")
        case "LA" | "RGBA":
            return image
        case "CMYK" | "LAB":
            return _in_srgb(image)
        case _:
            return image.convert("RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    """CMYK and Lab in sRGB: by the picture's own profile where it has a usable one."""
    profile = image.info.get("icc_profile")
    try:
        source: Any = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile or b"")
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert converted is not None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")
    return converted


def _conversions(image: Image.Image) -> tuple[str, ...]:
    named = {"CMYK": "CMYK", "LAB": "Lab"}.get(image.mode)
    return (f"its {named} colours are converted to sRGB",) if named else ()


def _without_damage(metadata: Metadata, changes: list[str]) -> Metadata:
    """The metadata without an EXIF that nothing can read; `changes` says so then."""
    if metadata.exif is None or metadata.exif[:4] in (b"II*\0", b"MM\0*"):
        return metadata
    changes.append("its EXIF is damaged, and is left out")
    return replace(metadata, exif=None)


def _in_new_colours(metadata: Metadata, image: Image.Image) -> Metadata:
    """The metadata with the profile of sRGB, if the pixels were converted to it."""
    if image.mode not in ("CMYK", "LAB"):
        return metadata
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return replace(metadata, colour_profile=profile)


def _whole_numbers(pixels: Pixels) -> Pixels:
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise _Unsupported(f"holds whole numbers from {pixels.min()} to {pixels.max()}; 0 to 65535 are supported")
    return pixels.astype(np.uint16)


def _unit_floats(pixels: Pixels) -> Pixels:
    if not np.isfinite(pixels).all() or (pixels.size and (pixels.min() < 0 or pixels.max() > 1)):
        told = f"from {np.nanmin(pixels):g} to {np.nanmax(pixels):g}" if pixels.size else "of no size"
        raise _Unsupported(f"holds float samples {told}; 0 (black) to 1 (white) are supported, so scale them first")
    return pixels.astype(np.float32)


def _depth_bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return 16 if data[24] == 16 else 8
    if image.format == "AVIF":
        position = data.find(b"av1C")
        flags = data[position + 6] if 0 <= position < len(data) - 6 else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    return 16 if image.mode.startswith("I") else 32 if image.mode == "F" else 8


def _stored_bits(image: Image.Image, data: bytes) -> int:
    """Bits a channel of a JPEG 2000 or PPM, which Pillow reduces to 8 in colour; 8 for all else."""
    if image.format == "PPM":
        *_, (_, _, _, arguments) = getattr(image, "tile")  # noqa: B009 - Pillow's stubs do not have it
        return max(8, int(arguments[-1]).bit_length()) if isinstance(arguments, tuple) else 8
    size = data.find(b"\xff\x51") if image.format == "JPEG2000" else -1  # the marker that tells the size
    return 8 if not 0 <= size < len(data) - 40 else (data[size + 40] & 0x7F) + 1


def _spread(still: Still, depth_bits: int) -> Still:
    """Pixels of 10 or 12 bits in the full range of 16; the same 10 or 12 bits can be had back."""
    if still.pixels.dtype != np.uint16:
        return still
    full = (1 << depth_bits) - 1

    def spread(pixels: Pixels) -> Pixels:
        return ((pixels.astype(np.uint32) * 65535 + full // 2) // full).astype(np.uint16)

    return replace(still, pixels=spread(still.pixels), alpha=None if still.alpha is None else spread(still.alpha))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _loop(image: Image.Image) -> int:
    """How often an animation plays. A GIF states its repetitions; one that states none plays once."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return int(loop or 0)
    return 1 if loop is None else 0 if loop == 0 else int(loop) + 1


def _upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = size
    return (width, height) if orientation >= 5 else (height, width)


def _turned(still: Still, orientation: int) -> Still:
    if orientation == 1:
        return still
    alpha = None if still.alpha is None else turned(still.alpha, orientation)
    return replace(still, pixels=turned(still.pixels, orientation), alpha=alpha)


def _tiff_depth_bits(directory: tiff.Directory) -> int:
    bits = directory.get(tiff.BITS, 1)
    return max(8, max(bits) if isinstance(bits, tuple) else int(bits))


def _is_deep(directory: tiff.Directory) -> bool:
    """Whether a page has colour, or alpha, in more than 8 bits."""
    is_rgb_or_grey = directory.get(tiff.PHOTOMETRIC) in (0, 1, 2)
    return is_rgb_or_grey and _tiff_depth_bits(directory) > 8 and int(directory.get(tiff.NUM_CHANNELS, 1)) > 1


def _deep_page(data: bytes, directory: tiff.Directory, page: int) -> Still:
    channels = int(directory.get(tiff.NUM_CHANNELS, 1))
    if channels not in (3, 4) or int(directory.get(tiff.PLANAR, 1)) != 1:
        raise _Unsupported(
            f"is a TIFF of {channels} channels with 16 or more bits, stored in a way that is not supported; save it as"
            " RGB or RGBA, interleaved"
        )
    sample_format, bits = tiff.first_of(directory.get(tiff.SAMPLE_FORMAT, 1)), _tiff_depth_bits(directory)
    if (sample_format, bits) not in ((1, 16), (3, 32)):
        raise _Unsupported(f"has {_samples_of(directory)}; 8 and 16 bits, and float of 32, are supported")
    still = split(deep.read_tiff(data, page))
    if still.pixels.dtype == np.float32:
        still = replace(still, pixels=_unit_floats(still.pixels))
    extra = tiff.first_of(directory.get(tiff.EXTRA, _ALPHA_APART))
    if still.alpha is not None and extra == 0:
        return replace(still, alpha=None)
    return _divided(still) if still.alpha is not None and extra == _ALPHA_MULTIPLIED else still


def _samples_of(directory: tiff.Directory) -> str:
    sample_format = tiff.first_of(directory.get(tiff.SAMPLE_FORMAT, 1))
    kind = {1: "", 2: "signed ", 3: "float "}.get(sample_format, "unknown ")
    return f"{kind}samples of {_tiff_depth_bits(directory)} bits"


def _divided(still: Still) -> Still:
    """The pixels with their colours divided by alpha, as they were before."""
    assert still.alpha is not None
    full = np.float64(1 if still.pixels.dtype == np.float32 else 65535)
    share = np.where(still.alpha == 0, full, still.alpha)[:, :, None] / full
    colours = np.clip(still.pixels / share, 0, full)
    rounded = colours if full == 1 else np.rint(colours)
    return replace(still, pixels=rounded.astype(still.pixels.dtype))


def _pillow_metadata(image: Image.Image, data: bytes) -> Metadata:
    info = image.info
    exif, comment = info.get("exif"), info.get("comment")
    # for a JPEG whose header has none, Pillow gives that of EXIF, or 72
    is_told = image.format not in ("JPEG", "MPO") or info.get("jfif_unit") in (1, 2)
    dpi = info.get("dpi") if is_told else None
    resources = getattr(image, "applist", ())
    iptc = b"".join(
        payload.removeprefix(b"Photoshop 3.0\0")
        for name, payload in resources
        if name == "APP13" and payload.startswith(b"Photoshop 3.0\0")
    )
    return Metadata(
        colour_profile=info.get("icc_profile") or None,
        colour_numbers=containers.nclx_colour(data) if image.format == "AVIF" else None,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=info.get("xmp") or None,
        iptc=iptc or None,
        resolution_dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        comment=comment.encode() if isinstance(comment, str) else comment or None,
    )


def _png_metadata(image: Image.Image, data: bytes) -> Metadata:
    """The metadata of a PNG, with unchanged chunks of colour and text."""
    chunks, texts = list(containers.png_chunks(data)), []
    kept = [chunk for chunk in chunks if chunk[0] in _COLOUR_CHUNKS]
    for kind, payload in chunks:
        keyword = payload.split(b"\0", 1)[0]
        if kind in _TEXT_CHUNKS and keyword != _XMP_KEYWORD and not keyword.startswith(b"Raw profile type"):
            kept.append((kind, payload))
            texts.append((keyword.decode("latin-1"), ""))
    cicp = dict(chunks).get(b"cICP")
    exif = dict(chunks).get(b"eXIf") or (image.info.get("exif") or b"").removeprefix(b"Exif\0\0")
    xmp = image.info.get("xmp")
    if xmp is None:
        texts_of_xmp = (payload for kind, payload in chunks if kind == b"iTXt" and payload.startswith(_XMP_KEYWORD))
        xmp = next((_itxt(payload) for payload in texts_of_xmp), None)
    dpi = image.info.get("dpi")
    return Metadata(
        colour_profile=image.info.get("icc_profile") or None,
        colour_numbers=ColourNumbers(primaries=cicp[0], transfer=cicp[1]) if cicp else None,
        exif=exif or None,
        xmp=xmp,
        resolution_dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        texts=tuple(texts),
        png_chunks=tuple(kept),
    )


def _itxt(payload: bytes) -> bytes:
    """The text of an iTXt chunk."""
    _, _, rest = payload.partition(b"\0")
    is_compressed, rest = rest[0], rest[2:]
    text = rest.split(b"\0", 2)[2]
    if not is_compressed:
        return text
    inflating = zlib.decompressobj()
    inflated = inflating.decompress(text, _MOST_XMP_BYTES)
    if inflating.unconsumed_tail:
        raise ValueError(f"its XMP has more than {_MOST_XMP_BYTES} bytes")
    return inflated
