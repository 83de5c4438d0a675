"""A real Ray cluster in processes of this machine, of a head that lends nothing and as many nodes as a test wants."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STORE_BYTES = 80 * 2**20  # Ray allows no less than 75 MB


@contextmanager
def local_cluster() -> Iterator[Any]:
    """Ray's own test utility; its nodes see the package under test. Skips where Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'concertdeblur[cluster]'")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        before = signal.getsignal(signal.SIGTERM)
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            signal.signal(signal.SIGTERM, before)
            yield cluster
        finally:
            cluster.shutdown()


@contextmanager
def nodes(cluster: Any, number: int, **choices: Any) -> Iterator[list[Any]]:
    """So many nodes of a CPU each, gone at the end."""
    made = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **choices) for _ in range(number)]
    try:
        yield made
    finally:
        for node in made:
            if node in cluster.list_all_nodes():
                cluster.remove_node(node, allow_graceful=False)
