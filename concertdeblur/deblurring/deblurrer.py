"""Frames to deblurred frames: pad, analyse, restore in tiles, refine, guard, mix.

Shape suffixes: N frames, C channels, H height, W width, G channels of guesses, E embedding (h, w: a HINT_PX each).
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from concertdeblur.deblurring import cam
from concertdeblur.deblurring.brmr import Brmr, BrmrSettings, Decisions, Refinement, Refinements, read_steps
from concertdeblur.deblurring.cam import Area
from concertdeblur.deblurring.guard import guarded
from concertdeblur.deblurring.motion import Motion, MotionSearch, cell_velocities
from concertdeblur.deblurring.steadiness import Steadier
from concertdeblur.deblurring.tensors import finite, quantised, to_host, to_tensor
from concertdeblur.deblurring.tiles import in_tiles
from concertdeblur.engines import Engine, make_engine
from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, Pixels
from concertdeblur.models import Networks
from concertdeblur.models.inverse_filter import CELL_PX
from concertdeblur.models.prepared import HINT_PX, Prepared
from concertdeblur.runtime import Runtime, torch_threads
from concertdeblur.streaming import (
    CudaDevice,
    HostDevice,
    OverlappedPipeline,
    Slot,
    Stages,
    ThreadDevice,
    computed_once,
)
from concertdeblur.streaming.timeline import span

Sample = TypeVar("Sample", bound=np.generic)

# With OpenVINO: generating uses all cores but for what torch does alone (describing, filtering); refining and steadying
# of the frames before fill that. Measured on two cores, s a frame: 1.19 with one, 0.96 with two, 0.95 with three.
_FRAMES_IN_FLIGHT = 3
_MEMORY = 0.5  # share of the previous frame's spectrum in the running one: one blur estimate does not flicker
_NEW_DISTANCE = 0.15  # mean change of a cell's spectrum descriptor that is a cut (or a strobe): memory ends


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurOptions:
    """What a user decides about deblurring."""

    strength: float = 1.0  # out = in + strength * (full - in); 0 is identity
    refine: bool = True  # False: iGAN alone
    heatmap: bool = False
    is_capped: bool = True  # the recipe's cap on refined windows a frame holds

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(f"strength must lie between 0 and 1, but it is {self.strength}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurredPicture:
    """One deblurred picture and what BRMR did."""

    pixels: Pixels  # (height, width, 3) RGB, of the input's type
    heatmap: npt.NDArray[np.float32] | None  # (height, width), 0 sharp to 1 blurred, of the result
    windows_tried: tuple[Area, ...]
    windows_kept: tuple[Area, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurredFrame:
    """One deblurred frame of a stream."""

    frame: Frame
    heatmap: npt.NDArray[np.float32] | None
    windows_tried: int
    windows_accepted: int


@dataclass(slots=True)
class _Memory:
    """What one frame of a stream leaves for the next; each field belongs to one stage alone."""

    is_stream: bool
    motion: MotionSearch = field(default_factory=MotionSearch)  # of copying in
    described: Tensor | None = None  # of generating
    decisions: Decisions | None = None  # of refining
    steadier: Steadier = field(default_factory=Steadier)  # of finishing


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A frame of a stream, and how it moved since the one before."""

    frame: Frame
    pixels: Pixels  # of the frame
    motion: Motion | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Generated:
    """A frame after G_i; sides are padded."""

    blurred: Tensor
    result: Tensor
    prepared: Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refined:
    """A frame after BRMR."""

    result: Tensor  # (H, W, 3) in [0, 1], what goes back to the host
    heatmap: npt.NDArray[np.float32] | None
    refinements: Refinements | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _OnHost:
    """What came back of a frame; arrays may be a slot's, which another frame gets next."""

    result: npt.NDArray[np.float32]
    steps: npt.NDArray[np.int32] | None  # as in Refinements
    heatmap: npt.NDArray[np.float32] | None


