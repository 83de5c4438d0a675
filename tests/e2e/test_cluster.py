"""Clips on a real Ray cluster of two nodes: the same bytes as on one machine, whatever is killed on the way."""

import csv
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from concertdeblur.cluster import Need, WorkerPool, connected
from concertdeblur.dataset import findings
from concertdeblur.errors import ClusterError, Interrupted, MissingDependencyError, SourceError, UsageError
from concertdeblur.pipelines import cluster_batch
from concertdeblur.pipelines.batch import Item
from concertdeblur.pipelines.build_dataset import DatasetJob, build_dataset
from concertdeblur.pipelines.cluster_batch import ClusterOptions, deblur_on_cluster
from concertdeblur.pipelines.deblur_video import deblur_video
from concertdeblur.pipelines.segments import cutting
from concertdeblur.pipelines.video_batch import BatchSummary
from concertdeblur.pipelines.video_job import Progress, VideoJob
from concertdeblur.progress import StageProgress
from tests.clips import ClipSpec, frames_of, make_clip, same_planes
from tests.cluster import ROOT, local_cluster, nodes
from tests.cluster_tasks import Add, FailOften
from tests.commands import environment, events, run
from tests.concert_clips import Shot, shots_clip
from tests.weight_sets import random_weight_set

_OPTIONS = {"crf": "10", "preset": "ultrafast", "g": "5"}


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A cluster without a node that lends anything."""
    with local_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster(head: Any) -> Iterator[Any]:
    """The cluster with two nodes."""
    with nodes(head, 2):
        yield head


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts every 10 to 16 frames; the driver cuts, so workers need not know."""
    monkeypatch.setattr(cutting, "LEAST_FRAMES", 10)
    monkeypatch.setattr(cutting, "MOST_FRAMES", 16)


def pool_of(cluster: Any, told: list[str], *, num_retries: int = 3) -> Any:
    """Workers of a CPU each that greet with nothing."""
    return WorkerPool(cluster, Need(), greeting=dict, wanted={}, num_retries=num_retries, on_warning=told.append)


