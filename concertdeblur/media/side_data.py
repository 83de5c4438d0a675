"""What frames carry beside their pictures. FFmpeg knows more kinds of side data than PyAV has names for.

PyAV reads all side data of a frame at once, and fails if its enumeration lacks one of the numbers. So the enumeration
gets a name for every number it lacks, by Python's own hook for missing members.
"""

from collections.abc import Iterator
from typing import Any, cast

import av
from av.sidedata.sidedata import SideData, SideDataContainer
from av.sidedata.sidedata import Type as SideDataType

# FFmpeg 8's numbers (AVFrameSideDataType) that PyAV 18 has no name for
_NEWER = {28: "LCEVC", 29: "VIEW_ID", 30: "REFERENCE_DISPLAYS_3D", 31: "EXIF"}
_UNNAMED = "NUMBER_"
_NOT_KEPT = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "SPHERICAL": "the spherical projection",
    "STEREO3D": "the stereoscopic layout",
    "LCEVC": "the LCEVC enhancement layer",
    "VIEW_ID": "every view but the first of a multi-view video",
    "REFERENCE_DISPLAYS_3D": "the description of 3D displays",
    "EXIF": "the EXIF data inside the frames",
}


def side_data_of(frame: av.VideoFrame) -> Iterator[SideData]:
    """All side data of a frame; PyAV's own `values()` fails on types that occur twice.

    Not `frame.side_data`: the frame would keep that, which names the frame, and Python frees such a cycle, and the
    pixels in it, only now and then: hundreds of frames later, or thousands.
    """
    container: Any = SideDataContainer  # its stub leaves the argument out
    return cast(Iterator[SideData], iter(container(frame)))


def lost_side_data(frame: av.VideoFrame) -> list[str]:
    """The side data of a frame that no encoder here writes, in words; all kinds without a name are one entry."""
    names = {each.type.name for each in side_data_of(frame)}
    lost = {_NOT_KEPT[name] for name in names if name in _NOT_KEPT}
    unnamed = sorted(name.removeprefix(_UNNAMED) for name in names if name.startswith(_UNNAMED))
    return sorted(lost) + ([f"frame data of FFmpeg's kind {', '.join(unnamed)}"] if unnamed else [])


def _named(kinds: Any, value: object) -> Any:
    """A new member of the enumeration for a number that it lacks; called by `enum` once for each number."""
    if not isinstance(value, int):
        return None
    member = object.__new__(kinds)
    member._name_ = _NEWER.get(value, f"{_UNNAMED}{value}")
    member._value_ = value
    return kinds._value2member_map_.setdefault(value, member)


SideDataType._missing_ = classmethod(_named)  # type: ignore[assignment]
