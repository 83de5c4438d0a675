"""Simulates clips on a cluster: `python docs/scale_simulation.py [--measured OUT.json]`.

Events in time: the driver plans clips (each on one of its cores), segments wait for a worker, workers fail and come
back, a clip's packets are joined once its last segment is there. What the driver, a task and a byte cost was measured
by `docs/measure_scale.py`; how long a frame takes and how often nodes fail is assumed, and can be given.
"""

import heapq
import json
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np

from concertdeblur.pipelines.cluster_batch import LEAST_CLIPS, MOST_CLIPS
from concertdeblur.pipelines.segments.cutting import LEAST_FRAMES
from concertdeblur.pipelines.segments.segmented_run import WARM_UP_FRAMES

SCALES = ((16, 2), (100, 10), (1_000, 100), (10_000, 1_000), (100_000, 1_000))  # (clips, workers)
READS_BY_DRIVER = 4  # of a source: where its time begins anew, its hash, the plan, sound and other streams
SPREAD = 0.25  # of how long a segment takes: standard deviation of its logarithm


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What things take; the first four as `measure_scale.py` found them on a busy machine."""

    plan_s_a_megapixel: float = 0.0080
    hash_bytes_a_s: float = 1.5e9
    task_s: float = 0.0012
    dispatch_s: float = 0.0019
    join_bytes_a_s: float = 2.0e8
    frame_s: float = 1.0  # of a worker
    megapixels: float = 1280 * 720 / 1e6
    clip_s: float = 240.0  # median length; half as long and twice as long are as frequent
    rate_fps: float = 30.0
    bytes_a_s: float = 1.0e6  # of a clip's time
    driver_cores: int = 8
    hours_to_failure: float = 200.0  # of a worker
    return_s: float = 120.0  # of a worker that failed
    segment_start_s: float = 0.5  # opening the clip and the encoder


@dataclass(kw_only=True)
class Outcome:
    """What came of a run."""

    makespan_s: float = 0.0
    ideal_s: float = 0.0
    driver_s: float = 0.0  # of cores
    dispatch_s: float = 0.0
    num_lost: int = 0
    lost_s: float = 0.0
    num_bytes: float = 0.0
    num_segments: int = 0


@dataclass(kw_only=True)
class Simulation:
    """One run over so many clips."""

    num_clips: int
    num_workers: int
    costs: Costs
    in_hand: int  # clips at once
    draw: np.random.Generator
    events: list[tuple[float, int, str, int]] = field(default_factory=list)  # (when, order, what, of which)
    waiting: deque[tuple[int, float]] = field(default_factory=deque)  # (clip, seconds)
    idle: list[int] = field(default_factory=list)
    driver_free_s: list[float] = field(default_factory=list)
    dispatcher_free_s: float = 0.0
    left: dict[int, int] = field(default_factory=dict)  # segments of the clips in hand
    sizes: dict[int, float] = field(default_factory=dict)  # bytes of the clips in hand
    at_work: dict[int, tuple[int, float, float]] = field(default_factory=dict)  # worker -> clip, seconds, begun
    segments: dict[int, tuple[int, float]] = field(default_factory=dict)  # that the plan will reach
    next_clip: int = 0
    num_events: int = 0
    told: Outcome = field(default_factory=Outcome)

    def run(self) -> Outcome:
        """From the first clip to the last output."""
        self.idle = list(range(self.num_workers))
        self.driver_free_s = [0.0] * self.costs.driver_cores
        for _ in range(min(self.in_hand, self.num_clips)):
            self._begin_clip(0.0)
        num_done = 0
        while num_done < self.num_clips:
            now_s, _, what, which = heapq.heappop(self.events)
            if what == "joined":
                num_done += 1
                self.told.makespan_s = now_s
                self._begin_clip(now_s)
            else:
                getattr(self, f"_{what}")(now_s, which)
            self._hand_out(now_s)
        self.told.ideal_s /= self.num_workers
        return self.told

    def _begin_clip(self, now_s: float) -> None:
        """The driver hashes and plans the next clip; its segments are known as the plan goes on."""
        if self.next_clip == self.num_clips:
            return
        costs, clip = self.costs, self.next_clip
        self.next_clip += 1
        length_s = costs.clip_s * 2.0 ** self.draw.normal()
        num_frames = max(1, round(length_s * costs.rate_fps))
        num_bytes = length_s * costs.bytes_a_s
        plan_s = num_frames * costs.megapixels * costs.plan_s_a_megapixel + num_bytes / costs.hash_bytes_a_s
        begun_s = self._on_driver(now_s, plan_s)
        sizes = [LEAST_FRAMES] * (num_frames // LEAST_FRAMES) + [num_frames % LEAST_FRAMES] * (
            num_frames % LEAST_FRAMES > 0
        )
        self.left[clip], self.sizes[clip] = len(sizes), num_bytes
        self.told.num_bytes += num_bytes * (READS_BY_DRIVER + 1 + 2)  # workers read it, packets are written twice
        self.told.num_segments += len(sizes)
        for number, size in enumerate(sizes, 1):
            spread = float(np.exp(self.draw.normal(-(SPREAD**2) / 2, SPREAD)))
            work_s = (size + WARM_UP_FRAMES * (number > 1)) * costs.frame_s * spread
            self.told.ideal_s += size * costs.frame_s * spread
            self._at(begun_s + plan_s * number / len(sizes), "planned", self._kept(clip, work_s))

    def _kept(self, clip: int, work_s: float) -> int:
        """A number under which a segment is found again."""
        self.num_events += 1
        self.segments[self.num_events] = (clip, work_s + self.costs.segment_start_s + self.costs.task_s)
        return self.num_events

    def _planned(self, _: float, segment: int) -> None:
        self.waiting.append(self.segments.pop(segment))

    def _hand_out(self, now_s: float) -> None:
        """Waiting segments go to idle workers, one after the other: one thread of the driver does that."""
        while self.waiting and self.idle:
            worker, (clip, work_s) = self.idle.pop(), self.waiting.popleft()
            self.dispatcher_free_s = max(now_s, self.dispatcher_free_s) + self.costs.dispatch_s
            self.told.dispatch_s += self.costs.dispatch_s
            begun_s = self.dispatcher_free_s
            fails_after_s = float(self.draw.exponential(self.costs.hours_to_failure * 3600))
            self.at_work[worker] = (clip, work_s, begun_s)
            if fails_after_s < work_s:
                self._at(begun_s + fails_after_s, "failed", worker)
            else:
                self._at(begun_s + work_s, "done", worker)

    def _failed(self, now_s: float, worker: int) -> None:
        clip, work_s, begun_s = self.at_work.pop(worker)
        self.told.num_lost += 1
        self.told.lost_s += now_s - begun_s
        self.waiting.appendleft((clip, work_s))
        self._at(now_s + self.costs.return_s, "back", worker)

    def _back(self, _: float, worker: int) -> None:
        self.idle.append(worker)

    def _done(self, now_s: float, worker: int) -> None:
        clip, *_ = self.at_work.pop(worker)
        self.idle.append(worker)
        self.left[clip] -= 1
        if not self.left[clip]:
            del self.left[clip]
            join_s = self.sizes.pop(clip) / self.costs.join_bytes_a_s
            self._at(self._on_driver(now_s, join_s) + join_s, "joined", clip)

    def _on_driver(self, now_s: float, work_s: float) -> float:
        """When the driver's next free core begins with it."""
        begun_s = max(now_s, heapq.heappop(self.driver_free_s))
        heapq.heappush(self.driver_free_s, begun_s + work_s)
        self.told.driver_s += work_s
        return begun_s

    def _at(self, when_s: float, what: str, which: int) -> None:
        self.num_events += 1
        heapq.heappush(self.events, (when_s, self.num_events, what, which))