def test_tasks_are_tried_again_elsewhere(cluster: Any, tmp_path: Path) -> None:
    told: list[str] = []
    for name in ("error", "death", "hopeless"):
        (tmp_path / name).mkdir()
    with connected(cluster.address) as ray, pool_of(ray, told) as pool:
        sums = [pool.submit(Add(number=number)) for number in range(6)]
        made = [future.result(timeout=120).value for future in sums]
        assert [number for number, *_ in made] == [1, 2, 3, 4, 5, 6]
        counts = [max(n for _, process, n in made if process == each) for each in {process for _, process, _ in made}]
        assert sum(counts) == 6  # a worker keeps what it has from task to task
        until_s = time.monotonic() + 60
        while pool.num_workers < 2 and time.monotonic() < until_s:  # the second one may still be greeting
            time.sleep(0.1)
        again = pool.submit(FailOften(folder=tmp_path / "error", times=1)).result(timeout=120)
        assert again.num_retries == 1
        assert len(set(again.value)) == 2  # another worker
        again = pool.submit(FailOften(folder=tmp_path / "death", times=2, how="death")).result(timeout=120)
        assert again.num_retries == 2
        with pytest.raises(SourceError, match=r"^went wrong 4 times$"):
            pool.submit(FailOften(folder=tmp_path / "hopeless", times=99)).result(timeout=120)
        assert pool.submit(Add(number=7)).result(timeout=120).value[0] == 8
        left = pool.submit(Add(number=0, pause_s=600))
    with pytest.raises(Interrupted):
        left.result(timeout=10)
    assert any("ended; what it had in hand is done elsewhere" in message for message in told)


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("ships_source", [False, True])
def test_clips_come_out_as_from_one_machine(cluster: Any, tmp_path: Path, ships_source: bool) -> None:
    weights = str(random_weight_set(tmp_path / "set"))
    job = VideoJob(weights=weights, backend="torch", refine=False)
    (tmp_path / "in").mkdir()
    clips = [
        make_clip(
            tmp_path / "in" / f"{number}.mp4", ClipSpec(num_frames=15 + 20 * number, options=_OPTIONS, audio="aac")
        )
        for number in range(3)
    ]
    if ships_source:  # larger than the object stores of all nodes: its pieces pass through them
        with clips[1].open("ab") as file:
            file.write((260 * 2**20).to_bytes(4, "big") + b"free")
            file.truncate(file.tell() - 8 + 260 * 2**20)
    for clip in clips:
        deblur_video(clip, tmp_path / f"one_{clip.name}", job)
    clips.append(tmp_path / "in" / "bad.mp4")
    clips[-1].write_bytes(b"no clip at all")
    items = [Item(source=clip, target=tmp_path / "out" / clip.name) for clip in clips]
    seen: list[Progress] = []
    failed: list[str] = []

    def on_failure(path: Path, error: Exception) -> str:
        failed.append(path.name)
        return str(error)

    made: list[Any] = []
    with pytest.raises(SourceError, match=r"^1 of 4 clips failed: bad.mp4; the other 3 are done$"):
        made += deblur_on_cluster(
            items, job, ClusterOptions(address=cluster.address, ships_source=ships_source), is_batch=True,
            on_progress=seen.append, on_failure=on_failure,
        )  # fmt: skip
    for clip in clips[1:3]:
        assert (tmp_path / "out" / clip.name).read_bytes() == (tmp_path / f"one_{clip.name}").read_bytes()
    one, many = frames_of(tmp_path / "one_0.mp4"), frames_of(tmp_path / "out" / "0.mp4")  # too short to be cut
    assert [frame.pts for frame in many] == [frame.pts for frame in one]
    assert all(same_planes(*pair) for pair in zip(one, many, strict=True))
    assert sorted(summary.num_frames for summary in made) == [15, 35, 55]
    assert failed == ["bad.mp4"]
    counts = [progress.num_frames for progress in seen]
    assert counts == sorted(counts)
    assert counts[-1] == 15 + 35 + 55
    assert {progress.num_workers for progress in seen} & {1, 2}
    rows = list(csv.DictReader((tmp_path / "out" / "cluster-report.csv").read_text().splitlines()))
    assert [(Path(row["clip"]).name, row["state"], row["frames"]) for row in rows] == [
        ("0.mp4", "done", "15"), ("1.mp4", "done", "35"), ("2.mp4", "done", "55"), ("bad.mp4", "failed", "0"),
    ]  # fmt: skip
    assert "bad.mp4: not a clip" in rows[3]["failure"]
    assert "4 clips: 1 failed, 0 not done, 3 done" in (tmp_path / "out" / "cluster-report.html").read_text()
    again = list(deblur_on_cluster(items[:3], job, ClusterOptions(address=cluster.address), is_batch=True))
    assert again == [BatchSummary(num_done=0, num_done_before=3, failed=())]


@pytest.mark.usefixtures("short_segments")
def test_one_clip_with_its_extra_videos(cluster: Any, tmp_path: Path) -> None:
    weights = str(random_weight_set(tmp_path / "set"))
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=36, options=_OPTIONS))

    def job(name: str) -> VideoJob:
        extras = {extra: tmp_path / f"{name}_{extra}.mp4" for extra in ("heatmap", "compare")}
        return VideoJob(weights=weights, backend="torch", refine=False, **extras)  # type: ignore[arg-type]

    deblur_video(source, tmp_path / "one.mp4", job("one"))
    items = [Item(source=source, target=tmp_path / "many.mp4")]
    list(deblur_on_cluster(items, job("many"), ClusterOptions(address=cluster.address), is_batch=False))
    for extra in ("", "_heatmap", "_compare"):
        assert (tmp_path / f"many{extra}.mp4").read_bytes() == (tmp_path / f"one{extra}.mp4").read_bytes()


