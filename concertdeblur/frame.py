"""A video frame and what is known of its stream; all other modules pass these around."""

import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av

Pixels: TypeAlias = npt.NDArray[np.uint8 | np.uint16 | np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)

PQ, HLG = 16, 18  # transfers as H.273 numbers: SMPTE ST 2084 and ARIB STD-B67


class Medium(Enum):
    """Whether a frame is a picture or belongs to a video; this decides how it is refined."""

    PICTURE = auto()  # it stands alone, and is refined as long as that helps
    VIDEO = auto()  # it is one of many: refining is limited, and frames must not flicker


def full_scale(pixels: Pixels) -> float:
    """The value of white: 255, 65535, or 1 for float32."""
    return {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(pixels.dtype, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Colour:
    """Colour tags as H.273 numbers (2: unspecified) and FFmpeg's range (0 unspecified, 1 limited, 2 full)."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in (PQ, HLG)


@dataclass(frozen=True, kw_only=True, slots=True)
class Orientation:
    """What a player does with coded pixels: quarter turns counter-clockwise, and then left and right change places."""

    num_quarters: int = 0  # 0 to 3
    is_mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        """Whether height and width change places."""
        return self.num_quarters % 2 == 1

    def of(self, pixels: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """Pixels (height, width, ...) as they are shown; maybe a view."""
        turned = np.rot90(pixels, self.num_quarters)
        return turned[:, ::-1] if self.is_mirrored else turned


@dataclass(frozen=True, kw_only=True, slots=True)
class HdrMetadata:
    """Static HDR metadata of a stream (SMPTE ST 2086, CTA-861.3); None where it has none."""

    primaries: tuple[Fraction, ...] | None = None  # x and y of red, green, blue, white
    luminance_cdm2: tuple[Fraction, Fraction] | None = None  # least, most
    light_level_cdm2: tuple[int, int] | None = None  # brightest pixel, brightest frame average


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamInfo:
    """One video stream: size as coded, time, colour, and how it is meant to be shown."""

    index: int  # in the container
    height: int
    width: int
    time_base: Fraction  # seconds a unit of pts
    rate: Fraction | None  # nominal frames a second; None if the container does not say
    num_frames_hint: int | None  # as the container says or duration and rate give; may be wrong
    bit_depth: int
    pixel_format: str  # FFmpeg's name
    colour: Colour
    rotation_deg: int = 0  # counter-clockwise, as to be shown
    display_matrix: tuple[int, ...] | None = None  # FFmpeg's nine numbers: rotation and flips; None if upright
    sample_aspect_ratio: Fraction | None = None
    codec: str = ""
    hdr: HdrMetadata | None = None

    @property
    def orientation(self) -> Orientation:
        """How it is to be shown, to the nearest quarter turn."""
        if self.display_matrix is None:
            return Orientation(num_quarters=round(self.rotation_deg / 90) % 4)
        a, b, _, c, d = self.display_matrix[:5]  # a pixel at (x, y) is shown at (a x + c y, b x + d y)
        is_mirrored = a * d < b * c
        angle = math.atan2(b, -a if is_mirrored else a)  # clockwise, since y runs down
        return Orientation(num_quarters=round(-2 * angle / math.pi) % 4, is_mirrored=is_mirrored)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One video frame with its time stamps.

    `pixels` is (height, width, 3) RGB, uint8, or uint16 with full scale 65535 where the source has more
    than 8 bits; None if nobody asked for RGB. `native` is the frame as decoded: encoding it again
    converts no colour. At least one of the two is there. `captions` is a tiny picture that bears the closed
    captions, which would be lost with `native`; None if there are none.
    """

    pts: int  # in units of the stream's time base
    duration: int = 0  # in the same units; 0 if unknown
    pixels: Pixels | None = None
    native: "av.VideoFrame | None" = None
    captions: "av.VideoFrame | None" = None
    is_repeated: bool = False  # stands in for a frame that did not decode

    def __post_init__(self) -> None:
        if self.pixels is None and self.native is None:
            raise ValueError("a frame needs pixels or a native picture")

    def with_pixels(self, pixels: Pixels) -> "Frame":
        """The same moment with other pixels; the native picture is dropped."""
        return replace(self, pixels=pixels, native=None)
