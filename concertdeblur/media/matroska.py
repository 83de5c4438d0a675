"""Whether a Matroska file is there to its end.

A frame in Matroska says when it begins, but not how long it stays. If the clip's stated length lies behind the last
frame, either the file was cut off, or its last frame stays so long. The size that the segment states decides.
"""

from pathlib import Path

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_HEAD_BYTES = 4096


def is_whole(path: Path) -> bool:
    """Whether a file is Matroska (or WebM) and as long as it says; False for any other and where it does not say."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.startswith(_EBML):
        return False
    try:
        size, at = _vint(head, len(_EBML))
        segment_at = at + size
        if head[segment_at : segment_at + len(_SEGMENT)] != _SEGMENT:
            return False
        length, begins_at = _vint(head, segment_at + len(_SEGMENT))
    except (IndexError, ValueError):
        return False
    return path.stat().st_size >= begins_at + length


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length (EBML); gives it, and the place of the next byte.

    Raises:
        ValueError: If it says "unknown" (all ones), as live recordings do.
        IndexError: If the file ends within it.

    """
    width = 9 - data[at].bit_length()
    if width > 8:
        raise ValueError("no number")
    raw = int.from_bytes(data[at : at + width], "big")
    if at + width > len(data):
        raise IndexError("cut off")
    value = raw & ((1 << 7 * width) - 1)
    if value == (1 << 7 * width) - 1:
        raise ValueError("unknown")
    return value, at + width