class Deblurrer:
    """Deblurs pictures and streams of frames with one weight set on one runtime.

    Not thread-safe: use one from one thread at a time.
    """

    def __init__(self, networks: Networks, brmr: BrmrSettings, runtime: Runtime, *, name: str = "unnamed") -> None:
        self.name = name
        self.runtime = runtime
        self._generator = networks.image_generator.eval().requires_grad_(False).to(runtime.device)
        restoration = networks.image_generator.restoration
        self._multiple_px = max(HINT_PX, restoration.multiple_px)
        self._margin_px = restoration.receptive_margin_px
        self._restore: Engine = make_engine(restoration, runtime, is_kept=True)
        # OpenVINO reads one layout only: changing over once a frame is cheaper than at every window
        self._memory_format = torch.contiguous_format if runtime.backend == "openvino" else torch.channels_last
        self._brmr = Brmr(
            make_engine(networks.patch_generator.restoration, runtime, is_kept=True),
            _timed("mine", make_engine(networks.discriminator, runtime, is_kept=True, is_exact=True)),
            image_generator=self._restored,
            discriminator_margin_px=networks.discriminator.receptive_margin_px,
            settings=brmr,
        )

    @overload
    def deblur(self, frames: Tensor, *, strength: float = 1.0, refine: bool = True) -> Tensor: ...

    @overload
    def deblur(
        self, frames: npt.NDArray[Sample], *, strength: float = 1.0, refine: bool = True
    ) -> npt.NDArray[Sample]: ...

    def deblur(self, frames: Any, *, strength: float = 1.0, refine: bool = True) -> Any:
        """Deblur one frame or a batch; frames are independent of each other.

        Args:
            frames: A numpy array (H, W, 3) or (N, H, W, 3), RGB, uint8, uint16 or float32 in [0, 1]; or a
                float tensor (3, H, W) or (N, 3, H, W) in [0, 1].
            strength: How much of the change is applied, 0 to 1.
            refine: False for iGAN alone.

        Returns:
            The same kind, shape and type as the input.

        Raises:
            UsageError: If shape, type or strength is none of these.
        """
        options = DeblurOptions(strength=strength, refine=refine, is_capped=False)
        if isinstance(frames, Tensor):
            return self._deblur_tensor(frames, options)
        if frames.ndim == 3:
            return self.deblur_picture(frames, options).pixels
        if frames.ndim != 4:
            raise UsageError(f"frames must be (H, W, 3) or (N, H, W, 3), but {frames.shape = }")
        return np.stack([self.deblur_picture(frame, options).pixels for frame in frames]).astype(frames.dtype)

    def deblur_picture(self, pixels: Pixels, options: DeblurOptions) -> DeblurredPicture:
        """Deblur one picture, (height, width, 3) RGB, and say what BRMR did."""
        _check(pixels)
        if options.strength == 0 and not options.heatmap:
            return DeblurredPicture(pixels=pixels, heatmap=None, windows_tried=(), windows_kept=())
        memory = _Memory(is_stream=False)
        with torch.inference_mode():
            generated = self._generate_stage(to_tensor(pixels, self.runtime.device), memory)
            refined = self._refine_stage(generated, pixels, options, memory)
        host = _on_host(refined)
        refinement = _read(host.steps)
        return DeblurredPicture(
            pixels=quantised(host.result, like=pixels),
            heatmap=host.heatmap,
            windows_tried=refinement.tried,
            windows_kept=refinement.kept,
        )

    def stream(
        self, frames: Iterable[Frame], options: DeblurOptions, *, overlap: bool = True
    ) -> Generator[DeblurredFrame, None, None]:
        """Deblur the frames of one video in order: one out for one in, each with its time stamps.

        The blur estimate and the decisions of BRMR look back at the frame before, and the result is averaged along
        the motion. A frame with the pixels of the one before is not computed again. Frames must carry RGB
        pixels. A frame that did not change comes out as it came in, with its native planes.

        On a GPU, and with OpenVINO, neighbouring frames overlap: one is refined while the next is generated. With
        OpenVINO torch keeps to one thread of the CPU until the stream ends.

        Args:
            frames: Of the video, in order; a few are taken ahead.
            options: What the user decides.
            overlap: False computes one stage after the other, so that each can be timed; the result is the same.

        Raises:
            UsageError: If a frame has no pixels.
        """
        made = computed_once(frames, lambda fresh: self._stream(fresh, options, overlap=overlap), is_repeat=_is_same)
        for frame, result, is_own in made:
            yield result if is_own else _repeated(result, frame)

    def _stream(
        self, frames: Iterable[Frame], options: DeblurOptions, *, overlap: bool
    ) -> Generator[DeblurredFrame, None, None]:
        memory = _Memory(is_stream=True)
        on_gpu = self.runtime.device.type == "cuda"

        def copy_in(frame: Frame, slot: Slot) -> tuple[_Seen, Tensor]:
            if frame.pixels is None:
                raise UsageError("frames without RGB pixels cannot be deblurred; ask the reader for pixels")
            _check(frame.pixels)
            with span("motion"):
                seen = _Seen(frame=frame, pixels=frame.pixels, motion=memory.motion.next(frame.pixels))
            with torch.inference_mode(), span("copy in"):
                return seen, to_tensor(seen.pixels, self.runtime.device, slot if on_gpu else None)

        def generate(given: tuple[_Seen, Tensor], _: Slot) -> tuple[_Seen, _Generated]:
            with torch.inference_mode(), span("generate"):
                return given[0], self._generate_stage(given[1], memory, given[0].motion)

        def refine(given: tuple[_Seen, _Generated], _: Slot) -> tuple[_Seen, _Refined]:
            with torch.inference_mode(), span("guard"):
                return given[0], self._refine_stage(given[1], given[0].pixels, options, memory)

        def copy_out(given: tuple[_Seen, _Refined], slot: Slot) -> tuple[_Seen, _OnHost]:
            with torch.inference_mode(), span("copy out"):
                return given[0], _on_host(given[1], slot if on_gpu else None)

        def finish(given: tuple[_Seen, _OnHost], _: Slot) -> DeblurredFrame:
            with span("steady"):
                return _deblurred_frame(*given, memory.steadier)

        stages = Stages(copy_in=copy_in, generate=generate, refine=refine, copy_out=copy_out, finish=finish)
        if on_gpu:
            yield from OverlappedPipeline(CudaDevice(self.runtime.device), stages, depth=2 if overlap else 1).run(
                frames
            )
        elif overlap and self.runtime.backend == "openvino":
            with torch_threads(1):
                yield from OverlappedPipeline(ThreadDevice(), stages, depth=_FRAMES_IN_FLIGHT).run(frames)
        else:  # two busy thread pools make eager torch many times slower
            yield from OverlappedPipeline(HostDevice(), stages, depth=1).run(frames)

    def _deblur_tensor(self, frames: Tensor, options: DeblurOptions) -> Tensor:
        if frames.ndim not in (3, 4) or frames.shape[-3] != 3 or not frames.is_floating_point():
            raise UsageError(
                f"a tensor must be float (3, H, W) or (N, 3, H, W), but {frames.shape = } {frames.dtype = }"
            )
        batch = frames[None] if frames.ndim == 3 else frames
        arrays = batch.detach().float().cpu().permute(0, 2, 3, 1).numpy()
        made = np.stack([self.deblur_picture(array, options).pixels for array in arrays])
        out = torch.from_numpy(made).permute(0, 3, 1, 2).to(frames)
        return out[0] if frames.ndim == 3 else out

    def _generate_stage(self, frame_1CHW: Tensor, memory: _Memory, motion: Motion | None = None) -> _Generated:
        frame_1CHW = frame_1CHW.contiguous(memory_format=self._memory_format)
        with span("describe"):
            described = memory.described = _remembered(memory.described, self._generator.describe(frame_1CHW))
        with span("filter"):
            height, width = frame_1CHW.shape[2:]
            velocities_NRQ3 = None
            if motion is not None:
                velocities = cell_velocities(motion, height, width, CELL_PX)
                velocities_NRQ3 = torch.from_numpy(velocities)[None].to(self.runtime.device)
            prepared = self._generator.prepare(
                frame_1CHW, described, velocities_NRQ3=velocities_NRQ3, is_stream=memory.is_stream
            )
        blurred = self._padded(frame_1CHW)
        prepared = replace(prepared, guess_NGHW=self._padded(prepared.guess_NGHW))
        with span("restore"):
            restored = self._restored(blurred, prepared.guess_NGHW, prepared.hints_NEhw)
        result = finite(restored, blurred).clamp_(0, 1)
        return _Generated(blurred=blurred, result=result, prepared=prepared)

    def _restored(self, frames_NCHW: Tensor, guess_NGHW: Tensor, hints_NEhw: Tensor) -> Tensor:
        given = frames_NCHW, guess_NGHW, hints_NEhw
        return in_tiles(self._restore, given, margin_px=self._margin_px, multiple_px=self._multiple_px)

    def _refine_stage(self, given: _Generated, pixels: Pixels, options: DeblurOptions, memory: _Memory) -> _Refined:
        height, width = pixels.shape[:2]
        refinements = None
        if options.refine and (plan := given.prepared.read()).is_changed:
            with span("refine"):
                refinements = self._brmr.refine(
                    given.blurred,
                    given.result,
                    given.prepared,
                    plan,
                    previous=memory.decisions,
                    is_capped=options.is_capped,
                )
            memory.decisions = refinements.decisions
        heatmap = None
        if options.heatmap:
            maps = None if refinements is None else refinements.maps_Nhw
            if maps is None:
                maps = self._brmr.maps(given.blurred, given.result)
            heatmap = cam.blur_heatmap(maps[0].cpu().numpy(), height, width)
        frame, result = given.blurred[..., :height, :width], given.result[..., :height, :width]
        trust = F.interpolate(given.prepared.trust_N1hw.nan_to_num(0), scale_factor=HINT_PX, mode="bilinear")[
            ..., :height, :width
        ]
        mixed = guarded(frame, (result - frame).mul_(trust).add_(frame))
        if options.strength < 1:
            mixed = frame + options.strength * (mixed - frame)
        result = mixed[0].permute(1, 2, 0).contiguous()
        return _Refined(result=result, heatmap=heatmap, refinements=refinements)

    def _padded(self, frames_NCHW: Tensor) -> Tensor:
        """Extended at the bottom and right, by reflection where there is enough, to what the networks need."""
        missing_h = -frames_NCHW.shape[2] % self._multiple_px
        missing_w = -frames_NCHW.shape[3] % self._multiple_px
        if not missing_h and not missing_w:
            return frames_NCHW
        if not frames_NCHW.shape[1]:  # nothing to reflect
            return F.pad(frames_NCHW, (0, missing_w, 0, missing_h))
        reflects = missing_h < frames_NCHW.shape[2] and missing_w < frames_NCHW.shape[3]
        return F.pad(frames_NCHW, (0, missing_w, 0, missing_h), mode="reflect" if reflects else "replicate")


