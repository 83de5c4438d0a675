"""Stage video iGAN: the restoration of G_i along the motion, on frames that move.

The guesses come from G_i's analysis, which does not learn here. No D_i takes part: PSNR is better without it, and the
D_i of videos learns together with its G_p (video_windows.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from concertdeblur.models.prepared import HINT_PX
from concertdeblur.models.restoration import PathRestoration, by_plane
from concertdeblur.training.data.motion import MotionCrops
from concertdeblur.training.objective import charbonnier, log_squared_error
from concertdeblur.training.stage import Schedule, Stage, StepResult

LOG_WEIGHT, LEAST_SQUARED_ERROR = 0.01, 2e-5  # that is 47 dB; smaller errors hardly count


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoIganSettings(Schedule):
    """Schedule of the stage."""

    crop_px: int = 160  # a multiple of HINT_PX
    crops_per_clip: int = 3  # each goes into another step, because rendering a clip takes long

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)  # `super()` does not work in a dataclass with slots
        if self.crop_px % HINT_PX or not 64 <= self.crop_px <= 256:
            raise ValueError(f"crop_px must be a multiple of {HINT_PX} from 64 to 256, but {self.crop_px = }")
        if self.crops_per_clip < 1:
            raise ValueError(f"crops_per_clip must be at least 1, but {self.crops_per_clip = }")


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """N crops, as floats, and G_i's results, which are not clamped."""

    blurred_NCHW: Tensor
    sharp_NCHW: Tensor
    restored_NCHW: Tensor


class VideoIganStage(Stage[MotionCrops]):
    """Trains the restoration of G_i along the motion.

    Args:
        restoration: The network.
        settings: The schedule.
        folder: The folder of the checkpoint.
        judge: Gives figures of the gain on held-out frames, by name; None: there are no such frames.
    """

    def __init__(
        self,
        restoration: PathRestoration,
        settings: VideoIganSettings,
        folder: Path,
        *,
        judge: Callable[[PathRestoration], dict[str, float]] | None = None,
    ) -> None:
        super().__init__("video-igan", restoration, {}, settings, folder)
        self.restoration, self._judge = restoration, judge

    def train_step(self, crops: MotionCrops) -> StepResult:
        """One step."""
        with self.mixed():
            made = restored(self.restoration, crops)
        losses = errors(made.restored_NCHW, made.sharp_NCHW)
        objective = self.descend(losses)
        with torch.no_grad():
            l1 = (made.restored_NCHW - made.sharp_NCHW).abs().mean()
            before = (made.blurred_NCHW - made.sharp_NCHW).abs().mean()
        return StepResult(objective=objective, figures=losses | {"l1": l1, "l1_before": before})

    def evaluate(self) -> dict[str, float]:
        """Gain on held-out real frames."""
        if self._judge is None:
            return {}
        with self.mixed():
            return self._judge(cast(PathRestoration, self.ema.module))


def errors(restored_NCHW: Tensor, sharp_NCHW: Tensor) -> dict[str, Tensor]:
    """The parts of the loss: two measures of the distance from the truth."""
    squared = log_squared_error(restored_NCHW, sharp_NCHW, floor=LEAST_SQUARED_ERROR)
    return {"charbonnier": charbonnier(restored_NCHW, sharp_NCHW), "log_squared": LOG_WEIGHT * squared}


def restored(restoration: PathRestoration, crops: MotionCrops) -> Restored:
    """The restoration's results of frames that move, or of crops of them."""
    blurred, sharp = (as_floats(some) for some in (crops.blurred_NCHW, crops.sharp_NCHW))
    planes = by_plane(crops.taps_NTHW)
    made = restoration(blurred, crops.guess_NGHW.float(), *planes, crops.smear_N2hw)
    return Restored(blurred_NCHW=blurred, sharp_NCHW=sharp, restored_NCHW=made.float())


def as_floats(pictures_NCHW: Tensor) -> Tensor:
    """8 bits -> [0, 1]."""
    return pictures_NCHW.float().div_(255).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def take_over_alike(source: nn.Module, target: nn.Module) -> None:
    """Give a network the weights of another one wherever they have the same name and shape."""
    known, wanted = source.state_dict(), target.state_dict()
    target.load_state_dict(wanted | {k: v for k, v in known.items() if k in wanted and wanted[k].shape == v.shape})
