"""Measures clips on a cluster of two workers of this machine: `python docs/measure_scale.py OUT.json`.

It draws tiny clips, starts Ray's own test cluster here, and deblurs 1 to 16 of them with one worker and with two.
Beside these it measures what the simulation (`docs/scale_simulation.py`) wants: what the driver does for a frame, a
segment and a byte. The machine must be idle, with two cores or more for the workers and one for the driver.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import click
import cv2

from concertdeblur.cluster import Need, Shelf, WorkerPool, WorkerState, connected
from concertdeblur.media.backends import open_reader
from concertdeblur.media.drawn_clip import add_video, write_pictures
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.pipelines.batch import Item
from concertdeblur.pipelines.cluster_batch import ClusterOptions, deblur_on_cluster
from concertdeblur.pipelines.segments.planning import plan
from concertdeblur.pipelines.segments.segmented_run import WARM_UP_FRAMES
from concertdeblur.pipelines.segments.work_folder import file_digest
from concertdeblur.pipelines.video_job import VideoJob
from concertdeblur.sample import RATE_FPS, Picture, frames

STORE_BYTES = 80 * 2**20
HEIGHT_PX, WIDTH_PX = 64, 96
NUM_NOTHINGS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Nothing:
    """A task that does nothing."""

    def run(self, worker: WorkerState) -> None:
        """Do nothing."""
        del worker


@contextmanager
def cluster() -> Iterator[Any]:
    """A cluster whose head lends nothing."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


@cache
def sample_pictures() -> list[Picture]:
    """A second of the sample, which takes a while to draw."""
    return [blurred for blurred, _ in islice(frames(), RATE_FPS)]


def draw(path: Path, num_frames: int, *, height_px: int, width_px: int) -> Path:
    """A clip of the sample's pictures, forth and back."""
    size = (width_px, height_px)
    pictures = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in sample_pictures()]
    there_and_back = [*pictures, *pictures[::-1]]
    with av.open(str(path), "w") as container:
        options = {"crf": "18", "preset": "fast"}
        stream = add_video(container, height=height_px, width=width_px, rate_fps=RATE_FPS, options=options)
        write_pictures(container, stream, (there_and_back[n % len(there_and_back)] for n in range(num_frames)))
    return path


def timed_batches(
    address: str, clips: list[Path], out: Path, job: VideoJob, counts: list[int]
) -> list[dict[str, float]]:
    """Seconds of batches of so many clips, from the call to the report: workers start anew for each."""
    rows = []
    for count in counts:
        folder = out / f"{count}"
        folder.mkdir(parents=True)
        items = [Item(source=clip, target=folder / clip.name) for clip in clips[:count]]
        options = ClusterOptions(address=address)
        rows.append(
            {"clips": count, "seconds": seconds(lambda: list(deblur_on_cluster(items, job, options, is_batch=True)))}  # noqa: B023
        )
    return rows


def of_driver(folder: Path, address: str) -> dict[str, float]:
    """What the driver does, and a task's way there and back without anything to do."""
    clip = draw(folder / "plan.mp4", 600, height_px=360, width_px=640)
    with open_reader(clip, ReaderOptions(wants_pixels=False)) as reader:
        plan_s = cpu_seconds(lambda: list(plan(reader.frames(), WARM_UP_FRAMES, in_one=False)))
    large = folder / "large"
    large.write_bytes(os.urandom(2**26))
    hash_s = cpu_seconds(lambda: file_digest(large))
    with connected(address) as ray:
        pool = WorkerPool(ray, Need(), greeting=dict, wanted={}, num_retries=0, on_warning=click.echo)
        with pool:
            pool.submit(Nothing()).result()
            alone_s = [seconds(lambda: pool.submit(Nothing()).result()) for _ in range(50)]
            many_s = seconds(lambda: [one.result() for one in [pool.submit(Nothing()) for _ in range(NUM_NOTHINGS)]])
        shelf = ray.remote(Shelf).options(num_cpus=0).remote()
        pieces = range(0, 2**26, 2**22)
        shelf_s = seconds(lambda: [len(ray.get(shelf.piece.remote(large, offset))) for offset in pieces])
    return {
        "plan_s_a_megapixel": plan_s / 600 / (0.36 * 0.64),
        "hash_bytes_a_s": 2**26 / hash_s,
        "task_s": statistics.median(alone_s),
        "dispatch_s": many_s / NUM_NOTHINGS,
        "shelf_bytes_a_s": 2**26 / shelf_s,
    }


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def cpu_seconds(work: Callable[[], Any]) -> float:
    """How long processors are at it in this process, however busy others keep them."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--clips", "most", default=16, show_default=True, help="The most clips of a batch.")
@click.option("--frames", "num_frames", default=60, show_default=True, help="Of a clip.")
@click.option("--weights", default="concert-fast", show_default=True, help="The weight set.")
def main(out: Path, most: int, num_frames: int, weights: str) -> None:
    """Write what was measured to OUT, and a table of it to standard output."""
    counts = [count for count in (1, 2, 4, 8, 16) if count <= most]
    job = VideoJob(weights=weights, device="cpu")
    made: dict[str, Any] = {"frames": num_frames, "weights": weights, "size": [HEIGHT_PX, WIDTH_PX]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [
            draw(folder / f"{number:02d}.mp4", num_frames, height_px=HEIGHT_PX, width_px=WIDTH_PX)
            for number in range(most)
        ]
        with cluster() as nodes:
            for num_workers in (1, 2):
                nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
                batches = timed_batches(nodes.address, clips, folder / f"of_{num_workers}", job, counts)
                made[f"workers_{num_workers}"] = batches
                if num_workers == 1:
                    made["driver"] = of_driver(folder, nodes.address)
    out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    click.echo("| clips | one worker | two workers | efficiency |\n| --- | --- | --- | --- |")
    for one, two in zip(made["workers_1"], made["workers_2"], strict=True):
        share = one["seconds"] / (2 * two["seconds"])
        click.echo(f"| {one['clips']} | {one['seconds']:.1f} s | {two['seconds']:.1f} s | {share:.0%} |")
    for name, value in made["driver"].items():
        click.echo(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
