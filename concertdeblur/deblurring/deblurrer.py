"""The public interface: it takes pictures and streams of frames, and gives deblurred ones."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from concertdeblur.deblurring.brmr import Brmr, BrmrSettings, Judge, PathWindows, windows_at_once
from concertdeblur.deblurring.cam import Area
from concertdeblur.deblurring.image_generator import ImageGenerator, frames_at_once
from concertdeblur.deblurring.smear_search import SmearSearch
from concertdeblur.deblurring.stages import CopiedIn, DeblurOptions, FrameStages, Generated, Looked, OnHost, Refined
from concertdeblur.deblurring.steadiness import Steadier
from concertdeblur.deblurring.stream_frames import StreamSearch, check_pixels, lone_frame, with_following
from concertdeblur.deblurring.tensors import quantised
from concertdeblur.engines import Engine, make_engine
from concertdeblur.errors import UsageError
from concertdeblur.frame import Frame, Medium, Pixels
from concertdeblur.models import Networks
from concertdeblur.runtime import Runtime, one_thread_a_stage
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

__all__ = ["DeblurOptions", "DeblurredFrame", "DeblurredPicture", "Deblurrer"]

Sample = TypeVar("Sample", bound=np.generic)

# Frames in flight with OpenVINO: two are restored, each on half of the cores, one is refined, and one is looked at.
# Five and six gain nothing more (EXPERIMENTS.md, 2026-11-29, "two frames are restored at the same time").
_FRAMES_IN_FLIGHT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurredPicture:
    """One deblurred picture and what BRMR did."""

    pixels: Pixels  # (height, width, 3) RGB, of the input's type
    heatmap: npt.NDArray[np.float32] | None  # (height, width), 0 sharp to 1 blurred, of the result
    windows_tried: tuple[Area, ...]
    windows_kept: tuple[Area, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeblurredFrame:
    """One deblurred frame of a stream, with the frame that it was made of."""

    source: Frame
    frame: Frame  # the source itself where nothing changed
    heatmap: npt.NDArray[np.float32] | None
    windows_tried: int
    windows_accepted: int
    windows_kept: tuple[Area, ...] = ()  # the accepted ones


class Deblurrer:
    """Deblurs pictures and streams of frames with one weight set on one runtime.

    Not thread-safe: use one from one thread at a time.
    """

    def __init__(
        self, networks: Networks, brmr: BrmrSettings, runtime: Runtime, *, name: str = "unnamed", digest: str = ""
    ) -> None:
        self.name = name
        self.digest = digest  # sha256 of the weight set's manifest, which holds the sha256 of each file
        self.runtime = runtime
        video = networks.video
        self._image_generator = ImageGenerator(
            networks.image_generator, runtime, on_paths=None if video is None else video.restoration
        )
        predictor = None if video is None else video.smear_predictor
        self._smear_search = None if predictor is None else SmearSearch(predictor, runtime)
        discriminator = _timed("mine", make_engine(networks.discriminator, runtime, is_kept=True, is_exact=True))
        on_paths = None
        if video is not None and video.patch_generator is not None and video.discriminator is not None:
            video_discriminator = make_engine(video.discriminator, runtime, is_kept=True, is_exact=True)
            at_once = windows_at_once(runtime)
            video_patch_generator = video.patch_generator.restoration
            on_paths = PathWindows(
                make_engine(video_patch_generator, runtime, is_kept=True, is_sized=True, num_at_once=at_once),
                Judge(_timed("mine", video_discriminator), margin_px=video.discriminator.receptive_margin_px),
                brmr,
                num_at_once=at_once,
            )
        self._brmr = Brmr(
            make_engine(networks.patch_generator.restoration, runtime, is_kept=True),
            Judge(discriminator, margin_px=networks.discriminator.receptive_margin_px),
            image_generator=self._image_generator,
            settings=brmr,
            on_paths=on_paths,
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
            frames: A numpy array (H, W, 3) or (N, H, W, 3), N from 0, RGB, uint8, uint16 or float32 in [0, 1]; or a
                float tensor (3, H, W) or (N, 3, H, W) in [0, 1].
            strength: How much of the change is applied, 0 to 1.
            refine: False for iGAN alone.

        Returns:
            The same kind, shape and type as the input.

        Raises:
            UsageError: If shape, type or strength is none of these.
        """
        options = DeblurOptions(strength=strength, refine=refine)
        if isinstance(frames, Tensor):
            return self._deblur_tensor(frames, options)
        if frames.ndim == 3:
            return self.deblur_picture(frames, options).pixels
        if frames.ndim != 4:
            raise UsageError(f"frames must be (H, W, 3) or (N, H, W, 3), but {frames.shape = }")
        return self._deblur_batch(frames, options)

    def deblur_picture(self, pixels: Pixels, options: DeblurOptions) -> DeblurredPicture:
        """Deblur one picture, (height, width, 3) RGB, and say what BRMR did."""
        check_pixels(pixels)
        if options.strength == 0 and not options.heatmap:
            return DeblurredPicture(pixels=pixels, heatmap=None, windows_tried=(), windows_kept=())
        stages = self._stages(options, Medium.PICTURE)
        with span("smear"):
            seen = lone_frame(pixels, self._smear_search)
        made = stages.copy_out(stages.refine(stages.restore_bolder(stages.copy_in(seen))))
        refinement = made.refinement()
        return DeblurredPicture(
            pixels=quantised(made.result, like=pixels),
            heatmap=made.heatmap,
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
        OpenVINO, torch and OpenCV keep to one thread of the CPU each until the stream ends.

        Args:
            frames: Of the video, in order; a few are taken ahead.
            options: What the user decides.
            overlap: False computes one stage after the other, so that each can be timed; the result is the same.

        Raises:
            UsageError: If a frame has no pixels.
        """
        return computed_once(
            frames,
            lambda fresh: self._stream(fresh, options, overlap=overlap),
            is_repeat=_is_same,
            repeated=_repeated,
        )

    def _stream(
        self, frames: Iterable[Frame], options: DeblurOptions, *, overlap: bool
    ) -> Generator[DeblurredFrame, None, None]:
        on_gpu = self.runtime.device.type == "cuda"
        at_once = frames_at_once(self.runtime) if overlap else 1
        search, of_frame, steadier = StreamSearch(), self._stages(options, Medium.VIDEO), Steadier()

        # None stands for the end: a stage that waits for the frame after gives its last one then.
        def copy_in(given: tuple[Frame, Frame | None] | None, slot: Slot) -> CopiedIn | None:
            if given is None:
                return None
            with span("motion"):
                seen = search.next(*given)
            return of_frame.copy_in(seen, slot)

        def generate(given: CopiedIn | None, _: Slot) -> Looked | None:
            return None if given is None else of_frame.generate(given)

        def restore(given: Looked | None, _: Slot) -> Generated | None:
            return None if given is None else of_frame.restore(given, at_once=at_once)

        def refine(given: Generated | None, _: Slot) -> Refined | None:
            if of_frame.waits:
                return of_frame.refine_waiting(given)
            return None if given is None else of_frame.refine(given)

        def copy_out(given: Refined | None, slot: Slot) -> OnHost | None:
            return None if given is None else of_frame.copy_out(given, slot if on_gpu else None)

        def finish(given: OnHost | None, _: Slot) -> DeblurredFrame | None:
            if given is None:
                return None
            with span("steady"):
                return _steadied(given, steadier)

        pairs = with_following(frames)
        given = _with_end(pairs) if of_frame.waits else pairs
        stages = Stages(
            copy_in=copy_in, generate=generate, restore=restore, refine=refine, copy_out=copy_out, finish=finish
        )
        for made in self._run(given, stages, overlap=overlap, at_once=at_once):
            if made is not None:
                yield made

    def _run(
        self,
        given: Iterable[tuple[Frame, Frame | None] | None],
        stages: Stages[tuple[Frame, Frame | None] | None, DeblurredFrame | None],
        *,
        overlap: bool,
        at_once: int,
    ) -> Generator[DeblurredFrame | None, None, None]:
        """Run the stages over all frames; they overlap if that is faster on this runtime."""
        if self.runtime.device.type == "cuda":
            pipeline = OverlappedPipeline(CudaDevice(self.runtime.device), stages, depth=2 if overlap else 1)
            yield from pipeline.run(given)
        elif overlap and self.runtime.backend == "openvino":
            with one_thread_a_stage():
                pipeline = OverlappedPipeline(ThreadDevice(), stages, depth=_FRAMES_IN_FLIGHT, num_restoring=at_once)
                yield from pipeline.run(given)
        else:  # two busy thread pools make eager torch many times slower
            yield from OverlappedPipeline(HostDevice(), stages, depth=1).run(given)

    def _stages(self, options: DeblurOptions, medium: Medium) -> FrameStages:
        return FrameStages(self._image_generator, self._brmr, options, medium, self.runtime.device)

    def _deblur_batch(self, frames: npt.NDArray[Sample], options: DeblurOptions) -> npt.NDArray[Sample]:
        made = np.empty(frames.shape, frames.dtype)
        check_pixels(np.empty(frames.shape[1:], frames.dtype))  # an empty batch has no frame of its own to check
        for number, frame in enumerate(frames):
            made[number] = self.deblur_picture(frame, options).pixels
        return made

    def _deblur_tensor(self, frames: Tensor, options: DeblurOptions) -> Tensor:
        if frames.ndim not in (3, 4) or frames.shape[-3] != 3 or not frames.is_floating_point():
            raise UsageError(
                f"a tensor must be float (3, H, W) or (N, 3, H, W), but {frames.shape = } {frames.dtype = }"
            )
        batch = frames[None] if frames.ndim == 3 else frames
        arrays = batch.detach().float().cpu().permute(0, 2, 3, 1).numpy()
        out = torch.from_numpy(self._deblur_batch(arrays, options)).permute(0, 3, 1, 2).to(frames)
        return out[0] if frames.ndim == 3 else out


def _with_end(pairs: Iterable[tuple[Frame, Frame | None]]) -> Iterator[tuple[Frame, Frame | None] | None]:
    """The pairs, and then None. If they end in an error, None comes before the error is raised."""
    try:
        yield from pairs
    except Exception:
        yield None
        raise
    yield None


def _timed(name: str, engine: Engine) -> Engine:
    def run(*tensors: Tensor) -> Tensor:
        with span(name):
            return engine(*tensors)

    return run


def _steadied(given: OnHost, steadier: Steadier) -> DeblurredFrame:
    seen = given.seen
    # it is copied, because another frame gets the host buffer next
    velocity = seen.neighbours.path.velocity() if given.is_along_motion and seen.neighbours is not None else None
    steadied = steadier.steady(seen.pixels, np.array(given.result), seen.motion, velocity=velocity)
    pixels = quantised(steadied, like=seen.pixels)
    refinement = given.refinement()
    return DeblurredFrame(
        source=seen.frame,
        frame=seen.frame if np.array_equal(pixels, seen.pixels) else seen.frame.with_pixels(pixels),
        heatmap=given.heatmap,
        windows_tried=len(refinement.tried),
        windows_accepted=len(refinement.kept),
        windows_kept=refinement.kept,
    )


def _is_same(before: Frame, now: Frame) -> bool:
    """Whether two frames of a stream show the same picture."""
    one, other = before.pixels, now.pixels
    return one is not None and other is not None and one.dtype == other.dtype and np.array_equal(one, other)


def _repeated(made: DeblurredFrame, frame: Frame) -> DeblurredFrame:
    """The result of a frame, as the result of another frame with the same pixels."""
    assert made.frame.pixels is not None
    unchanged = frame.pixels is not None and np.array_equal(made.frame.pixels, frame.pixels)
    shown = frame if unchanged else frame.with_pixels(made.frame.pixels)
    return DeblurredFrame(source=frame, frame=shown, heatmap=made.heatmap, windows_tried=0, windows_accepted=0)