def _timed(name: str, engine: Engine) -> Engine:
    def run(*tensors: Tensor) -> Tensor:
        with span(name):
            return engine(*tensors)

    return run


def _check(pixels: Pixels) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(f"a frame must be (height, width, 3) RGB, but {pixels.shape = }")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise UsageError(f"a frame must be uint8, uint16 or float32, but {pixels.dtype = }")


def _on_host(refined: _Refined, slot: Slot | None = None) -> _OnHost:
    steps = None if refined.refinements is None else to_host(refined.refinements.steps, slot, name="steps")
    return _OnHost(result=to_host(refined.result, slot), steps=steps, heatmap=refined.heatmap)


def _read(steps: npt.NDArray[np.int32] | None) -> Refinement:
    return Refinement(tried=(), kept=()) if steps is None else read_steps(steps, num_frames=1)[0]


def _deblurred_frame(seen: _Seen, host: _OnHost, steadier: Steadier) -> DeblurredFrame:
    # a copy: the host buffer goes to another frame
    steadied = steadier.steady(seen.pixels, np.array(host.result), seen.motion)
    pixels = quantised(steadied, like=seen.pixels)
    refinement = _read(host.steps)
    return DeblurredFrame(
        frame=seen.frame if np.array_equal(pixels, seen.pixels) else seen.frame.with_pixels(pixels),
        heatmap=host.heatmap,
        windows_tried=len(refinement.tried),
        windows_accepted=len(refinement.kept),
    )


def _is_same(before: Frame, now: Frame) -> bool:
    """Whether two frames of a stream show the same picture."""
    one, other = before.pixels, now.pixels
    return one is not None and other is not None and one.dtype == other.dtype and np.array_equal(one, other)


def _repeated(made: DeblurredFrame, frame: Frame) -> DeblurredFrame:
    """What was made of a frame, for another one with the same pixels."""
    assert made.frame.pixels is not None
    unchanged = frame.pixels is not None and np.array_equal(made.frame.pixels, frame.pixels)
    shown = frame if unchanged else frame.with_pixels(made.frame.pixels)
    return DeblurredFrame(frame=shown, heatmap=made.heatmap, windows_tried=0, windows_accepted=0)


def _remembered(before: Tensor | None, now: Tensor) -> Tensor:
    """Running spectrum descriptor of each cell of a stream."""
    if before is None or before.shape != now.shape or not now.numel():
        return now
    is_new = (now - before).abs().mean((3, 4, 5), keepdim=True) > _NEW_DISTANCE
    return torch.where(is_new, now, _MEMORY * before + (1 - _MEMORY) * now)
