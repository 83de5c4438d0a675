"""Runs that are killed at random moments: what was there stays whole, and a rerun ends as if nothing had been."""

import os
import random
from pathlib import Path

from tests.campaign.isolation import Forked, Limits, isolated
from tests.campaign.jobs import JOBS, Job, Workshop, half_done, verdict, workshop
from tests.campaign.record import Record, manners

_LIMITS = Limits(wall_s=300, cpu_s=120)
_NUM_DECISIONS = 300


def run(record: Record) -> None:
    """Each case: one job killed once or a few times, then done to its end; every ninth is the review page's log."""
    shop = workshop(record.folder.parent / "workshop")
    for number in record.numbers():
        draw, which = record.draw(number), number % (len(JOBS) + 1)
        if which == len(JOBS):
            _of_reviews(record, number, draw)
        else:
            _of_job(record, number, JOBS[which], shop, draw)


def _of_job(record: Record, number: int, job: Job, shop: Workshop, draw: random.Random) -> None:
    expected, folder = shop.finish(job), record.case_folder(number)
    job.place(shop.folder, folder)
    faults, num_kills = [], 0
    for _ in range(draw.choice((1, 1, 2, 3))):
        forked = Forked(job.act(folder), folder / ".log", _LIMITS)
        has_ended = forked.has_ended(draw.uniform(0.02, 1.1) * shop.wall_s[job.name])
        if not has_ended:
            forked.kill()
            num_kills += 1
        ended = forked.wait()
        faults += manners(ended, tells_progress=True) if has_ended else half_done(job, expected, folder)
        if has_ended or faults:
            break
    ended = isolated(job.act(folder), folder / ".log", _LIMITS)
    faults += manners(ended, tells_progress=True) + (
        [("rerun fails", ended.stderr)] if ended.result != {"code": 0} else []
    )
    faults += [] if faults else verdict(job, expected, folder)
    left = [path.name for path in folder.iterdir() if path.name not in (*job.inputs, job.output, ".log")]
    faults += [("litter", " ".join(left))] if left else []
    for fault, detail in faults:
        record.found(number, f"{job.name}, killed {num_kills} times", fault, detail, [folder / ".log" / "stderr"])
    _count(record, num_kills)
    record.ended(job.name, "fault" if faults else "done" if num_kills else "not in time")


def _of_reviews(record: Record, number: int, draw: random.Random) -> None:
    """The log of reviews: after a kill it has every decision that was acknowledged, and at most one more."""
    folder = record.case_folder(number)
    decided = [(f"frame{draw.randrange(40)}", draw.choice((True, False, None))) for _ in range(_NUM_DECISIONS)]

    def act() -> bool:
        from concertdeblur.dataset.reviews import Review, ReviewLog

        with ReviewLog(folder) as log:
            for frame_id, keep in decided:
                log.add(frame_id, None if keep is None else Review(keep=keep))
                os.write(1, b".")
        return True

    forked = Forked(act, folder / ".log", _LIMITS)
    if not forked.has_ended(draw.uniform(0.001, 0.3)):
        forked.kill()
        _count(record, 1)
    num_told = len(forked.wait().stdout)
    fault = _wrong_reviews(folder, decided, num_told)
    if fault:
        record.found(number, f"reviews, killed after {num_told}", "review lost", fault, [folder / "reviews.jsonl"])
    record.ended("annotate", "fault" if fault else "done" if num_told < _NUM_DECISIONS else "not in time")


def _count(record: Record, num_kills: int) -> None:
    record.figures["kills"] = str(int(record.figures.get("kills", 0)) + num_kills)


def _wrong_reviews(folder: Path, decided: list[tuple[str, bool | None]], num_told: int) -> str:
    from concertdeblur.dataset.reviews import ReviewLog, read_reviews

    found = {frame_id: review.keep for frame_id, review in read_reviews(folder).items()}
    possible = []
    for count in (num_told, num_told + 1):
        stands: dict[str, bool] = {}
        for frame_id, keep in decided[:count]:
            stands.pop(frame_id, None)
            if keep is not None:
                stands[frame_id] = keep
        possible.append(stands)
    if found not in possible:
        return f"{found} is neither of {possible}"
    with ReviewLog(folder) as log:  # the next run opens it
        return "" if {key: one.keep for key, one in log.reviews.items()} == found else "another run reads it otherwise"
