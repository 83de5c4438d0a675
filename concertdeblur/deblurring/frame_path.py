"""The taps of a frame along its path, brought from the host to the networks' device."""

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.deblurring.stream_frames import Neighbours
from concertdeblur.models.path_taps import NUM_PLANES, Flow, Samples, path_in, taps_along
from concertdeblur.models.prepared import SMEAR_PX, PathSamples
from concertdeblur.streaming import Slot


def path_samples(
    neighbours: Neighbours, size: tuple[int, int], multiple_px: int, device: torch.device, slot: Slot | None = None
) -> PathSamples | None:
    """Sample a frame at its working size along its path; None where nothing is known of it.

    Args:
        neighbours: The frame, those beside it and its path.
        size: The frame's own height and width, px.
        multiple_px: What sides must be multiples of; samples beyond the frame are those of its reflection.
        device: Where the samples go.
        slot: The frame's slot. Its buffer holds the taps until the frame is done: new memory for them would take a
            sixth of the time.
    """
    if neighbours.path.to_before is None and neighbours.path.to_after is None:
        return None
    (height, width), (small_height, small_width) = size, neighbours.frame.shape[:2]
    before, frame, after = (
        None if some is None else cv2.cvtColor(padded(some, multiple_px), cv2.COLOR_RGB2RGBA)  # see `taps_along`
        for some in (neighbours.before, neighbours.frame, neighbours.after)
    )
    assert frame is not None
    scaled = neighbours.path.scaled(small_width / width, small_height / height)
    path = path_in(scaled, small_height, small_width, slice(0, frame.shape[0]), slice(0, frame.shape[1]))
    assert path.smear is not None
    shape = (NUM_PLANES, *frame.shape[:2])
    planes = None if slot is None else slot.pinned("taps", shape, frame.dtype)
    taps = taps_along(before, frame, after, path, planes=planes)
    pinning = slot if device.type != "cpu" else None
    return PathSamples(
        taps_NTHW=torch.from_numpy(taps).to(device, non_blocking=pinning is not None)[None],
        smear_N2hw=_on_device(_reduced(path.smear), device, pinning, "smear"),
    )


def _reduced(flow: Flow) -> Flow:
    """A flow at each pixel of the padded frame as planes (2, h, w), a value for SMEAR_PX x SMEAR_PX."""
    size = flow.shape[1] // SMEAR_PX, flow.shape[0] // SMEAR_PX
    return np.ascontiguousarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1))


def padded(samples: Samples, multiple_px: int) -> Samples:
    """A frame (H, W, 3) with sides of a multiple, extended by reflection, or by repetition where it is too small."""
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
    return torch.from_numpy(array).to(device, non_blocking=slot is not None)[None]
