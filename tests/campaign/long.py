"""Runs without end, in fast forward: memory stays where it was after a fifth of the frames."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from concertdeblur.frame import Frame
from tests.campaign.isolation import MIB, Forked, Limits, command, isolated
from tests.campaign.record import Record, manners
from tests.clips import ClipSpec, make_clip
from tests.pictures import photograph

_MOST_GROWTH_BYTES = 50 * MIB
_LEAST_COUNT = 50  # below it a fifth is over before everything is loaded
_FRAMES_A_DAY = 24 * 3600 * 25
_HEIGHT, _WIDTH = 48, 64
_LIMITS = Limits(wall_s=6 * 3600, cpu_s=6 * 3600, memory_bytes=8192 * MIB)
_SAMPLE_S = 0.25


def run(record: Record) -> None:
    """Three cases; `count` is the number of identity's frames in thousands, the networks get a share of it.

    The whole is 2160: a day of 25 frames a second, and 30 minutes of real networks.
    """
    num_frames = record.count * 1000
    source, target = record.folder / "long.mkv", record.folder / "out.mkv"
    if record.only in (None, 0):
        made = isolated(lambda: _looped(source, num_frames), record.folder / "log", _LIMITS)
        assert made.result, made.stderr
    args = ("video", source, target, "--strength", 0, "--preset", "ultrafast", "--overwrite")
    cases: tuple[tuple[str, Callable[[], Any], str], ...] = (
        ("identity, file to file", command(*args), f"{num_frames} frames"),
        ("stub networks, stream", lambda: _stubbed(num_frames // 100), f"{num_frames // 100} frames"),
        ("real networks, stream", lambda: _real(1800 * num_frames / _FRAMES_A_DAY), "{frames} frames"),
    )
    for number, (name, act, told) in enumerate(cases):
        if record.only in (None, number):
            _case(record, number, name, act, told)
    if record.only in (None, 0):
        missing = num_frames - isolated(lambda: _num_packets(target), record.folder / "log", _LIMITS).result
        if missing:
            record.found(0, "identity", "frames lost", str(missing))


def _case(record: Record, number: int, name: str, act: Callable[[], Any], told: str) -> None:
    forked = Forked(act, record.folder / f"log{number}", _LIMITS)
    samples = [_memory_bytes(forked.pid)]
    while not forked.has_ended(_SAMPLE_S):
        samples.append(_memory_bytes(forked.pid))
    ended = forked.wait()
    fifth = max(1, len(samples) // 5)
    growth = max(samples[-fifth:]) - max(samples[fifth : 2 * fifth] or samples)
    faults = manners(ended, tells_progress=True)
    if not ended.death and growth > _MOST_GROWTH_BYTES and record.count >= _LEAST_COUNT:
        faults.append(("memory", f"grew by {growth / MIB:.0f} MiB"))
    for fault, detail in faults:
        record.found(number, name, fault, detail, [record.folder / f"log{number}" / "stderr"])
    record.ended(name, "fault" if faults else "done")
    frames = told.format(**(ended.result or {})) if "{" in told and ended.result else told
    record.figures[name] = (
        f"{frames} in {ended.wall_s / 60:.1f} min, memory grew by {growth / MIB:.1f} MiB after the first fifth, at most"
        f" {max(samples) / MIB:.0f} MiB"
    )


def _memory_bytes(pid: int) -> int:
    """What a process has for itself, without what files and its parent share with it; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return 1024 * int(text.split("RssAnon:")[1].split()[0]) if "RssAnon:" in text else 0


def _looped(path: Path, num_frames: int) -> bool:
    """A clip of many frames: the packets of a short one again and again, without encoding."""
    short = make_clip(
        path.with_name("short.mkv"), ClipSpec(num_frames=100, options={"crf": "20", "preset": "ultrafast"})
    )
    with av.open(str(short)) as clip, av.open(str(path), "w") as output:
        origin = clip.streams.video[0]
        stream = output.add_stream_from_template(origin)
        packets = [(bytes(p), p.pts, p.is_keyframe) for p in clip.demux(origin) if p.size and p.pts is not None]
        base, length = origin.time_base, 40 * len(packets)
        for number in range(num_frames):
            data, pts, is_keyframe = packets[number % len(packets)]
            packet: Any = av.Packet(data)
            packet.pts = packet.dts = pts + number // len(packets) * length
            packet.time_base, packet.stream, packet.is_keyframe = base, stream, is_keyframe
            output.mux_one(packet)
    return True


def _num_packets(path: Path) -> int:
    with av.open(str(path)) as clip:
        return sum(1 for packet in clip.demux(video=0) if packet.size)


def _frames() -> Iterator[Frame]:
    """A pan over a photograph, there and back, without end."""
    wide = photograph(_HEIGHT, _WIDTH + 100)
    views = [np.ascontiguousarray(wide[:, at : at + _WIDTH]) for at in (*range(0, 100, 2), *range(100, 0, -2))]
    for number, pixels in enumerate(itertools.cycle(views)):
        yield Frame(pts=number, pixels=pixels)


def _stubbed(num_frames: int) -> dict[str, int]:
    """Small random networks in the real deblurrer: motion, windows, steadiness, everything."""
    from concertdeblur.deblurring.deblurrer import DeblurOptions
    from tests.networks import random_deblurrer

    made = random_deblurrer().stream(itertools.islice(_frames(), num_frames), DeblurOptions())
    frames = sum(1 for _ in made)
    return {"code": 0 if frames == num_frames else 3, "frames": frames}


def _real(duration_s: float) -> dict[str, int]:
    """The shipped networks, for some time."""
    from concertdeblur import pretrained
    from concertdeblur.deblurring.deblurrer import DeblurOptions

    end_s, frames = time.monotonic() + duration_s, 0
    for _ in pretrained.load("concert", device="cpu").stream(_frames(), DeblurOptions()):
        frames += 1
        if time.monotonic() > end_s:
            break
    return {"code": 0, "frames": frames}
