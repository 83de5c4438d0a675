"""`build-dataset` and what comes from outside: downloads from hostile sites."""

import os
from collections.abc import Callable
from pathlib import Path

from tests.campaign.hostile_site import HostileSite, ways
from tests.campaign.isolation import MIB, Limits, command, isolated
from tests.campaign.record import Record, manners, sentence_of
from tests.clips import ClipSpec, make_clip
from tests.concert_clips import Shot, shots_clip

_FETCHING = Limits(wall_s=120, cpu_s=60, memory_bytes=768 * MIB)


def run(record: Record) -> None:
    """Each case: one list with one address."""
    place = record.folder / "inputs"
    place.mkdir(exist_ok=True)

    def make() -> bool:
        shots_clip(place / "good.mp4", Shot(photo="rocket", num_frames=12))
        make_clip(place / "secret.mp4", ClipSpec(num_frames=30))
        return True

    assert isolated(make, place / "log").result
    for number in record.numbers():
        _download(record, number, place)


def _download(record: Record, number: int, place: Path) -> None:
    """One list with one hostile address."""
    folder, draw = record.case_folder(number), record.draw(number)
    every = ways((place / "good.mp4").read_bytes(), place / "secret.mp4", draw)
    name, answer = every[number % len(every)]
    with HostileSite(answer) as site:
        address = site.base + draw.choice(("/a.mp4", "/a.m3u8", "/watch?v=1", "/../../x.mp4", "/%2e%2e%2fx.mp4"))
        (folder / "list.txt").write_text(address + "\n")
        ended = isolated(_building(folder), folder / ".log", _FETCHING)
    faults = manners(ended, tells_progress=True) + _strange_files(folder, place)
    for fault, detail in faults:
        record.found(number, f"{name} at {address}", fault, detail, [folder / ".log" / "stderr"])
    if faults:
        record.ended("download", "fault")
    elif ended.result["code"]:
        record.refused("download", sentence_of(ended))
    else:
        record.ended("download", "done")


def _building(folder: Path) -> Callable[[], dict[str, int]]:
    run = command("build-dataset", "--urls", "list.txt", "--out", "set", "--size", 128)

    def act() -> dict[str, int]:
        from concertdeblur.dataset import downloads

        os.chdir(folder)
        downloads._TIMEOUT_S, downloads._MOST_BYTES, downloads._FIRST_WAIT_S = 2, 30 * MIB, 0.05
        downloads._SLOWEST_S, downloads._LONGEST_SILENCE_S = 3.0, 20.0
        return run()

    return act


def _strange_files(folder: Path, place: Path) -> list[tuple[str, str]]:
    """Files beside the data set, downloads with names from outside, and the secret clip among them."""
    secret = (place / "secret.mp4").read_bytes()
    found = [path for path in folder.rglob("*") if path.is_file() and ".log" not in path.parts]
    wrong = [path.name for path in found if "evil" in path.name or (path.parent == folder and path.name != "list.txt")]
    wrong += [name for name in ("/tmp/evil.mp4",) if Path(name).exists()]  # noqa: S108 - what the site tries to write
    taken = [path.name for path in found if path.suffix == ".mp4" and path.read_bytes() == secret]
    faults = [("files with names from outside", ", ".join(wrong))] if wrong else []
    return faults + ([("a file of this machine was taken", ", ".join(taken))] if taken else [])
