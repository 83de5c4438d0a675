"""No encoder puts itself before everything else on the machine."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from concertdeblur.media.priorities import keeping_priorities, lend_priority
from concertdeblur.pipelines.deblur_video import VideoJob, deblur_video
from tests.clips import ClipSpec, make_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these policies")


def batch_policy(thread: int = 0) -> None:
    """What anybody may ask for, and take back."""
    os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def policies() -> set[int]:
    """Of all threads of this process."""
    found = set[int]()
    for path in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # ended meanwhile
            found.add(os.sched_getscheduler(int(path.name)))
    return found


def test_own_and_new_threads_are_put_back() -> None:
    usual = os.sched_getscheduler(0)
    found, done = list[int](), threading.Event()

    def work() -> None:
        found.append(threading.get_native_id())
        done.wait()

    with keeping_priorities():
        batch_policy()
        thread = threading.Thread(target=work)  # inherits it
        thread.start()
        while not found:
            pass
        assert os.sched_getscheduler(found[0]) == os.SCHED_BATCH != usual
    assert os.sched_getscheduler(0) == os.sched_getscheduler(found[0]) == usual
    done.set()
    thread.join()


def test_another_process_is_put_back() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        batch_policy(process.pid)
        lend_priority(process.pid)
        assert os.sched_getscheduler(process.pid) == os.sched_getscheduler(0)
        process.communicate(b"\n")
    lend_priority(process.pid)  # it has ended: nothing to do


def test_beside_and_after_av1_everything_has_the_priority_it_had(tmp_path: Path) -> None:
    """As root SVT-AV1 takes the highest there is."""
    before, seen = policies(), set[int]()
    clip = make_clip(tmp_path / "in.mp4", ClipSpec())
    job = VideoJob(strength=0, codec="av1")
    deblur_video(clip, tmp_path / "out.mkv", job, on_progress=lambda _: seen.update(policies()))
    assert seen | policies() == before
