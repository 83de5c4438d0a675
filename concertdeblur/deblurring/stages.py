"""A frame's way through the networks: copied in, generated, refined, copied out.

The stages of a stream may run beside each other, each in a thread or on a CUDA stream of its own, so what one frame
leaves for the next belongs to one stage alone (streaming/overlap.py, rule 8).

Shape suffixes: N frames, C channels, H height, W width.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.brmr import Brmr, Decisions, Refinement, Refinements, read_steps
from concertdeblur.deblurring.guard import guarded
from concertdeblur.deblurring.image_generator import ImageGenerator
from concertdeblur.deblurring.path_samples import path_samples
from concertdeblur.deblurring.stream_frames import StreamFrame
from concertdeblur.deblurring.tensors import to_host, to_tensor
from concertdeblur.errors import UsageError
from concertdeblur.frame import Medium
from concertdeblur.models.path_windows import Along
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared
from concertdeblur.streaming import Slot
from concertdeblur.streaming.timeline import span

_MEMORY = 0.5  # share of the previous frame's spectrum in the running one: one blur estimate does not flicker
# A cell's spectrum descriptor that changes by more than this, on average, shows a cut or a strobe: the running spectrum
# begins anew there.
_NEW_DISTANCE = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurOptions:
    """What a user decides about deblurring."""

    strength: float = 1.0  # out = in + strength * (full - in); 0 is identity
    refine: bool = True  # False: iGAN alone
    refine_share: float | None = None  # windows that a video's frame may try, times its cells; None: the weight set's
    heatmap: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength must lie between 0 and 1, but it is {self.strength}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CopiedIn:
    """A frame on the networks' device."""

    seen: StreamFrame
    frame_1CHW: Tensor
    path: PathSamples | None  # None where nothing is known of the motion, or G_i takes no taps


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A frame of which all is known that G_i's convolutions are given; sides are padded."""

    seen: StreamFrame
    blurred_1CHW: Tensor
    prepared: Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """A frame after G_i; sides are padded."""

    seen: StreamFrame
    blurred_1CHW: Tensor
    result_1CHW: Tensor
    prepared: Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Refined:
    """A frame after BRMR."""

    seen: StreamFrame
    is_along_motion: bool  # whether it was restored along its motion
    result_HWC: Tensor  # in [0, 1], what goes back to the host
    heatmap: npt.NDArray[np.float32] | None
    refinements: Refinements | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OnHost:
    """What came back of a frame. Its arrays may belong to a slot, which lends them to another frame later."""

    seen: StreamFrame
    is_along_motion: bool  # whether it was restored along its motion
    result: npt.NDArray[np.float32]  # (H, W, 3)
    heatmap: npt.NDArray[np.float32] | None
    steps: npt.NDArray[np.int32] | None  # as in Refinements; None if nothing was refined

    def refinement(self) -> Refinement:
        """What BRMR did."""
        return Refinement(tried=(), kept=()) if self.steps is None else read_steps(self.steps, num_frames=1)[0]


