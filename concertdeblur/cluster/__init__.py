"""Work on many machines: Ray's cluster, a worker for each share of it, tasks that are tried again elsewhere.

Nothing here knows what the tasks are. Ray is imported inside, where a cluster is asked for.
"""

from concertdeblur.cluster.connection import connected
from concertdeblur.cluster.files import File, Folder, SharedFile, SharedFolder, Shelf, ShippedFile, ShippedFolder
from concertdeblur.cluster.pool import Ended, WorkerPool
from concertdeblur.cluster.worker import Need, Task, WorkerState

__all__ = [
    "Ended",
    "File",
    "Folder",
    "Need",
    "SharedFile",
    "SharedFolder",
    "Shelf",
    "ShippedFile",
    "ShippedFolder",
    "Task",
    "WorkerPool",
    "WorkerState",
    "connected",
]
