"""A frame's way through the networks: copied in, generated, refined, copied out.

The stages of a stream may run beside each other, each in a thread or on a CUDA stream of its own, so what one frame
leaves for the next belongs to one stage alone (streaming/overlap.py, rule 8).

Shape suffixes: N frames, C channels, H height, W width, h, w the same of what is restored: the working size, or the
frame's own.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.brmr import Brmr, Decisions, Refinement, Refinements, read_steps
from concertdeblur.deblurring.frame_path import path_samples
from concertdeblur.deblurring.guard import bounded_colours, guarded
from concertdeblur.deblurring.image_generator import ImageGenerator
from concertdeblur.deblurring.motion import cell_velocities
from concertdeblur.deblurring.result_paths import ResultPaths
from concertdeblur.deblurring.stream_frames import StreamFrame
from concertdeblur.deblurring.tensors import to_host, to_tensor
from concertdeblur.deblurring.working_size import with_enlarged_change, working_size
from concertdeblur.errors import UsageError
from concertdeblur.frame import Medium
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.path_windows import Along
from concertdeblur.models.prepared import HINT_PX, PathSamples, Prepared
from concertdeblur.streaming import Slot
from concertdeblur.streaming.timeline import span

_MEMORY = 0.5  # share of the previous frame's spectrum in the running one: one blur estimate does not flicker
# A cell's spectrum descriptor that changes by more than this, on average, shows a cut or a strobe: the running spectrum
# begins anew there.
_NEW_DISTANCE = 0.15
# A picture is restored along its smear if that changes it so many times as much (mean squares) as the other way. Real
# pairs lose nothing by it; pictures under Gaussian blur that are taken for smeared have 0.9, most of those of a
# simulated camera 1.3 and less, one 1.4 (EXPERIMENTS.md, 2026-11-30, "run GG").
_BOLDER = 1.45**2


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurOptions:
    """What a user decides about deblurring."""

    strength: float = 1.0  # out = in + strength * (full - in); 0 is identity
    refine: bool = True  # False: iGAN alone
    refine_share: float | None = None  # share of the windows of a video's frame that may be tried; None: the weights'
    heatmap: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength must lie between 0 and 1, but it is {self.strength}")
        if self.refine_share is not None and not 0 <= self.refine_share <= 1:
            raise UsageError(f"refine_share must lie between 0 and 1, but it is {self.refine_share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CopiedIn:
    """A frame on the networks' device."""

    seen: StreamFrame
    frame_1CHW: Tensor
    reduced_1Chw: Tensor | None  # at the working size; None: that is the frame's own, or the frame has no path
    path: PathSamples | None  # None where nothing is known of the motion, or G_i takes no taps


