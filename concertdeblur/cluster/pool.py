"""The workers of a cluster, and tasks for them: each goes to the next free worker, and elsewhere if it fails there.

One thread owns everything here; callers and Ray's threads only put events into its queue. So nothing is locked, and the
order in which things happen is that of the queue.
"""

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from concertdeblur.cluster.worker import Need, Task, Worker
from concertdeblur.errors import ClusterError, ConcertDeblurError, Interrupted

_LOOK_S = 2.0  # between two looks at the nodes
_MOST_STARTS = 3  # of workers on a node that end before they have done anything
_PATIENCE_S = 60.0  # with no worker and none on its way, until work is given up

Greeting: TypeAlias = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """What a task gave."""

    value: Any
    num_retries: int  # how often it failed before
    node: str  # the worker's
    elapsed_s: float  # of the try that went well, on its way there and back


@dataclass(eq=False, kw_only=True, slots=True)
class _Work:
    task: Task
    future: "Future[Ended]"
    failed_on: set[str] = field(default_factory=set)  # nodes
    num_failures: int = 0
    begun_s: float = 0.0


@dataclass(eq=False, kw_only=True, slots=True)
class _Seat:
    """A worker."""

    actor: Any
    node: str
    address: str
    is_ready: bool = False  # it has greeted, and fits
    work: _Work | None = None