class FrameStages:
    """The stages of one picture, or of the frames of one video in their order.

    Each is safe to call from one thread at a time, and beside the others.

    Args:
        image_generator: G_i.
        brmr: What refines its results.
        options: What the user decides.
        medium: What the frames are part of.
        device: The device of the networks.
    """

    def __init__(
        self, image_generator: ImageGenerator, brmr: Brmr, options: DeblurOptions, medium: Medium, device: torch.device
    ) -> None:
        self._image_generator = image_generator
        self._brmr = brmr
        self._options = options
        self._medium = medium
        self._device = device
        self._described: Tensor | None = None  # of the frame before; the memory of `generate`
        # the memory of `refine`
        self._decisions: Decisions | None = None  # of the frame before
        self._waiting: Generated | None = None  # for the result of the frame after it
        self._result_before_1CHW: Tensor | None = None  # what G_i made of the frame before the waiting one

    @property
    def waits(self) -> bool:
        """Whether `refine` gives back a frame only when it is given the one after it."""
        return self._medium is Medium.VIDEO and self._brmr.on_paths is not None and self._options.refine

    @torch.inference_mode()
    def copy_in(self, seen: StreamFrame, slot: Slot | None = None) -> CopiedIn:
        """Bring the pixels and the taps to the device, through the slot's buffers if there is one."""
        with span("copy in"):
            frame_1CHW = to_tensor(seen.pixels, self._device, slot if self._device.type != "cpu" else None)
        path = None
        if seen.neighbours is not None and self._image_generator.takes_taps:
            with span("sample"):
                path = path_samples(seen.neighbours, self._image_generator.multiple_px, self._device, slot)
        return CopiedIn(seen=seen, frame_1CHW=frame_1CHW, path=path)

    @torch.inference_mode()
    def generate(self, given: CopiedIn) -> Looked:
        """G_i's first part: read the blur off the frame, and filter it."""
        with span("generate"):
            frame_1CHW = self._image_generator.laid_out(given.frame_1CHW)
            with span("describe"):
                described = _remembered(self._described, self._image_generator.describe(frame_1CHW))
                self._described = described
            with span("filter"):
                prepared = self._image_generator.prepare(
                    frame_1CHW,
                    described,
                    velocities_NRQ3=self._velocities(given.seen),
                    path=given.path,
                    medium=self._medium,
                )
            blurred_1CHW, prepared = self._image_generator.padded(frame_1CHW, prepared)
            return Looked(seen=given.seen, blurred_1CHW=blurred_1CHW, prepared=prepared)

    @torch.inference_mode()
    def restore(self, given: Looked, *, at_once: int | None = None) -> Generated:
        """G_i's second part, its convolutions; safe to call for several frames at the same time.

        Args:
            given: The frame.
            at_once: How many frames of the stream may be restored at the same time; None: the frame is a picture.
        """
        with span("restore"):
            result_1CHW = self._image_generator.restored(given.blurred_1CHW, given.prepared, at_once=at_once)
            return Generated(
                seen=given.seen, blurred_1CHW=given.blurred_1CHW, result_1CHW=result_1CHW, prepared=given.prepared
            )

    @torch.inference_mode()
    def refine_waiting(self, given: Generated | None) -> Refined | None:
        """Refine the frame that waits, for which the results on either side are known now; then the given one waits.

        Args:
            given: The next frame; None at the end.

        Returns:
            The frame that was given before; None if there was none.
        """
        waiting, self._waiting = self._waiting, None if given is None else _owned(given)
        if waiting is None:
            return None
        result_1CHW = waiting.result_1CHW.clone()  # refining overwrites it
        along = _along(self._result_before_1CHW, waiting, None if given is None else given.result_1CHW)
        self._result_before_1CHW = result_1CHW
        return self.refine(waiting, along)

    @torch.inference_mode()
    def refine(self, given: Generated, along: Along | None = None) -> Refined:
        """BRMR where there is something to change, then what is promised to users.

        Args:
            given: The frame.
            along: The results beside it and its path; None where it has none.
        """
        with span("guard"):
            refinements = self._refinements(given, along)
            heatmap = self._heatmap(given, refinements) if self._options.heatmap else None
            height, width = given.seen.pixels.shape[:2]
            frame, result = given.blurred_1CHW[..., :height, :width], given.result_1CHW[..., :height, :width]
            trust_11hw = given.prepared.trust_N1hw.nan_to_num(0)
            trust = F.interpolate(trust_11hw, scale_factor=HINT_PX, mode="bilinear")[..., :height, :width]
            is_motion_known = given.prepared.path is not None
            mixed = guarded(frame, (result - frame).mul_(trust).add_(frame), is_motion_known=is_motion_known)
            if self._options.strength < 1:
                mixed = frame + self._options.strength * (mixed - frame)
            result_HWC = mixed[0].permute(1, 2, 0).contiguous()
            return Refined(
                seen=given.seen,
                is_along_motion=is_motion_known,
                result_HWC=result_HWC,
                heatmap=heatmap,
                refinements=refinements,
            )

    @torch.inference_mode()
    def copy_out(self, given: Refined, slot: Slot | None = None) -> OnHost:
        """Bring the result to the host, through the slot's buffers if there is one."""
        with span("copy out"):
            steps = None if given.refinements is None else to_host(given.refinements.steps, slot, name="steps")
            return OnHost(
                seen=given.seen,
                is_along_motion=given.is_along_motion,
                result=to_host(given.result_HWC, slot),
                heatmap=given.heatmap,
                steps=steps,
            )

    def _velocities(self, seen: StreamFrame) -> Tensor | None:
        if seen.velocities_RQ3 is None:
            return None
        return torch.from_numpy(seen.velocities_RQ3)[None].to(self._device)

    def _refinements(self, given: Generated, along: Along | None) -> Refinements | None:
        """What BRMR did to the result, in place; None where it was not asked."""
        if not self._options.refine or not (plan := given.prepared.read()).is_changed:
            return None
        with span("refine"):
            refinements = self._brmr.refine(
                given.blurred_1CHW,
                given.result_1CHW,
                given.prepared,
                plan,
                medium=self._medium,
                windows_per_cell=self._options.refine_share,
                along=along,
                previous=self._decisions,
            )
        self._decisions = refinements.decisions
        return refinements

    def _heatmap(self, given: Generated, refinements: Refinements | None) -> npt.NDArray[np.float32]:
        maps = None if refinements is None else refinements.maps_Nhw
        if maps is None:
            maps = self._brmr.maps(given.blurred_1CHW, given.result_1CHW, medium=self._medium)
        return cam.blur_heatmap(maps[0].cpu().numpy(), *given.seen.pixels.shape[:2])


def _owned(given: Generated) -> Generated:
    """The frame without its taps, with tensors of the refine stage's own.

    On a GPU the memory of another stage's tensors may be given to a later batch (streaming/overlap.py, rule 8).
    """
    given = replace(given, prepared=given.prepared.without_taps())
    if given.result_1CHW.device.type == "cpu":
        return given
    return replace(
        given,
        blurred_1CHW=given.blurred_1CHW.clone(),
        result_1CHW=given.result_1CHW.clone(),
        prepared=given.prepared.cloned(),
    )


def _along(before_1CHW: Tensor | None, waiting: Generated, after_1CHW: Tensor | None) -> Along | None:
    """A frame's path with the results beside it; None where nothing is known of the path."""
    path = waiting.prepared.path
    if path is None:
        return None
    return Along(
        result_1CHW=waiting.result_1CHW,
        before_1CHW=None if path.to_before_N2hw is None else before_1CHW,
        after_1CHW=None if path.to_after_N2hw is None else after_1CHW,
        velocity_12hw=path.velocity_N2hw,
        to_before_12hw=path.to_before_N2hw,
        to_after_12hw=path.to_after_N2hw,
    )


def _remembered(before: Tensor | None, now: Tensor) -> Tensor:
    """The running spectrum descriptor of each cell of a stream."""
    if before is None or before.shape != now.shape or not now.numel():
        return now
    is_new = (now - before).abs().mean((3, 4, 5), keepdim=True) > _NEW_DISTANCE
    return torch.where(is_new, now, _MEMORY * before + (1 - _MEMORY) * now)
