"""How a job's frames are read, deblurred, and handed on: the same whoever computes them."""

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

from concertdeblur.cpus import available_cpus, quota_cpus
from concertdeblur.frame import Frame
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.pipelines.video_job import Unchanged, VideoJob
from concertdeblur.streaming import Prefetch, Sink

if TYPE_CHECKING:
    from concertdeblur.deblurring.deblurrer import DeblurredFrame, Deblurrer

Writing: TypeAlias = Callable[[], None]

_QUEUE_DEPTH = 4  # frames that wait between stages; a 4K frame with its planes is 37 MB


def reader_options(job: VideoJob) -> ReaderOptions:
    """How a job reads its clip."""
    return ReaderOptions(
        video_stream=job.video_stream,
        start_s=job.start_s,
        end_s=job.end_s,
        strict=job.strict,
        deinterlace=job.deinterlace,
        even_size=job.compatible,
        wants_pixels=not job.is_identity,
        num_threads=codec_threads(job),
    )


def codec_threads(job: VideoJob) -> int:
    """Threads of decoder and encoder each: all cores (0) for identity; one where the networks need the cores."""
    return (0 if quota_cpus() is None else available_cpus()) if job.is_identity else 1


def deblurred(
    frames: Iterable[Frame], deblurrer: "Deblurrer | None", job: VideoJob
) -> "Generator[DeblurredFrame | Unchanged]":
    """What became of each frame."""
    if deblurrer is None:
        for frame in frames:
            yield Unchanged(frame)
        return
    from concertdeblur.deblurring.deblurrer import DeblurOptions

    options = DeblurOptions(
        strength=job.strength, refine=job.refine, refine_share=job.refine_share, heatmap=job.heatmap is not None
    )
    yield from deblurrer.stream(frames, options)


def beside(
    frames: Iterable[Frame], deblurrer: "Deblurrer | None", stack: ExitStack
) -> tuple[Iterable[Frame], Callable[[Writing], None], Callable[[], None]]:
    """Decoding and encoding beside the networks, where that pays.

    Args:
        frames: From a decoder.
        deblurrer: What runs between; None for identity.
        stack: Ends the threads.

    Returns:
        The frames; what does a task of writing now, or later in another thread, in the order of the calls; and what
        waits until all of them are done.

    """
    if not _may_overlap(deblurrer):
        return frames, lambda task: task(), lambda: None
    prefetched = stack.enter_context(Prefetch(frames, depth=_QUEUE_DEPTH, name="decode"))
    sink: Sink[Writing] = Sink(lambda task: task(), depth=_QUEUE_DEPTH, name="encode")
    stack.callback(sink.abandon)
    return prefetched, sink.push, sink.close


def _may_overlap(deblurrer: "Deblurrer | None") -> bool:
    """Whether codecs run beside the networks: always, except beside eager torch on a CPU.

    Two busy thread pools on two cores make eager torch 10 to 20 times slower; beside networks that take a
    second a frame, decoding and encoding take a twentieth.
    """
    runtime = None if deblurrer is None else deblurrer.runtime
    return runtime is None or runtime.device.type != "cpu" or runtime.backend != "torch"
