"""Colour tags, and conversion between a clip's own planes and RGB.

Nothing here changes transfer or primaries: RGB means the R'G'B' that the clip's own matrix and range
give, so PQ and HLG are deblurred in their own encoding.
"""

from collections.abc import Callable

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from concertdeblur.errors import UnsupportedStreamError
from concertdeblur.frame import Colour, Pixels, StreamInfo
from concertdeblur.media.pixel_formats import sampling_of

_UNSPECIFIED = 2
_RGB_MATRIX = 0
LIMITED_RANGE, FULL_RANGE = 1, 2  # FFmpeg's numbers
BT709, _BT601 = 1, 5  # H.273's numbers of matrices
_HD_HEIGHT, _HD_WIDTH = 720, 1280
# the number of a matrix in H.273 -> that of swscale's coefficients
_COEFFICIENTS = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# Without these flags swscale takes a shortcut that loses 1.1 levels of luma in YUV -> RGB -> YUV (mean, 720p). With
# them it loses 0.001 levels, and takes 16 ms more for a 720p frame.
_ACCURATE = int(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


def colour_of(frame: av.VideoFrame, stream: av.VideoStream) -> Colour:
    """The colour tags of the frame, or of the container where the frame has none."""
    context = stream.codec_context
    return Colour(
        primaries=_first_known(frame.color_primaries, context.color_primaries, unknown=_UNSPECIFIED),
        transfer=_first_known(frame.color_trc, context.color_trc, unknown=_UNSPECIFIED),
        matrix=_first_known(frame.colorspace, context.colorspace, unknown=_UNSPECIFIED),
        range=_first_known(frame.color_range, context.color_range, unknown=0),
    )


def is_untagged_hd(info: StreamInfo) -> bool:
    """Whether the clip is HD and names no matrix, so that BT.709 has to be assumed."""
    is_hd = info.height >= _HD_HEIGHT or info.width >= _HD_WIDTH
    return is_hd and info.colour.matrix == _UNSPECIFIED and not sampling_of(info.pixel_format).is_rgb


def coefficients(info: StreamInfo) -> int:
    """Swscale's number for the matrix by which this clip's RGB is meant; BT.709 for untagged HD, else BT.601.

    RGB has no matrix of its own; if it becomes YUV, that is by BT.709's.

    Raises:
        UnsupportedStreamError: If swscale does not know the matrix (YCgCo, ICtCp, constant luminance).

    """
    matrix = info.colour.matrix
    if matrix == _RGB_MATRIX or sampling_of(info.pixel_format).is_rgb:
        return BT709
    if matrix == _UNSPECIFIED:
        return BT709 if info.height >= _HD_HEIGHT or info.width >= _HD_WIDTH else _BT601
    try:
        return _COEFFICIENTS[matrix]
    except KeyError:
        raise UnsupportedStreamError(
            f"colour matrix number {matrix} cannot be converted to RGB; only strength 0 keeps such a clip"
        ) from None


def effective_range(info: StreamInfo) -> int:
    """FFmpeg's number of the range: the tagged one, else full for RGB and yuvj, and limited for all others."""
    if info.colour.range:
        return info.colour.range
    is_full = info.pixel_format.startswith("yuvj") or sampling_of(info.pixel_format).is_rgb
    return FULL_RANGE if is_full else LIMITED_RANGE


def rgb_converter(info: StreamInfo) -> Callable[[av.VideoFrame], Pixels]:
    """A function from decoded frames to RGB pixels: uint8, or uint16 where the clip has more than 8 bits.

    It keeps one swscale context, so it must be called from one thread at a time. uint16 is swscale's: white of a
    10-bit clip is 65283, not 65535, so that the way back is exact.
    """
    reformatter = VideoReformatter()
    rgb_format = "rgb24" if info.bit_depth <= 8 else "rgb48le"
    matrix, value_range = coefficients(info), effective_range(info)

    def to_rgb(frame: av.VideoFrame) -> Pixels:
        made = reformatter.reformat(
            frame,
            format=rgb_format,
            src_colorspace=matrix,
            src_color_range=value_range,
            dst_color_range=FULL_RANGE,
            interpolation=_ACCURATE,
            threads=1,
        )
        return made.to_ndarray()  # type: ignore[return-value]

    return to_rgb


class PlaneConverter:
    """Pixels or planes to the encoder's pixel format, in the clip's own matrix.

    Planes that already have that format and range pass through untouched. Not thread-safe.
    """

    def __init__(self, info: StreamInfo, pixel_format: str, *, value_range: int | None = None) -> None:
        """Set the conversion.

        Args:
            info: The clip.
            pixel_format: The encoder's.
            value_range: FFmpeg's number of the range that is written; None: the clip's own.

        """
        self._info = info
        self._pixel_format = pixel_format
        self._reformatter = VideoReformatter()
        self._range = effective_range(info)
        self._written_range = FULL_RANGE if sampling_of(pixel_format).is_rgb else value_range or self._range

    def from_native(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Decoded planes in the encoder's format."""
        if frame.format.name == self._pixel_format and self._written_range == self._range:
            return frame
        return self._reformatted(frame, source_range=self._range)

    def from_rgb(self, pixels: Pixels) -> av.VideoFrame:
        """RGB pixels, uint8 or uint16, in the encoder's format."""
        if pixels.dtype == np.uint8:
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, dtype=np.uint8), "rgb24")
        else:
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, dtype=np.uint16), "rgb48le")
        return self._reformatted(made, source_range=FULL_RANGE)

    def _reformatted(self, frame: av.VideoFrame, *, source_range: int) -> av.VideoFrame:
        matrix = coefficients(self._info)
        return self._reformatter.reformat(
            frame,
            format=self._pixel_format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=source_range,
            dst_color_range=self._written_range,
            interpolation=_ACCURATE,
            threads=1,
        )


def _first_known(*values: int, unknown: int) -> int:
    return next((int(value) for value in values if value not in (unknown, None)), unknown)