class WorkerPool:
    """Workers on all nodes of a cluster, as they come and go; a context manager.

    Args:
        ray: The module, connected.
        need: What each worker takes.
        greeting: Run on each worker before it gets work; one whose answer differs from the first one's, or from what
            `wanted` says, is refused.
        wanted: What the driver knows of the answer.
        num_retries: How often a task that fails is tried again.
        on_warning: Told of nodes that are refused or lost, in the pool's thread.

    """

    def __init__(
        self, ray: Any, need: Need, *, greeting: Greeting, wanted: Mapping[str, str], num_retries: int,
        on_warning: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._ray, self._need, self._greeting = ray, need, greeting
        self._wanted, self._num_retries, self._on_warning = dict(wanted), num_retries, on_warning
        self._actor = ray.remote(Worker)
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._seats: list[_Seat] = []
        self._waiting: list[_Work] = []
        self._refused: dict[str, str] = {}  # node -> why
        self._starts: Counter[str] = Counter()  # node -> workers that ended at once
        self._lost: set[str] = set()
        self._alone_since_s: float | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="cluster", daemon=True)

    def __enter__(self) -> "WorkerPool":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.put(None)
        self._thread.join()

    @property
    def num_workers(self) -> int:
        """How many take work just now; may be read from any thread."""
        return sum(seat.is_ready for seat in list(self._seats))

    @property
    def capacity(self) -> int:
        """How many there are or will be; may be read from any thread."""
        return len(self._seats)

    def submit(self, task: Task) -> "Future[Ended]":
        """Have a task done; those that came first are begun first.

        The future raises what the task raised at its last try, `ClusterError` if no worker can do it, and `Interrupted`
        if the pool is closed before.
        """
        future: Future[Ended] = Future()
        self._events.put(partial(self._take, _Work(task=task, future=future)))
        return future

    def _serve(self) -> None:
        """The pool's thread."""
        next_look_s = 0.0
        try:
            while True:
                if time.monotonic() >= next_look_s:
                    self._look()
                    next_look_s = time.monotonic() + _LOOK_S
                self._hand_out()
                try:
                    event = self._events.get(timeout=max(0.0, next_look_s - time.monotonic()))
                except queue.Empty:
                    continue
                if event is None:
                    break
                event()
        except Exception as error:  # the head of the cluster is gone
            self._error = ClusterError(f"the connection to the cluster is lost ({type(error).__name__}: {error})")
        finally:
            self._end()

    def _end(self) -> None:
        error = self._error or Interrupted("stopped")
        left = [*self._waiting, *(seat.work for seat in self._seats if seat.work is not None)]
        for seat in self._seats:
            self._kill(seat)
        self._seats, self._waiting = [], []
        for work in left:
            _fail(work, error)
        while True:  # until the pool is closed, whoever comes is told
            event = self._events.get() if self._error is not None else None
            if event is None:
                return
            if isinstance(event, partial) and event.func == self._take:
                _fail(event.args[0], error)

    def _take(self, work: _Work) -> None:
        self._waiting.append(work)

    def _look(self) -> None:
        """See which nodes there are: workers on new ones, none on those that are gone."""
        alive = {row["NodeID"]: row for row in self._ray.nodes() if row["Alive"]}
        for seat in list(self._seats):
            if seat.node not in alive:
                self._lose(seat, f"node {seat.address} is lost")
        for node, row in alive.items():
            if node not in self._refused:
                room = self._room(row["Resources"])
                there = sum(seat.node == node for seat in self._seats)
                for _ in range(room - there):
                    self._start(node, row["NodeManagerAddress"])
        self._see_whether_anybody_is_there()

    def _room(self, resources: Mapping[str, float]) -> int:
        room = int(resources.get("CPU", 0)) // self._need.num_cpus
        if self._need.num_gpus:
            room = min(room, int(resources.get("GPU", 0)) // self._need.num_gpus)
        return room

    def _start(self, node: str, address: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = self._actor.options(
            num_cpus=self._need.num_cpus, num_gpus=self._need.num_gpus, max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(self._need)  # fmt: skip
        seat = _Seat(actor=actor, node=node, address=address)
        self._seats.append(seat)
        future = actor.greet.remote(self._greeting).future()
        future.add_done_callback(lambda ended: self._events.put(partial(self._greeted, seat, ended)))

    def _greeted(self, seat: _Seat, ended: "Future[dict[str, str]]") -> None:
        if seat not in self._seats:
            return
        error = ended.exception()
        if error is not None:
            self._starts[seat.node] += 1
            self._lose(seat, "")
            if self._starts[seat.node] >= _MOST_STARTS or _is_missing(error):
                self._refuse(seat, _no_start(_cause(error)))
            return
        facts = ended.result()
        for name, wanted in self._wanted.items():
            if facts.get(name) != wanted:
                self._lose(seat, "")
                self._refuse(seat, f"{name} is {facts.get(name, 'not there')} there and {wanted} here")
                return
        self._wanted = {**facts, **self._wanted}
        seat.is_ready = True

    def _refuse(self, seat: _Seat, why: str) -> None:
        if seat.node not in self._refused:
            self._refused[seat.node] = why
            self._on_warning(f"the node {seat.address} is refused: {why}")
        for other in [each for each in self._seats if each.node == seat.node]:
            self._lose(other, "")

    def _hand_out(self) -> None:
        """Give waiting work to free workers, not where it failed while there is another node."""
        for seat in self._seats:
            if not seat.is_ready or seat.work is not None:
                continue
            nodes = {each.node for each in self._seats if each.is_ready}
            fitting = (one for one in self._waiting if seat.node not in one.failed_on or nodes <= one.failed_on)
            work = next(fitting, None)
            if work is None:
                continue
            self._waiting.remove(work)
            seat.work, work.begun_s = work, time.monotonic()
            future = seat.actor.run.remote(work.task).future()
            future.add_done_callback(partial(self._tell, seat, work))

    def _tell(self, seat: _Seat, work: _Work, ended: "Future[Any]") -> None:
        self._events.put(partial(self._ended, seat, work, ended))

    def _ended(self, seat: _Seat, work: _Work, ended: "Future[Any]") -> None:
        if seat.work is not work:  # its worker was given up before
            return
        seat.work = None
        error = ended.exception()
        if error is None:
            elapsed_s = time.monotonic() - work.begun_s
            work.future.set_result(
                Ended(value=ended.result(), num_retries=work.num_failures, node=seat.address, elapsed_s=elapsed_s)
            )
            return
        if _is_dead(error):
            seat.work = work
            self._lose(seat, f"a worker on the node {seat.address} ended")
            return
        self._again(work, seat, _cause(error))

    def _lose(self, seat: _Seat, told: str) -> None:
        """Do without a worker; what it had in hand goes elsewhere."""
        self._seats.remove(seat)
        self._kill(seat)
        if told and told not in self._lost:
            self._lost.add(told)
            self._on_warning(f"{told}; what it had in hand is done elsewhere")
        if seat.work is not None:
            self._again(seat.work, seat, ClusterError(f"the worker on the node {seat.address} ended while it worked"))
            seat.work = None

    def _again(self, work: _Work, seat: _Seat, error: BaseException) -> None:
        work.num_failures += 1
        work.failed_on.add(seat.node)
        if work.num_failures > self._num_retries:
            _fail(work, error)
            return
        self._waiting.insert(0, work)

    def _kill(self, seat: _Seat) -> None:
        with contextlib.suppress(Exception):  # it, or all of the cluster, is gone already
            self._ray.kill(seat.actor)

    def _see_whether_anybody_is_there(self) -> None:
        """Give up work for which there has been nobody for a while."""
        if self._seats:
            self._alone_since_s = None
            return
        now_s = time.monotonic()
        self._alone_since_s = now_s if self._alone_since_s is None else self._alone_since_s
        if not self._refused and now_s - self._alone_since_s < _PATIENCE_S:
            return
        why = "; ".join(sorted(set(self._refused.values())))
        told = f"every node is refused: {why}" if why else f"no node has {_text(self._need)} for a worker"
        for work in self._waiting:
            _fail(work, ClusterError(f"the cluster cannot do this: {told}"))
        self._waiting = []


def _fail(work: _Work, error: BaseException) -> None:
    if not work.future.done():
        work.future.set_exception(error)


def _is_dead(error: BaseException) -> bool:
    """Whether a worker's process, or its node, is gone."""
    from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, OutOfMemoryError

    return isinstance(error, (ActorDiedError, ActorUnavailableError, NodeDiedError, OutOfMemoryError))


def _cause(error: BaseException) -> BaseException:
    """What a task raised, without what Ray puts around it."""
    from ray.exceptions import ObjectStoreFullError, RayTaskError

    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, ObjectStoreFullError):
        return ClusterError("the cluster's object store is too small; start its nodes with a larger one")
    return cause if isinstance(cause, BaseException) else error


def _is_missing(error: BaseException) -> bool:
    return "No module named" in str(error)


def _no_start(error: BaseException) -> str:
    """Why a worker does not start."""
    text = " ".join(str(error).split())
    if "No module named 'concertdeblur" in text:
        return "concertdeblur is not installed there"
    if isinstance(error, ConcertDeblurError):
        return text
    return f"workers do not start there ({text[:200]})"


def _text(need: Need) -> str:
    gpus = f" and {need.num_gpus} GPU" if need.num_gpus else ""
    return f"{need.num_cpus} CPU{'' if need.num_cpus == 1 else 's'}{gpus}"