@pytest.mark.usefixtures("short_segments")
def test_a_node_that_is_lost_costs_what_it_had_in_hand(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[WorkerPool] = []

    class SeenPool(WorkerPool):
        def __enter__(self) -> "SeenPool":
            pools.append(self)
            super().__enter__()
            return self

    monkeypatch.setattr(cluster_batch, "WorkerPool", SeenPool)
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=300, height=96, width=128, options=_OPTIONS))
    job = VideoJob(strength=0, preset="placebo")
    deblur_video(source, tmp_path / "one.mp4", job)
    told: list[str] = []
    with nodes(cluster, 1) as (third,), ThreadPoolExecutor(1) as beside:
        lost = threading.Event()

        def on_progress(progress: Progress) -> None:
            until_s = time.monotonic() + 120
            while pools[0].num_workers < 3 and not lost.is_set() and time.monotonic() < until_s:
                time.sleep(0.05)  # the driver waits here, so work is left when the third worker has greeted
            if progress.num_workers == 3 and progress.num_frames and not lost.is_set():
                lost.set()
                beside.submit(cluster.remove_node, third, allow_graceful=False)

        items = [Item(source=source, target=tmp_path / "many.mp4")]
        made = list(
            deblur_on_cluster(
                items, job, ClusterOptions(address=cluster.address), is_batch=False, on_progress=on_progress,
                on_warning=told.append,
            )
        )  # fmt: skip
    assert lost.is_set()
    assert made[0].num_frames == 300  # type: ignore[union-attr]
    assert (tmp_path / "many.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()
    # the node may have had nothing in hand at that moment, and then nothing is told
    assert all("what it had in hand is done elsewhere" in message for message in told), told


def test_a_driver_that_is_killed_goes_on(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        spec = ClipSpec(num_frames=1300, height=64, width=96, options={**_OPTIONS, "g": "50"})
        make_clip(tmp_path / "in" / f"{number}.mp4", spec)
    choices = ("--strength", 0, "--preset", "veryslow", "--json")
    assert run("video", tmp_path / "in", tmp_path / "one", *choices).returncode == 0
    args = ("video", tmp_path / "in", tmp_path / "many", *choices, "--cluster", cluster.address)
    with subprocess.Popen(
        [sys.executable, "-m", "concertdeblur", *map(str, args)], stdout=subprocess.PIPE, env=environment(), text=True
    ) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            if any(event["event"] == "progress" and event["num_frames"] >= 400 for event in events(line)):
                driver.send_signal(signal.SIGKILL)
                break
    assert not list((tmp_path / "many").glob("[0-9].mp4"))
    ended = run(*args)
    assert ended.returncode == 0, ended.stderr
    notes = [event["message"] for event in events(ended.stdout) if event["event"] == "note"]
    assert any("of 1,300 frames were done by an earlier run" in note for note in notes)
    for number in range(2):
        name = f"{number}.mp4"
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert [path.name for path in (tmp_path / "many").iterdir() if path.name.startswith(".")] == []


def test_a_worker_of_another_version_is_refused(cluster: Any, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow" / "concertdeblur"
    shadow.mkdir(parents=True)
    for path in (ROOT / "concertdeblur").iterdir():
        if path.name != "version.py":
            (shadow / path.name).symlink_to(path)
    (shadow / "version.py").write_text('__version__ = "0.0.1"\n')
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=12))
    with nodes(cluster, 1, env_vars={"PYTHONPATH": str(shadow.parent)}):
        ended = run(
            "video", source, tmp_path / "out.mp4", "--strength", 0, "--cluster", cluster.address, "--json",
            folder=tmp_path,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = [event["message"] for event in events(ended.stdout) if event["event"] == "warning"]
    # the clip may be done before the worker has greeted
    assert len(told) <= 1
    assert all("is refused: version of concertdeblur is 0.0.1 there and " in message for message in told), told


def test_a_cluster_of_other_versions_alone_is_an_error(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_batch, "versions", lambda: {"version of PyAV": "0.1"})
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=12))
    items = [Item(source=source, target=tmp_path / "out.mp4")]
    with pytest.raises(ClusterError, match=r"every node is refused: version of PyAV is .* there and 0\.1 here"):
        list(deblur_on_cluster(items, VideoJob(strength=0), ClusterOptions(address=cluster.address), is_batch=False))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.usefixtures("short_segments")
