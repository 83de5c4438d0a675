"""Full, slow, gone: disks that fill up, folders that vanish, sources that shrink, no memory, few files, odd clocks."""

import contextlib
import ctypes
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign.isolation import MIB, Ended, Forked, Limits, isolated
from tests.campaign.jobs import JOBS, Job, Workshop, half_done, verdict, workshop
from tests.campaign.record import Record, manners, sentence_of

_LIMITS = Limits(wall_s=200, cpu_s=90)
_JOBS = {job.name: job for job in JOBS}
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def run(record: Record) -> None:
    """Half of the cases fill a disk; the others take turns."""
    shop = workshop(record.folder.parent / "workshop")
    others = (_gone, _truncated, _no_memory, _few_files, _no_cache, _no_shared_memory, _clock_set_back)
    for number in record.numbers():
        draw, folder = record.draw(number), record.case_folder(number)
        job = draw.choice(JOBS)
        scene: Callable[[Scene], tuple[str, list[tuple[str, str]], Ended | None]]
        scene = _full_disk if number % 2 == 0 else others[number // 2 % len(others)]
        case = Scene(job=job, shop=shop, folder=folder, draw=draw)
        kind = scene.__name__.strip("_").replace("_", " ")
        told, faults, ended = scene(case)
        for fault, detail in faults:
            record.found(number, f"{kind}, {case.job.name}: {told}", fault, detail, [folder / ".log" / "stderr"])
        if faults:
            record.ended(kind, "fault")
        elif ended is None:
            record.ended(kind, f"skipped: {told}")
        elif ended.result["code"]:
            record.refused(kind, sentence_of(ended))
        else:
            record.ended(kind, "done")


class Scene:
    """One case: a job that is laid out in a folder."""

    def __init__(self, *, job: Job, shop: Workshop, folder: Path, draw: random.Random) -> None:
        self.job, self.shop, self.folder, self.draw = job, shop, folder, draw

    def begin(self, job: Job | None = None) -> None:
        """Lay the inputs out; another job may be better for what is to be tried."""
        self.job = job or self.job
        self.expected = self.shop.finish(self.job)
        self.job.place(self.shop.folder, self.folder)

    def run(self, act: Callable[[], dict[str, int]] | None = None, limits: Limits = _LIMITS) -> Ended:
        """Do it to its end, however that is."""
        return isolated(act or self.job.act(self.folder), self.folder / ".log", limits)

    def moment_s(self) -> float:
        """Some moment of the run."""
        return self.draw.uniform(0.02, 1.0) * self.shop.wall_s[self.job.name]

    def judged(self, ended: Ended) -> list[tuple[str, str]]:
        """A run either made what it should, or refused in one sentence and left no half output."""
        faults = manners(ended, tells_progress=True)
        if faults:
            return faults
        wrong = verdict if ended.result["code"] == 0 else half_done
        return wrong(self.job, self.expected, self.folder)


Told = tuple[str, list[tuple[str, str]], Ended | None]


@contextlib.contextmanager
def small_disk(place: Path, num_bytes: int) -> Iterator[bool]:
    """A file system of its own at `place`; False if this user may not mount one."""
    place.mkdir(parents=True, exist_ok=True)
    size = f"size={max(4096, num_bytes) // 4096 * 4096}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], capture_output=True, check=False)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", place], check=True)


def _full_disk(scene: Scene) -> Told:
    """The output's disk has too little room; once it has more, the same command ends as it should."""
    scene.begin()
    job, disk = scene.job, scene.folder / "disk"
    files = [scene.shop.folder / f"expected {job.name}" / name for name in scene.expected]
    needed = sum(path.stat().st_size for path in files) + 8192
    room = int(scene.draw.uniform(0.02, 1.6) * needed) + len(job.old) * 8192
    told = f"{room} bytes of {needed}"
    with small_disk(disk, room) as is_mounted:
        if not is_mounted:
            return "mounting is not allowed here", [], None
        for name in job.old:
            shutil.copy(scene.folder / name, disk / name)
        ended = scene.run(job.act(scene.folder, disk))
        faults = manners(ended, tells_progress=True)
        if ended.death or faults:
            return told, faults, ended
        faults = half_done(job, scene.expected, disk)
        if ended.result["code"]:
            if "space" not in ended.stderr and "make room" not in ended.stderr:
                faults.append(("a full disk is not named", ended.stderr[-600:]))
            subprocess.run(["mount", "-o", f"remount,size={8 * needed + 64 * MIB}", disk], check=True)
            again = scene.run(job.act(scene.folder, disk))
            faults += manners(again, tells_progress=True)
            faults += [("rerun fails", again.stderr)] if again.result != {"code": 0} else []
        faults += faults or verdict(job, scene.expected, disk)
        return told, faults, ended


