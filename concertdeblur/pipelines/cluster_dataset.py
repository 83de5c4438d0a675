"""Sources of a data set on a cluster: each is looked through by a worker, into the data set's shared folder."""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from concertdeblur.cluster import Need, WorkerPool, WorkerState, connected
from concertdeblur.dataset.findings import Finder
from concertdeblur.dataset.picks import PickOptions
from concertdeblur.dataset.shots import choose_detector
from concertdeblur.dataset.sources import Source
from concertdeblur.dataset.workspace import Workspace
from concertdeblur.errors import ClusterError, Interrupted, SourceError, TargetError
from concertdeblur.pipelines.segments.identity import versions
from concertdeblur.progress import StageProgress

_POLL_S = 0.2
_RETRIES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class FindTask:
    """A source to be looked through; its frames and what is known of them go into the data set's folder."""

    folder: Path
    options: PickOptions
    shots: str  # what finds cuts
    source: Source

    def run(self, worker: WorkerState) -> list[str]:
        """Look through it; gives the warnings.

        Raises:
            ConcertDeblurError: As `Finder.find`.
            TargetError: If this node does not see the data set's folder.

        """
        del worker
        workspace, told = Workspace(self.folder), list[str]()
        if not workspace.cache.is_dir():
            raise TargetError(
                f"{self.folder}: this node of the cluster does not see the folder; share it with all nodes"
            )
        if not self.source.path.exists():
            raise SourceError(
                f"{self.source.path}: this node of the cluster does not see it; share its folder with all"
            )
        name, make_detector = choose_detector(self.shots)
        finder = Finder(
            workspace, self.options, make_detector=make_detector, detector_name=name, on_progress=lambda _: None,
            on_warning=told.append,
        )  # fmt: skip
        finder.find(self.source)
        return told


def find_on_cluster(
    address: str, workspace: Workspace, options: PickOptions, shots: str, sources: Sequence[Source], *,
    on_progress: Callable[[StageProgress], None], on_warning: Callable[[str], None], stop: threading.Event | None,
) -> None:  # fmt: skip
    """Have sources looked through; what no worker could do is left for this machine, which says why.

    Args:
        address: Of the cluster, as for `connected`.
        workspace: The data set's folder, which every node sees.
        options: What is kept.
        shots: Name of what finds cuts.
        sources: Those that are not known yet.
        on_progress: Called as sources are done.
        on_warning: Told of nodes that are refused or lost, and what workers warn of.
        stop: When set, the run ends.

    Raises:
        ClusterError: If there is no cluster, or nobody in it who can do this.
        Interrupted: If `stop` is set; sources that are done stay.

    """
    began_s = time.monotonic()
    with (
        connected(address) as ray,
        WorkerPool(
            ray, Need(), greeting=partial(_greeting, shots), wanted=_greeting(shots), num_retries=_RETRIES,
            on_warning=on_warning,
        ) as pool,
    ):  # fmt: skip
        folder = workspace.folder.absolute()
        tasks = [
            FindTask(folder=folder, options=options, shots=shots, source=replace(source, path=source.path.absolute()))
            for source in sources
        ]
        left = {pool.submit(task) for task in tasks}
        while left:
            if stop is not None and stop.is_set():
                raise Interrupted(
                    f"stopped after {len(tasks) - len(left)} of {len(tasks)} sources; run it again to go on"
                )
            ended, left = concurrent.futures.wait(left, _POLL_S, concurrent.futures.FIRST_COMPLETED)
            for future in ended:
                error = future.exception()
                if isinstance(error, ClusterError):
                    raise error
                for message in [] if error is not None else future.result().value:
                    on_warning(message)
                on_progress(
                    StageProgress(
                        stage="look for sharp frames", done=len(tasks) - len(left), total=len(tasks), unit="sources",
                        elapsed_s=time.monotonic() - began_s, facts={"workers": pool.num_workers},
                    )
                )  # fmt: skip


def _greeting(shots: str) -> dict[str, str]:
    """What must be the same on every worker: all that decides which frames are picked."""
    return versions() | {"what finds cuts": choose_detector(shots)[0]}