def test_a_stopped_run_keeps_what_is_done(cluster: Any, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=600, height=96, width=128, options=_OPTIONS))
    job, stop = VideoJob(strength=0, preset="placebo"), threading.Event()
    items = [Item(source=source, target=tmp_path / "out.mp4")]

    def on_progress(progress: Progress) -> None:
        if progress.num_frames >= 10:
            stop.set()

    options = ClusterOptions(address=cluster.address)
    with pytest.raises(
        Interrupted, match=r"^0 of 1 clips are done; stopped after \d+ of 600 frames; \d+ of them are kept"
    ):
        list(deblur_on_cluster(items, job, options, is_batch=False, on_progress=on_progress, stop=stop))
    made = next(iter(deblur_on_cluster(items, job, options, is_batch=False)))
    assert made.num_frames_before >= 10  # type: ignore[union-attr]
    deblur_video(source, tmp_path / "one.mp4", job)
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()


def test_bad_choices_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=12))
    items = [Item(source=source, target=tmp_path / "out.mp4")]

    def told(job: VideoJob, address: str = "127.0.0.1:1") -> Any:
        return list(deblur_on_cluster(items, job, ClusterOptions(address=address), is_batch=False))

    with pytest.raises(UsageError, match="--device cuda instead of cuda:1"):
        told(VideoJob(device="cuda:1"))
    with pytest.raises(UsageError, match="leave out --writer"):
        told(VideoJob(writer="ffmpeg"))
    with pytest.raises(UsageError, match="--retries must not be negative"):
        ClusterOptions(num_retries=-1)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingDependencyError, match=r"install 'concertdeblur\[cluster\]'"):
            told(VideoJob(strength=0), "auto")
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'concertdeblur[cluster]'")
    with pytest.raises(ClusterError, match=r"^nobody answers at 127\.0\.0\.1:1 "):
        told(VideoJob(strength=0))
    for address in ("nonsense", "ray://127.0.0.1:10001", "host:", "host:99999"):
        with pytest.raises(UsageError, match="--cluster takes auto or HOST:PORT"):
            told(VideoJob(strength=0), address)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_data_set_is_that_of_one_machine(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scenedetect", reason="the extra 'dataset' is not installed")
    shots_clip(tmp_path / "first.mp4", Shot(photo="astronaut", num_frames=20, sharp_at=9))
    shots_clip(tmp_path / "second.mp4", Shot(photo="rocket", num_frames=20))
    (tmp_path / "bad.mp4").write_bytes(b"no clip at all")
    urls = tmp_path / "list.txt"
    urls.write_text("first.mp4\nsecond.mp4\nbad.mp4\n", encoding="utf-8")
    job = DatasetJob(size=128, shots="scenedetect")
    told: dict[str, list[str]] = {"one": [], "many": []}
    build_dataset(urls, tmp_path / "one", job, on_warning=told["one"].append)
    seen: list[StageProgress] = []
    with monkeypatch.context() as patch:  # this machine only looks through what no worker could
        looked: list[str] = []
        patch.setattr(findings, "scan_clip", partial(no_clip, looked))
        build_dataset(
            urls, tmp_path / "many", replace(job, cluster=cluster.address), on_progress=seen.append,
            on_warning=told["many"].append,
        )  # fmt: skip
    assert looked == ["bad.mp4"]
    assert any(progress.facts.get("workers") in (1, 2) for progress in seen)
    assert [message.split(":")[0] for message in told["many"]] == [message.split(":")[0] for message in told["one"]]
    for split in ("train", "test"):
        first, second = (tmp_path / name / split for name in ("one", "many"))
        assert sorted(path.name for path in second.iterdir()) == sorted(path.name for path in first.iterdir())
        assert all((second / path.name).read_bytes() == path.read_bytes() for path in first.iterdir())


def no_clip(looked: list[str], path: Path, *_: object, **__: object) -> None:
    """Stands for looking through a source; tells of it and fails."""
    looked.append(path.name)
    raise SourceError(f"{path}: not a clip")