@dataclass(frozen=True, kw_only=True, slots=True)
class _Described:
    """What the blur of a frame is named from."""

    descriptors: Tensor  # of its cells
    velocities_NRQ3: Tensor | None  # of its cells; None where nothing is known of the motion


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """A frame of which all is known that G_i's convolutions are given; sides are padded."""

    seen: StreamFrame
    frame_1CHW: Tensor
    blurred_1Chw: Tensor  # B, which is restored: the frame, or what it is at the working size
    prepared: Prepared  # of B
    is_along_motion: bool  # whether it is restored along its motion


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """A frame after G_i; sides are padded."""

    seen: StreamFrame
    frame_1CHW: Tensor
    blurred_1Chw: Tensor  # B, as in `Looked`
    result_1Chw: Tensor  # D, of the size of B
    prepared: Prepared  # of B; without guesses, hints and consistency if D was enlarged since
    is_along_motion: bool  # whether it was restored along its motion

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of D without padding."""
        neighbours = self.seen.neighbours
        if neighbours is None or self.blurred_1Chw.shape == self.frame_1CHW.shape:
            height, width = self.seen.pixels.shape[:2]
        else:
            height, width = neighbours.frame.shape[:2]
        return height, width


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
        """What BRMR did, in areas of the frame at its own size."""
        if self.steps is None:
            return Refinement(tried=(), kept=())
        made = read_steps(self.steps, num_frames=1)[0]
        neighbours, whole = self.seen.neighbours, self.seen.pixels.shape[:2]
        if not self.is_along_motion or neighbours is None or not self.seen.is_reduced:
            return made
        size = neighbours.frame.shape[:2]
        tried, kept = (tuple(area.enlarged(size, whole) for area in areas) for areas in (made.tried, made.kept))
        return Refinement(tried=tried, kept=kept)


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
        # the memory of `generate`: what the blur of the frame before is named from, by the size at which it was seen
        self._described: dict[tuple[int, int], Tensor] = {}
        # the memory of `refine`
        self._decisions: Decisions | None = None  # of the frame before
        self._waiting: Generated | None = None  # for the result of the frame after it
        self._results = ResultPaths()  # what G_i made of the waiting frame and of those beside it

    @property
    def waits(self) -> bool:
        """Whether `refine` gives back a frame only when it is given the one after it."""
        share = self._options.refine_share
        share = self._brmr.settings.refine_share if share is None else share
        return self._refines_along_motion and self._options.refine and share > 0

    @property
    def _refines_along_motion(self) -> bool:
        """Whether there are a G_p and a D_i for these frames that sample the results beside them."""
        return self._medium is Medium.VIDEO and self._brmr.on_paths is not None

    @torch.inference_mode()
    def copy_in(self, seen: StreamFrame, slot: Slot | None = None) -> CopiedIn:
        """Bring the pixels and the taps to the device, through the slot's buffers if there is one."""
        with span("copy in"):
            pinning = slot if self._device.type != "cpu" else None
            frame_1CHW = to_tensor(seen.pixels, self._device, pinning)
        if seen.neighbours is None or not self._image_generator.takes_taps:
            return CopiedIn(seen=seen, frame_1CHW=frame_1CHW, reduced_1Chw=None, path=None)
        with span("sample"):
            path = path_samples(
                seen.neighbours, seen.pixels.shape[:2], self._image_generator.multiple_px, self._device, slot
            )
            reduced_1Chw = None
            if path is not None and seen.is_reduced:
                reduced_1Chw = to_tensor(seen.neighbours.frame, self._device, pinning, name="reduced")
        return CopiedIn(seen=seen, frame_1CHW=frame_1CHW, reduced_1Chw=reduced_1Chw, path=path)

    @torch.inference_mode()
    def generate(self, given: CopiedIn) -> Looked:
        """G_i's first part: read the blur off the frame, and filter it."""
        with span("generate"):
            frame_1CHW, path, reduced_1Chw = self._image_generator.laid_out(given.frame_1CHW), None, None
            before, self._described = self._described, {}
            described = self._describe(frame_1CHW, given.seen, before)
            if given.path is not None and self._is_blurred_by_motion(described):
                path = given.path
                if given.reduced_1Chw is not None:
                    reduced_1Chw = self._image_generator.laid_out(given.reduced_1Chw)
                    described = self._describe(reduced_1Chw, given.seen, before)
            with span("filter"):
                prepared = self._image_generator.prepare(
                    frame_1CHW if reduced_1Chw is None else reduced_1Chw,
                    described.descriptors,
                    velocities_NRQ3=described.velocities_NRQ3,
                    path=path,
                    medium=self._medium,
                )
            padded = self._image_generator.padded
            prepared = replace(prepared, guess_NGHW=padded(prepared.guess_NGHW))
            frame_1CHW = padded(frame_1CHW)
            return Looked(
                seen=given.seen,
                frame_1CHW=frame_1CHW,
                blurred_1Chw=frame_1CHW if reduced_1Chw is None else padded(reduced_1Chw),
                prepared=prepared,
                is_along_motion=path is not None,
            )

    @torch.inference_mode()
    def restore(self, given: Looked, *, at_once: int | None = None) -> Generated:
        """G_i's second part, its convolutions; safe to call for several frames at the same time.

        Args:
            given: The frame.
            at_once: How many frames of the stream may be restored at the same time; None: the frame is a picture.
        """
        with span("restore"):
            return Generated(
                seen=given.seen,
                frame_1CHW=given.frame_1CHW,
                blurred_1Chw=given.blurred_1Chw,
                result_1Chw=self._image_generator.restored(given.blurred_1Chw, given.prepared, at_once=at_once),
                prepared=given.prepared,
                is_along_motion=given.is_along_motion,
            )

    @torch.inference_mode()
    def restore_bolder(self, given: CopiedIn) -> Generated:
        """Both parts of G_i for a picture, as its blur's kernels say and along its smear: the bolder way is kept.

        Neither way changes much where it finds no blur of its kind.
        """
        made = self.restore(self.generate(replace(given, path=None, reduced_1Chw=None)))
        looked = self.generate(given) if given.path is not None else None
        if looked is None or not looked.is_along_motion:
            return made
        along = self._at_own_size(self.restore(looked))
        return along if _change(along) > _BOLDER * _change(made) else made

    @torch.inference_mode()
    def refine_waiting(self, given: Generated | None) -> Refined | None:
        """Refine the frame that waits, for which the results on either side are known now; then the given one waits.

        Args:
            given: The next frame; None at the end.

        Returns:
            The frame that was given before; None if there was none.
        """
        waiting, self._waiting = self._waiting, None if given is None else _owned(given)
        with span("search results"):
            if given is None:
                self._results.end()
            else:
                self._results.add(*self._at_working_size(given))
        if waiting is None:
            return None
        neighbours = waiting.seen.neighbours if waiting.is_along_motion else None
        with span("search results"):
            along = None if neighbours is None else self._results.along(neighbours.path)
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
            if given.is_along_motion:
                given = replace(given, result_1Chw=bounded_colours(given.blurred_1Chw, given.result_1Chw))
            given = self._at_own_size(given)
            height, width = given.size
            frame, result = given.frame_1CHW[..., :height, :width], given.result_1Chw[..., :height, :width]
            trust_11hw = given.prepared.trust_N1hw.nan_to_num(0)
            trust = F.interpolate(trust_11hw, scale_factor=HINT_PX, mode="bilinear")[..., :height, :width]
            mixed = guarded(frame, result, trust_N1HW=trust, is_motion_known=given.is_along_motion)
            if self._options.strength < 1:
                mixed = frame + self._options.strength * (mixed - frame)
            result_HWC = mixed[0].permute(1, 2, 0).contiguous()
            return Refined(
                seen=given.seen,
                is_along_motion=given.is_along_motion,
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

    def _describe(self, frame_1CHW: Tensor, seen: StreamFrame, before: dict[tuple[int, int], Tensor]) -> _Described:
        """What the blur of a frame is named from, at the frame's own size or at the working size.

        Args:
            frame_1CHW: The frame at that size.
            seen: What is known of it.
            before: The memory of the frame before.
        """
        height, width = frame_1CHW.shape[2:]
        with span("describe"):
            now = self._image_generator.describe(frame_1CHW)
            self._described[height, width] = descriptors = _remembered(before.get((height, width)), now)
        velocities_NRQ3 = None
        if seen.motion is not None:
            velocities_RQ3 = cell_velocities(seen.motion, height, width, BLUR_CELL_PX)
            velocities_NRQ3 = torch.from_numpy(velocities_RQ3)[None].to(self._device)
        return _Described(descriptors=descriptors, velocities_NRQ3=velocities_NRQ3)

    def _is_blurred_by_motion(self, described: _Described) -> bool:
        """Whether a frame with a path is restored along it; on a GPU the host waits for the answer.

        A frame under one of the seven kernels would lose much along its path. The smear of a picture is a guess, and
        under such a kernel a wrong one.
        """
        told = self._image_generator.is_blurred_by_motion(described.descriptors, described.velocities_NRQ3)
        return bool(told.item())

    def _at_working_size(self, given: Generated) -> tuple[Tensor, tuple[int, int]]:
        """A frame's result as the frames beside it sample it, and its height and width without padding."""
        (height, width), size = given.size, working_size(*given.seen.pixels.shape[:2])
        if (height, width) == size:
            return given.result_1Chw, size
        # A frame under one of the seven kernels, among others that are restored along their motion.
        return self._image_generator.padded(F.adaptive_avg_pool2d(given.result_1Chw[..., :height, :width], size)), size

    def _at_own_size(self, given: Generated) -> Generated:
        """A frame with its result at the frame's own size."""
        if given.blurred_1Chw.shape == given.frame_1CHW.shape:
            return given
        (height, width), (small_height, small_width) = given.seen.pixels.shape[:2], given.size
        result_1CHW = with_enlarged_change(
            given.frame_1CHW[..., :height, :width],
            given.blurred_1Chw[..., :small_height, :small_width],
            given.result_1Chw[..., :small_height, :small_width],
        )
        trust_N1hw = _enlarged_trust(given.prepared.trust_N1hw, (small_height, small_width), (height, width))
        nothing = trust_N1hw.new_empty(1, 0, 1, 1)
        return replace(
            given,
            blurred_1Chw=given.frame_1CHW,
            result_1Chw=self._image_generator.padded(result_1CHW),
            prepared=Prepared(guess_NGHW=nothing, hints_NEhw=nothing, trust_N1hw=trust_N1hw),
        )

    def _refinements(self, given: Generated, along: Along | None) -> Refinements | None:
        """What BRMR did to the result, in place; None where it was not asked."""
        if not self._options.refine or not (plan := given.prepared.read()).is_changed:
            return None
        if given.is_along_motion and along is None and (given.seen.is_reduced or self._refines_along_motion):
            return None  # not by the G_p of pictures, which wants guesses at the frame's own size
        with span("refine"):
            refinements = self._brmr.refine(
                given.blurred_1Chw,
                given.result_1Chw,
                given.prepared,
                plan,
                medium=self._medium,
                refine_share=self._options.refine_share,
                along=along,
                previous=self._decisions,
            )
        self._decisions = refinements.decisions
        return refinements

    def _heatmap(self, given: Generated, refinements: Refinements | None) -> npt.NDArray[np.float32]:
        maps = None if refinements is None else refinements.maps_Nhw
        if maps is None:
            maps = self._brmr.maps(given.blurred_1Chw, given.result_1Chw, medium=self._medium)
        heatmap = cam.blur_heatmap(maps[0].cpu().numpy(), *given.size)
        height, width = given.seen.pixels.shape[:2]
        if heatmap.shape != (height, width):
            heatmap = np.asarray(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR))
        return heatmap