def row(name: str, num_clips: int, num_workers: int, costs: Costs, seed: int) -> str:
    """A run as a line of a table."""
    in_hand = min(num_clips, MOST_CLIPS, max(LEAST_CLIPS, 2 * num_workers))
    made = Simulation(
        num_clips=num_clips, num_workers=num_workers, costs=costs, in_hand=in_hand, draw=np.random.default_rng(seed)
    ).run()
    span_s = made.makespan_s
    cells = [
        name, f"{num_clips:,}", f"{num_workers:,}", f"{made.num_segments:,}", f"{span_s / 3600:,.1f} h",
        f"{made.ideal_s / span_s:.1%}", f"{made.num_lost:,} ({made.lost_s / 3600:,.0f} h)",
        f"{made.driver_s / span_s:.2f}", f"{made.dispatch_s / span_s:.1%}",
        f"{made.num_bytes / span_s / 1e6:,.0f} MB/s",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--measured", type=click.Path(path_type=Path, exists=True), help="What `measure_scale.py` wrote.")
@click.option("--frame-s", default=Costs.frame_s, show_default=True, help="Seconds of a worker for a frame.")
@click.option("--gpu-frame-s", default=0.05, show_default=True, help="The same of a worker with a GPU.")
@click.option("--seed", default=0, show_default=True, help="What is random follows it.")
def main(measured: Path | None, frame_s: float, gpu_frame_s: float, seed: int) -> None:
    """Write the table to standard output."""
    costs = replace(Costs(), frame_s=frame_s)
    if measured is not None:
        told = json.loads(measured.read_text(encoding="utf-8"))["driver"]
        costs = replace(costs, **{name: value for name, value in told.items() if name in Costs.__dataclass_fields__})
    gpu = replace(costs, frame_s=gpu_frame_s)
    click.echo(
        "| kind | clips | workers | segments | time | efficiency | segments lost | cores of the driver | its thread"
        " for tasks | file system |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for clips, workers in SCALES:
        click.echo(row("CPU", clips, workers, costs, seed))
    click.echo(row("CPU, failing daily", 10_000, 1_000, replace(costs, hours_to_failure=24.0), seed))
    for clips, workers in SCALES[1:-1]:
        click.echo(row("GPU", clips, workers, gpu, seed))
    click.echo(f"\n{costs}")


if __name__ == "__main__":
    main()
