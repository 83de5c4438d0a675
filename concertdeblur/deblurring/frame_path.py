"""The path of a frame and the taps along it, brought from the host to the networks' device."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from concertdeblur.deblurring.stream_frames import Neighbours
from concertdeblur.models.path_taps import NUM_PLANES, Flow, Samples, flow_in, path_in, taps_along
from concertdeblur.models.prepared import SMEAR_PX, PathSamples
from concertdeblur.streaming import Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class PathFlows:
    """The flows of a frame's path at its own padded size, px, a value for SMEAR_PX x SMEAR_PX."""

    smear_12hw: Tensor  # px in an exposure
    to_before_12hw: Tensor | None  # flow to the frame before; None: no such frame shows the scene
    to_after_12hw: Tensor | None  # flow to the frame after

    def cloned(self) -> "PathFlows":
        """A copy in memory of its own, which is allocated on the current CUDA stream."""
        to_before, to_after = (
            None if flow is None else flow.clone() for flow in (self.to_before_12hw, self.to_after_12hw)
        )
        return PathFlows(smear_12hw=self.smear_12hw.clone(), to_before_12hw=to_before, to_after_12hw=to_after)


@dataclass(frozen=True, kw_only=True, slots=True)
class FramePath:
    """A frame's path on the networks' device."""

    samples: PathSamples  # for G_i, of the frame at the working size
    flows: PathFlows  # for G_p, of the frame itself


def frame_path(
    neighbours: Neighbours, size: tuple[int, int], multiple_px: int, device: torch.device, slot: Slot | None = None
) -> FramePath | None:
    """Sample a frame along its path; None where nothing is known of it.

    Args:
        neighbours: The frame, those beside it and its path.
        size: The frame's own height and width, px.
        multiple_px: What sides must be multiples of; samples beyond the frame are those of its reflection.
        device: Where the samples go.
        slot: The frame's slot. Its buffer holds the taps until the frame is done: new memory for them would take a
            sixth of the time. On a GPU the flows go through its buffers, too.
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
    smear = _on_device(_reduced(path.smear), device, pinning, "smear")
    own = neighbours.path
    flows = [
        None if flow is None else _on_device(_of_frame(flow, height, width, multiple_px), device, pinning, name)
        for name, flow in (("path", own.smear()), ("to before", own.to_before), ("to after", own.to_after))
    ]
    assert flows[0] is not None
    return FramePath(
        samples=PathSamples(
            taps_NTHW=torch.from_numpy(taps).to(device, non_blocking=pinning is not None)[None], smear_N2hw=smear
        ),
        flows=PathFlows(smear_12hw=flows[0], to_before_12hw=flows[1], to_after_12hw=flows[2]),
    )


def _reduced(flow: Flow) -> Flow:
    """A flow at each pixel of the padded frame as planes (2, h, w), a value for SMEAR_PX x SMEAR_PX."""
    size = flow.shape[1] // SMEAR_PX, flow.shape[0] // SMEAR_PX
    return np.ascontiguousarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1))


def _of_frame(flow: Flow, height: int, width: int, multiple_px: int) -> Flow:
    """A flow of the padded frame as planes (2, h, w), a value in the middle of each SMEAR_PX x SMEAR_PX."""
    rows, columns = (slice(0, (side + -side % multiple_px) // SMEAR_PX) for side in (height, width))
    found = flow_in(flow, height / SMEAR_PX, width / SMEAR_PX, rows, columns)
    return np.ascontiguousarray(found.transpose(2, 0, 1))


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