def _enlarged_trust(trust_N1hw: Tensor, size: tuple[int, int], whole: tuple[int, int]) -> Tensor:
    """The trust in each place of a larger frame, one for HINT_PX x HINT_PX of it.

    Args:
        trust_N1hw: Of a smaller one, the same; the last ones may reach beyond it.
        size: Height and width of the smaller one.
        whole: Of the larger one.
    """
    trust_N1HW = F.interpolate(trust_N1hw.nan_to_num(0), scale_factor=HINT_PX, mode="bilinear")
    trust_N1HW = F.interpolate(trust_N1HW[..., : size[0], : size[1]], whole, mode="bilinear")
    return F.avg_pool2d(trust_N1HW, HINT_PX, ceil_mode=True)


def _change(made: Generated) -> float:
    """The mean square of what a frame's restoration changes."""
    step = (made.result_1Chw - made.blurred_1Chw).square_().mean(1, keepdim=True)
    trust_11hw = made.prepared.trust_N1hw.nan_to_num(0).square()
    return float((F.avg_pool2d(step, HINT_PX) * trust_11hw).mean())


def _owned(given: Generated) -> Generated:
    """The frame without its taps, with tensors of the refine stage's own.

    On a GPU the memory of another stage's tensors may be given to a later batch (streaming/overlap.py, rule 8).
    """
    given = replace(given, prepared=replace(given.prepared, path=None))
    if given.result_1Chw.device.type == "cpu":
        return given
    frame_1CHW = given.frame_1CHW.clone()
    is_reduced = given.blurred_1Chw.shape != frame_1CHW.shape
    return replace(
        given,
        frame_1CHW=frame_1CHW,
        blurred_1Chw=given.blurred_1Chw.clone() if is_reduced else frame_1CHW,
        result_1Chw=given.result_1Chw.clone(),
        prepared=given.prepared.cloned(),
    )


def _remembered(before: Tensor | None, now: Tensor) -> Tensor:
    """The running spectrum descriptor of each cell of a stream."""
    if before is None or before.shape != now.shape or not now.numel():
        return now
    is_new = (now - before).abs().mean((3, 4, 5), keepdim=True) > _NEW_DISTANCE
    return torch.where(is_new, now, _MEMORY * before + (1 - _MEMORY) * now)
