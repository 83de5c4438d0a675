"""Bounded stages that overlap: threads around the networks, streams and events on a GPU.

Memory does not grow with the clip, because every queue is bounded; order is kept, because every stage
is one thread or one stream. Importing this does not import torch.
"""

from concertdeblur.streaming.devices import CudaDevice, HostDevice, ThreadDevice
from concertdeblur.streaming.overlap import OverlappedPipeline, Slot, Stages, StreamDevice
from concertdeblur.streaming.repeats import computed_once
from concertdeblur.streaming.threads import Prefetch, Sink

__all__ = [
    "CudaDevice",
    "HostDevice",
    "OverlappedPipeline",
    "Prefetch",
    "Sink",
    "Slot",
    "Stages",
    "StreamDevice",
    "ThreadDevice",
    "computed_once",
]
