"""The parts of the campaign, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign import clips, doors, files, killed, pictures, shortage
from tests.campaign.record import Record


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: what runs it, and how many cases the whole of it has."""

    run: Callable[[Record], None]
    count: int


PARTS = {
    "clips": Part(run=clips.run, count=1000),
    "pictures": Part(run=pictures.run, count=500),
    "files": Part(run=files.run, count=200),
    "killed": Part(run=killed.run, count=200),
    "shortage": Part(run=shortage.run, count=120),
    "doors": Part(run=doors.run, count=200),
}
