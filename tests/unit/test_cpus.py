"""Which cores are ours: affinity, and the quota of a container in both versions of control groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from concertdeblur.cpus import allowed_cpus, available_cpus, busy_cpus, has_avx512, quota_cpus

V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {within} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def machine(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    """The parts of `/proc` and `/sys` that speak of quotas."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("10000 100000\n", 1), ("max 100000\n", None), ("nonsense", None)],
)
def test_version_2_in_a_container(tmp_path: Path, text: str, cpus: int | None) -> None:
    assert quota_cpus(machine(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": text})) == cpus


def test_the_least_of_the_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a.slice/cpu.max": "300000 100000",
        "sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000",
        "sys/fs/cgroup/other/cpu.max": "100000 100000",
    }
    assert quota_cpus(machine(tmp_path, "0::/a.slice/b.scope\n", V2, files)) == 3


@pytest.mark.parametrize(
    ("within", "folder"), [("/", "docker/abc/"), ("/docker/abc", ""), ("/elsewhere", "")], ids=["host", "own", "hidden"]
)
@pytest.mark.parametrize(("quota", "cpus"), [("250000\n", 3), ("-1\n", None)])
def test_version_1(tmp_path: Path, within: str, folder: str, quota: str, cpus: int | None) -> None:
    group = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    files = {f"{group}cpu.cfs_quota_us": quota, f"{group}cpu.cfs_period_us": "100000\n"}
    cgroup = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n"
    assert quota_cpus(machine(tmp_path, cgroup, V1.format(within=within), files)) == cpus


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert quota_cpus(tmp_path) is None
    assert available_cpus(tmp_path) == allowed_cpus() >= 1


def test_the_lesser_of_quota_and_affinity_counts(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": "100000 100000"})
    assert available_cpus(root) == 1
    (root / "sys/fs/cgroup/cpu.max").write_text("100000000 100000")
    assert available_cpus(root) == allowed_cpus()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the load is read from /proc/stat")
def test_others_work_is_seen() -> None:
    core = min(os.sched_getaffinity(0))
    spinning = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spinning], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            busy = busy_cpus(0.3)
        finally:
            other.kill()
    assert busy is not None
    assert 0.3 < busy <= allowed_cpus() + 0.01


@pytest.mark.parametrize(
    ("text", "expected"),
    [("flags\t\t: fpu avx2 avx512f avx512bw\n", True), ("flags\t\t: fpu avx2\n", False), (None, False)],
)
def test_avx512_is_read_off_the_processors_flags(tmp_path: Path, text: str | None, expected: bool) -> None:
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(text)
    assert has_avx512(tmp_path) is expected
