"""Which cores this process may use, and how many of them other programs keep busy."""

import math
import os
import time
from functools import cache
from pathlib import Path

_ROOT = Path("/")


def available_cpus(root: Path = _ROOT) -> int:
    """Cores this process may use: by its affinity and its container's quota, not the machine's count.

    Args:
        root: Where `proc` and `sys` lie.
    """
    limit = quota_cpus(root)
    return allowed_cpus() if limit is None else min(limit, allowed_cpus())


def allowed_cpus() -> int:
    """Cores by affinity alone, which thread pools find out for themselves."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota_cpus(root: Path = _ROOT) -> int | None:
    """Cores that the quota of this process's control groups is worth, rounded up; None if it is not limited.

    A container with `--cpus 2` sees all cores of its machine. If it runs a thread on each, it is halted most of the
    time. Version 2 of control groups has the quota in `cpu.max`, version 1 in `cpu.cfs_quota_us`. The least quota of
    a group and of the groups above it counts.

    Args:
        root: Where `proc` and `sys` lie.
    """
    quotas = [quota for folder in _group_folders(root) if (quota := _quota(folder)) is not None]
    return max(1, math.ceil(min(quotas) - 1e-6)) if quotas else None


def busy_cpus(seconds: float = 0.5) -> float | None:
    """How many of this process's cores are busy while it sleeps; None if the system does not say."""
    before = _busy_and_whole()
    time.sleep(seconds)
    after = _busy_and_whole()
    if before is None or after is None or after[1] <= before[1]:
        return None
    return allowed_cpus() * (after[0] - before[0]) / (after[1] - before[1])


@cache
def has_avx512(root: Path = _ROOT) -> bool:
    """Whether the processor has AVX-512, as far as the system says.

    Args:
        root: Where `proc` lies.
    """
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and "avx512f" in line.split() for line in lines)


def _group_folders(root: Path) -> list[Path]:
    """The folders of this process's groups that may hold a quota, and of those above them."""
    folders: list[Path] = []
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return folders
    named = (line.split(":", 2) for line in groups if line.count(":") > 1)
    paths = {name: path for _, controllers, path in named for name in controllers.split(",")}  # version 2 has no names
    for mount in mounts:
        left, _, right = mount.partition(" - ")
        kind, _, options = [*right.split(maxsplit=2), "", "", ""][:3]
        is_cpu = kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(","))
        if not is_cpu or len(left.split()) < 5:
            continue
        within, point = left.split()[3:5]
        path = paths.get("cpu" if kind == "cgroup" else "", "/")
        top = root / point.lstrip("/")
        # a container sees its own group as the top of the mount, under whatever name its host has for it
        own = top / path.removeprefix("" if within == "/" else within).lstrip("/")
        own = own if own.is_dir() else top
        folders += [own, *(parent for parent in own.parents if parent == top or top in parent.parents)]
    return folders


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        share = float(quota) / float(period)  # no limit says "max", or -1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def _busy_and_whole() -> tuple[int, int] | None:
    """Ticks of work, and all ticks, on the cores that this process may use."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    busy = whole = 0
    try:
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
                counts = [int(tick) for tick in ticks[:8]]
                whole += sum(counts)
                busy += sum(counts) - counts[3] - counts[4]  # idle, and waiting for a disk
    except (OSError, ValueError, IndexError):
        return None
    return (busy, whole) if whole else None
