"""The parts of the campaign, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign import clips, doors, downloads, files, killed, long, pictures, shortage
from tests.campaign.record import Record


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: what runs it, and how many cases its whole and its short form have."""

    run: Callable[[Record], None]
    count: int
    short: int


PARTS = {
    "clips": Part(run=clips.run, count=1000, short=22),
    "pictures": Part(run=pictures.run, count=500, short=20),
    "files": Part(run=files.run, count=200, short=7),
    "killed": Part(run=killed.run, count=200, short=3),
    "shortage": Part(run=shortage.run, count=120, short=4),
    "doors": Part(run=doors.run, count=220, short=22),
    "downloads": Part(run=downloads.run, count=100, short=11),
    "long": Part(run=long.run, count=2160, short=2),
}
