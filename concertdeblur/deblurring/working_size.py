"""The size at which frames are restored and refined along their motion.

Large frames are restored at a part of their size, and the change is enlarged and added to the frame. Footage in which
things move holds little that is finer than two pixels of 1280x720, and along a path that is half as long the same taps
lie twice as near to each other. On held-out real pairs of 1280x720 G_i gains at half the size as much as at the whole
one, and BRMR nearly as much, at a quarter of the cost (EXPERIMENTS.md, 2026-11-29, "G_i at half the size", and
2026-11-30, "BRMR at the working size"). So are pictures that are restored along the smear that they show. What has no
path, or is under one of the seven kernels, is restored at its own size.

Shape suffixes: C channels, H height, W width, h, w the same at the working size.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.models.path_taps import Samples

STEP_PX = 720  # of the shorter side: from each multiple on, frames are reduced by one more
_MOST = 4


def working_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) at which a frame is restored along its motion; its own below STEP_PX."""
    factor = min(_MOST, 1 + min(height, width) // STEP_PX)
    return -(-height // factor), -(-width // factor)


def at_working_size(samples: Samples) -> Samples:
    """A frame (H, W, 3) at its working size, of its own type; the frame itself if that is its own size."""
    height, width = working_size(*samples.shape[:2])
    if (height, width) == samples.shape[:2]:
        return samples
    return np.asarray(cv2.resize(samples, (width, height), interpolation=cv2.INTER_AREA))


def with_enlarged_change(frame_1CHW: Tensor, reduced_1Chw: Tensor, restored_1Chw: Tensor) -> Tensor:
    """A frame with what its restoration changed at the working size, enlarged, in [0, 1]."""
    return _enlarged(restored_1Chw - reduced_1Chw, frame_1CHW).add_(frame_1CHW).clamp_(0, 1)


def _enlarged(change_1Chw: Tensor, frame_1CHW: Tensor) -> Tensor:
    """A change at the frame's size, by bicubic interpolation."""
    if frame_1CHW.device.type != "cpu":
        return F.interpolate(change_1Chw, frame_1CHW.shape[2:], mode="bicubic", align_corners=False)
    change = torch.empty_like(frame_1CHW, memory_format=torch.contiguous_format)
    size = frame_1CHW.shape[3], frame_1CHW.shape[2]
    for small, enlarged in zip(change_1Chw[0].numpy(), change[0].numpy(), strict=True):
        cv2.resize(small, size, dst=enlarged, interpolation=cv2.INTER_CUBIC)  # the same in a tenth of torch's time
    return change
