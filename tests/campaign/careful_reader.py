"""What can still be got out of a damaged clip, and whether a clip is whole: FFmpeg's own reading, without our code."""

from collections import Counter
from pathlib import Path
from typing import Any

import av
import av.error

_MOST_PACKETS = 50_000


def readable(path: Path) -> dict[str, int]:
    """How many frames of the main video stream decode, and how many packets of sound are there; nothing stops it.

    Gives `frames`, `sounds` (packets of all streams of sound together); zeros if the file does not open.
    """
    try:
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError):
        return {"frames": 0, "sounds": 0}
    frames: Counter[int] = Counter()
    areas: dict[int, int] = {}
    sounds = 0
    with container:
        packets = iter(container.demux())
        for _ in range(_MOST_PACKETS):
            try:
                packet: Any = next(packets, None)
            except (av.error.FFmpegError, ValueError):
                packet = None
            if packet is None:
                break
            if packet.stream.type == "audio":
                sounds += packet.size > 0 and not packet.is_discard
            if packet.stream.type == "video" and not packet.stream.disposition & av.stream.Disposition.attached_pic:
                for height, width in _decoded(packet):
                    frames[packet.stream.index] += 1
                    areas[packet.stream.index] = height * width
    main = max(areas, key=lambda index: areas[index], default=None)
    return {"frames": frames[main] if main is not None else 0, "sounds": sounds}


def _decoded(packet: Any) -> list[tuple[int, int]]:
    try:
        return [(frame.height, frame.width) for frame in packet.decode() if not frame.is_corrupt]
    except (av.error.FFmpegError, ValueError):
        return []


def strictly_read(path: Path) -> dict[str, Any]:
    """A whole clip's frames and sound packets, and what is wrong with it in words; nothing is forgiven."""
    frames, sounds, wrong = 0, 0, []
    last: dict[int, int] = {}
    try:
        with av.open(f"file:{path}") as container:
            main = container.streams.video[0].index
            for packet in container.demux():
                kind, index = packet.stream.type, packet.stream.index
                if packet.size and packet.dts is not None:
                    if packet.dts < last.get(index, packet.dts):
                        wrong.append(f"stream {index}: dts {packet.dts} after {last[index]}")
                    last[index] = packet.dts
                sounds += kind == "audio" and packet.size > 0
                if index == main:
                    found: Any = packet.decode()
                    frames += len(found)
                    wrong += [f"frame {frames} is corrupt" for frame in found if frame.is_corrupt]
    except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
        wrong.append(f"{type(error).__name__}: {error}")
    return {"frames": frames, "sounds": sounds, "wrong": "; ".join(wrong[:5])}
