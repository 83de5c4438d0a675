"""Frames as pictures that a browser shows: upright, in 8 bits, in the brightness of an ordinary screen."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from concertdeblur.errors import TargetError
from concertdeblur.frame import Colour, Orientation, Pixels, full_scale
from concertdeblur.media.output_file import target_error
from concertdeblur.studio.brightness import in_ordinary_light

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 94, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_PLAIN = Colour()
Box = tuple[int, int, int, int]  # y, x, height, width in px


def write_view(
    path: Path, pixels: Pixels, *, orientation: Orientation, colour: Colour = _PLAIN, most_px: int | None = None
) -> None:  # fmt: skip
    """Write (height, width, 3) RGB pixels as a JPEG; who reads the file meanwhile gets the old one or the new one.

    Args:
        path: The file.
        pixels: As coded.
        orientation: How they are to be shown.
        colour: What they are in.
        most_px: The longest side; a larger picture is made smaller. None: as it is.

    Raises:
        TargetError: If it cannot be written.

    """
    longest = max(pixels.shape[:2])
    if most_px is not None and longest > most_px:
        height, width = (max(1, round(side * most_px / longest)) for side in pixels.shape[:2])
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), dtype=pixels.dtype)
    shown = np.ascontiguousarray(orientation.of(in_8_bits(pixels, colour)))
    is_encoded, data = cv2.imencode(".jpg", shown[:, :, ::-1], _JPEG)
    if not is_encoded:
        raise TargetError(f"{path}: the picture cannot be encoded")
    part = path.with_suffix(".part")
    try:
        part.write_bytes(data.tobytes())
        part.replace(path)
    except OSError as error:
        raise target_error(path, error) from error


def in_8_bits(pixels: Pixels, colour: Colour) -> npt.NDArray[np.uint8]:
    """The pixels as uint8 in sRGB; those of an HDR clip in ordinary brightness."""
    if colour.is_hdr:
        return in_ordinary_light(pixels, colour)
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, dtype=np.uint8)
    return np.asarray(np.clip(np.rint(pixels * (255 / full_scale(pixels))), 0, 255), dtype=np.uint8)


def turned(box: Box, *, height: int, width: int, orientation: Orientation) -> Box:
    """Where a box of a frame is once the frame is turned, cut to what is in the frame.

    Args:
        box: In the frame as coded.
        height: Of the frame as coded.
        width: The same.
        orientation: How the frame is to be shown.

    """
    y, x, box_height, box_width = box
    box_height, box_width = min(box_height, height - y), min(box_width, width - x)
    for _ in range(orientation.num_quarters):
        y, x, box_height, box_width = width - x - box_width, y, box_width, box_height
        height, width = width, height
    return y, width - x - box_width if orientation.is_mirrored else x, box_height, box_width
