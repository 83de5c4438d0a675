"""The taps of a frame, sampled on the host and brought to the networks' device."""

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.deblurring.stream_frames import Neighbours
from concertdeblur.models.path_taps import Flow, Samples, flow_in, taps_of
from concertdeblur.models.prepared import VELOCITY_PX, PathSamples
from concertdeblur.streaming import Slot


def path_samples(
    neighbours: Neighbours, multiple_px: int, device: torch.device, slot: Slot | None = None
) -> PathSamples | None:
    """Sample a frame along its path; None where nothing is known of it.

    Args:
        neighbours: The frame, those beside it and its path.
        multiple_px: What sides must be multiples of; samples beyond the frame are those of its reflection.
        device: Where the samples go, through the slot's page-locked buffers if there is one.
        slot: The frame's slot.
    """
    velocity = neighbours.path.velocity()
    if velocity is None:
        return None
    height, width = neighbours.frame.shape[:2]
    frames = [_padded(some, multiple_px) for some in (neighbours.before, neighbours.frame, neighbours.after)]
    before, frame, after = frames
    assert frame is not None
    taps = taps_of(before, frame, after, neighbours.path, frame_size=(height, width))
    size = frame.shape[:2]
    flows = [
        None if flow is None else _on_device(_reduced(flow, (height, width), size), device, slot, name)[None]
        for name, flow in (
            ("velocity", velocity),
            ("to before", neighbours.path.to_before),
            ("to after", neighbours.path.to_after),
        )
    ]
    assert flows[0] is not None
    return PathSamples(
        taps_NTHW=_on_device(taps, device, slot, "taps")[None],
        velocity_N2hw=flows[0],
        to_before_N2hw=flows[1],
        to_after_N2hw=flows[2],
    )


def _reduced(flow: Flow, frame_size: tuple[int, int], padded_size: tuple[int, ...]) -> Flow:
    """A flow as planes (2, h, w), a value for VELOCITY_PX x VELOCITY_PX of the padded frame."""
    height, width = padded_size
    whole = flow_in(flow, *frame_size, slice(0, height), slice(0, width))
    size = width // VELOCITY_PX, height // VELOCITY_PX
    return np.ascontiguousarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1))


def _padded(samples: Samples | None, multiple_px: int) -> Samples | None:
    if samples is None:
        return None
    height, width = samples.shape[:2]
    missing_h, missing_w = -height % multiple_px, -width % multiple_px
    if not missing_h and not missing_w:
        return samples
    reflects = missing_h < height and missing_w < width
    border = cv2.BORDER_REFLECT_101 if reflects else cv2.BORDER_REPLICATE
    return np.asarray(cv2.copyMakeBorder(samples, 0, missing_h, 0, missing_w, border))


def _on_device(array: Samples, device: torch.device, slot: Slot | None, name: str) -> Tensor:
    if slot is not None:
        buffer = slot.pinned(name, array.shape, array.dtype)
        np.copyto(buffer, array)
        array = buffer
    return torch.from_numpy(array).to(device, non_blocking=slot is not None)
