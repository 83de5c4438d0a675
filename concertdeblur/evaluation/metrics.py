"""Image and video metrics, on float RGB in [0, 1], before any encoding."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concertdeblur.errors import MissingDependencyError

Frame = npt.NDArray[np.float32]

_OCCLUSION_PX = 1.0  # where forward and backward flow differ by more, a pixel is hidden in one of the frames


def as_float(pixels: npt.NDArray[np.uint8]) -> Frame:
    """8-bit pixels in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def ssim(picture: Frame, reference: Frame) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window, sigma 1.5 px), mean of R, G and B.

    Raises:
        MissingDependencyError: If torchmetrics is not installed.
    """
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise MissingDependencyError(
            "evaluating needs torchmetrics; install it with: pip install 'concertdeblur[evaluation]'"
        ) from error
    with torch.inference_mode():
        found = structural_similarity_index_measure(_batch(picture), _batch(reference), sigma=1.5, data_range=1.0)
    assert isinstance(found, Tensor)
    return float(found)


def _batch(picture: Frame) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))


@dataclass(frozen=True, slots=True)
class Warp:
    """The motion of a sharp clip from one frame to the next: where each pixel was, and which are seen in both."""

    at_HW2: npt.NDArray[np.float32]  # (x, y) in the frame before
    visible_HW: npt.NDArray[np.bool_]

    def error(self, before: Frame, now: Frame) -> float | None:
        """Mean squared difference between a frame and the one before, moved; None if nothing is seen in both."""
        if not self.visible_HW.any():
            return None
        at = self.at_HW2
        moved = cv2.remap(before, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return float(np.mean((now - moved)[self.visible_HW] ** 2))


def warp(before: Frame, now: Frame) -> Warp:
    """The motion between two sharp frames, (H, W, 3) each (Lai et al. 2018, section 4.2)."""
    back, there = _flow(now, before), _flow(before, now)
    grid = np.stack(np.meshgrid(np.arange(back.shape[1]), np.arange(back.shape[0])), -1).astype(np.float32)
    at = grid + back
    returned = back + cv2.remap(there, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (at >= 0).all(-1) & (at[..., 0] < back.shape[1] - 1) & (at[..., 1] < back.shape[0] - 1)
    return Warp(at, inside & (np.linalg.norm(returned, axis=-1) < _OCCLUSION_PX))


def warping_error(frames: list[Frame], originals: list[Frame]) -> float:
    """Mean squared difference between each frame and the one before, moved along the originals' flow.

    Flow and occlusion mask come from the sharp originals, so all versions of a clip are judged by the same motion.

    Args:
        frames: The clip to judge, (H, W, 3) each.
        originals: The sharp clip, of the same frames.
    """
    warps = (warp(before, now) for before, now in pairwise(originals))
    found = [moved.error(before, now) for moved, (before, now) in zip(warps, pairwise(frames), strict=True)]
    errors = [error for error in found if error is not None]
    return float(np.mean(errors)) if errors else 0.0


def _flow(to: Frame, source: Frame) -> npt.NDArray[np.float32]:
    """Where each pixel of `to` was in `source`, (H, W, 2) as (x, y) displacements."""
    gray = [cv2.cvtColor(np.clip(f * 255, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for f in (to, source)]
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(gray[0], gray[1], None)  # type: ignore[call-overload]
    return np.asarray(made, dtype=np.float32)