def _gone(scene: Scene) -> Told:
    """The output's folder is removed while the run writes."""
    scene.begin(scene.draw.choice([_JOBS[name] for name in ("video", "video, ffmpeg", "folder", "images", "train")]))
    place = scene.folder / "place"
    place.mkdir()
    forked = Forked(scene.job.act(scene.folder, place), scene.folder / ".log", _LIMITS)
    forked.has_ended(scene.moment_s())
    for _ in range(5):  # the run may make files while they are removed
        shutil.rmtree(place, ignore_errors=True)
    ended = forked.wait()
    return "folder removed", manners(ended, tells_progress=True), ended


def _truncated(scene: Scene) -> Told:
    """The source becomes shorter while it is read: what was cut off is missing, or the run refuses."""
    scene.begin(scene.draw.choice([_JOBS[name] for name in ("video", "video, ffmpeg", "image", "build-dataset")]))
    source = next(path for path in sorted(scene.folder.rglob("*")) if path.suffix in (".mp4", ".png"))
    size = source.stat().st_size
    forked = Forked(scene.job.act(scene.folder), scene.folder / ".log", _LIMITS)
    forked.has_ended(scene.moment_s())
    kept = scene.draw.randrange(size)
    os.truncate(source, kept)
    ended = forked.wait()
    return f"{source.name} cut to {kept} of {size}", manners(ended, tells_progress=True), ended


def _no_memory(scene: Scene) -> Told:
    """The process may take only a little more memory than it has."""
    scene.begin()
    room = int(2 ** scene.draw.uniform(21, 28))
    ended = scene.run(limits=Limits(wall_s=_LIMITS.wall_s, cpu_s=_LIMITS.cpu_s, memory_bytes=room))
    return f"{room // MIB} MiB", scene.judged(ended), ended


def _few_files(scene: Scene) -> Told:
    """64 files may be open, and a folder of clips has more."""
    if scene.draw.random() < 0.3:
        scene.begin(_JOBS["folder"])
        for number in range(80):
            shutil.copy(scene.folder / "clips" / "c0.mp4", scene.folder / "clips" / f"d{number:02d}.mp4")
        ended = scene.run(limits=Limits(wall_s=_LIMITS.wall_s, cpu_s=_LIMITS.cpu_s, num_files=64))
        made = len(list((scene.folder / "out").glob("*.mp4")))
        faults = manners(ended, tells_progress=True) or ([] if made == 84 else [("outputs lost", f"{made} of 84")])
        return "a folder of 84 clips", faults, ended
    scene.begin()
    ended = scene.run(limits=Limits(wall_s=_LIMITS.wall_s, cpu_s=_LIMITS.cpu_s, num_files=64))
    faults = scene.judged(ended)
    return "64 files", faults or [("refused", ended.stderr)] * (ended.result["code"] != 0), ended


def _no_cache(scene: Scene) -> Told:
    """The cache folder cannot be written, even by root: it lies below a file."""
    scene.begin(_JOBS["video, networks"])
    (scene.folder / "no folder").write_bytes(b"")
    act = scene.job.act(scene.folder)

    def without_cache() -> dict[str, int]:
        os.environ["XDG_CACHE_HOME"] = str(scene.folder / "no folder" / "cache")
        os.environ["HOME"] = "/proc/nowhere"
        return act()

    ended = scene.run(without_cache)
    faults = scene.judged(ended)
    return "no cache", faults or [("refused", ended.stderr)] * (ended.result["code"] != 0), ended


def _no_shared_memory(scene: Scene) -> Told:
    """There is no /dev/shm."""
    scene.begin()
    act = scene.job.act(scene.folder)
    libc = ctypes.CDLL(None, use_errno=True)

    def without_shm() -> dict[str, int]:
        if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
            return {"code": 0, "is_skipped": 1}
        while libc.umount2(b"/dev/shm", 2) == 0:
            pass
        libc.mount(b"none", b"/dev/shm", b"tmpfs", 1, b"size=4096")  # read-only
        return act()

    ended = scene.run(without_shm)
    if ended.result and "is_skipped" in ended.result:
        return "no namespace of its own", [], None
    faults = scene.judged(ended)
    return "no /dev/shm", faults or [("refused", ended.stderr)] * (ended.result["code"] != 0), ended


def _clock_set_back(scene: Scene) -> Told:
    """The clock goes backwards in jumps, and all inputs come from the future."""
    scene.begin()
    later_s = time.time() + 10 * 365 * 86400
    for path in scene.folder.rglob("*"):
        os.utime(path, (later_s, later_s))
    act = scene.job.act(scene.folder)

    def backwards() -> dict[str, int]:
        told_s = [time.time()]

        def earlier() -> float:
            told_s[0] -= 3600
            return told_s[0]

        time.time = earlier
        return act()

    ended = scene.run(backwards)
    faults = scene.judged(ended)
    return "clock set back", faults or [("refused", ended.stderr)] * (ended.result["code"] != 0), ended
