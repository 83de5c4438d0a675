"""What HDR clips say beside their transfer: the mastering display and the light levels."""

import struct
from fractions import Fraction

import av

from concertdeblur.frame import HdrMetadata
from concertdeblur.media.side_data import side_data_of

# FFmpeg's AVMasteringDisplayMetadata: R, G, B and white as (x, y), the least and most cd/m2, flags
_RATIONALS = struct.Struct("=22i")
# encoder -> how it calls the mastering display and the light levels
_PARAMETERS = {
    "libx264": ("mastering-display", "cll"),
    "libx265": ("master-display", "max-cll"),
    "libsvtav1": ("mastering-display", "content-light"),
}


def hdr_metadata(frame: av.VideoFrame) -> HdrMetadata | None:
    """The static HDR metadata of a decoded frame; None if there is none."""
    found = {side_data.type.name: bytes(side_data) for side_data in side_data_of(frame)}
    mastering, light = found.get("MASTERING_DISPLAY_METADATA"), found.get("CONTENT_LIGHT_LEVEL")
    if mastering is None and light is None:
        return None
    primaries = luminance = None
    if mastering is not None:
        numbers = _RATIONALS.unpack(mastering[: _RATIONALS.size])
        ratios = [Fraction(n, d or 1) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
        primaries = tuple(ratios[:8]) if numbers[20] else None
        luminance = (ratios[8], ratios[9]) if numbers[21] else None
    levels = struct.unpack("=2I", light[:8]) if light is not None else None
    return HdrMetadata(primaries=primaries, luminance_cdm2=luminance, light_level_cdm2=levels)


def encoder_parameters(hdr: HdrMetadata, encoder: str) -> list[str]:
    """`key=value` parameters that make libx264, libx265 or libsvtav1 write the metadata; empty for other encoders."""
    if encoder not in _PARAMETERS:
        return []
    display, light = _PARAMETERS[encoder]
    counts_units, parameters = encoder != "libsvtav1", []

    def place(value: Fraction) -> str:  # x264 and x265 count in 1/50000 here
        return str(round(value * 50_000)) if counts_units else f"{float(value):.5f}"

    def level(value: Fraction) -> str:  # and in 1/10000 cd/m2 here
        return str(round(value * 10_000)) if counts_units else f"{float(value):.4f}"

    if hdr.primaries is not None and hdr.luminance_cdm2 is not None:
        red, green, blue, white = (
            f"({place(x)},{place(y)})" for x, y in zip(hdr.primaries[::2], hdr.primaries[1::2], strict=True)
        )
        least, most = hdr.luminance_cdm2
        parameters.append(f"{display}=G{green}B{blue}R{red}WP{white}L({level(most)},{level(least)})")
    if hdr.light_level_cdm2 is not None:
        parameters.append(f"{light}={hdr.light_level_cdm2[0]},{hdr.light_level_cdm2[1]}")
    return parameters
