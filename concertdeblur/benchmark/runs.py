"""The parts that `concertdeblur bench` times, each of them alone."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import torch
from torch import Tensor, nn

from concertdeblur.benchmark.counts import PAPER_PATCH_PX, PAPER_TILE_PX, HostReads
from concertdeblur.benchmark.figures import PaperCost
from concertdeblur.deblurring.deblurrer import DeblurOptions, Deblurrer
from concertdeblur.engines import Engine, OpenVinoEngine, TorchEngine, make_engine
from concertdeblur.frame import Frame, Pixels, full_scale
from concertdeblur.media.backends import open_reader
from concertdeblur.media.containers import output_format
from concertdeblur.media.encoders import EncoderSettings
from concertdeblur.media.encoding import plan_encoding
from concertdeblur.media.pyav_writer import PyavWriter
from concertdeblur.media.reader import ReaderOptions
from concertdeblur.models.discriminator import PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.psnr import psnr_db
from concertdeblur.runtime import Runtime, choose_runtime
from concertdeblur.streaming.timeline import span

_GEMM_SIDE = 4096
_REPEATS = 3


def read_frames(clip: Path) -> list[Frame]:
    """All frames of a clip, as `concertdeblur video` reads them."""
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        return list(reader.frames())


def codec_cpu_seconds(clip: Path, target: Path, made: Sequence[Frame]) -> float:
    """CPU seconds, over all threads, of decoding a clip and encoding its result, as `video` does it."""
    started_s = time.process_time()
    with open_reader(clip, ReaderOptions(num_threads=1)) as reader:
        frames = reader.frames()
        encoding = plan_encoding(reader.info, output_format(target), EncoderSettings(num_threads=1))
        with PyavWriter(target, reader.info, encoding) as writer:
            for one in made:
                with span("decode"):
                    next(frames)
                with span("encode"):
                    writer.write(replace(one, native=None))
            with span("encode"):
                writer.finish()
    return time.process_time() - started_s


def network_seconds(
    deblurrer: Deblurrer, frames: Sequence[Frame], *, overlap: bool = True, refine: bool = True
) -> tuple[float, list[Frame]]:
    """Wall seconds of the deblurrer over frames in memory, and its results."""
    started_s = time.perf_counter()
    made = [one.frame for one in deblurrer.stream(frames, DeblurOptions(refine=refine), overlap=overlap)]
    return time.perf_counter() - started_s, made


def reads_per_frame(deblurrer: Deblurrer, frames: Sequence[Frame]) -> float:
    """How many times the host reads values of a tensor for each frame."""
    with HostReads() as reads:  # of this thread only
        network_seconds(deblurrer, frames, overlap=False)
    return float(reads.count / len(frames))


def gemm_flops(runtime: Runtime, *, side: int = _GEMM_SIDE) -> float:
    """FLOP/s of a product of two square fp32 matrices in torch, the best of five."""
    first, second = (torch.ones(side, side, device=runtime.device) for _ in range(2))
    made = torch.empty_like(first)
    seconds = [_seconds(lambda: torch.mm(first, second, out=made), runtime) for _ in range(5)]
    return float(2 * side**3 / min(seconds))


def paper_seconds(runtime: Runtime) -> PaperCost:
    """The paper's networks at full width with random weights, one call each; the median of three."""

    def timed(module: nn.Module, *given: Tensor, is_exact: bool = False) -> float:
        return _median_seconds(make_engine(module, runtime, is_exact=is_exact), given, runtime)

    tile = torch.rand(1, 3, PAPER_TILE_PX, PAPER_TILE_PX, device=runtime.device)
    patch = torch.rand(1, 3, PAPER_PATCH_PX, PAPER_PATCH_PX, device=runtime.device)
    return PaperCost(
        generator=timed(PaperGenerator().restoration.unet, tile),
        discriminator=timed(PaperDiscriminator(), tile, tile, is_exact=True),
        patch_generator=timed(PaperPatchGenerator().restoration.unet, patch),
    )


def compared_backends(restoration: nn.Module, runtime: Runtime, given: Sequence[Tensor]) -> dict[str, float | None]:
    """Seconds to restore a frame in eager torch, torch.compile and OpenVINO; None if a backend does not run."""

    def eager() -> Engine:
        return TorchEngine(restoration, choose_runtime(str(runtime.device), "torch"))

    def compiled() -> Engine:
        run = torch.compile(restoration, dynamic=False)
        return lambda *tensors: torch.no_grad()(run)(*tensors)

    def openvino() -> Engine:
        return OpenVinoEngine(restoration, runtime.dtype)

    makers: dict[str, Callable[[], Engine]] = {"torch": eager, "torch.compile": compiled, "openvino": openvino}
    seconds: dict[str, float | None] = {}
    for name, make in makers.items():
        try:
            seconds[name] = _median_seconds(make(), given, runtime)
        except Exception:  # it does not run here, whatever the reason: no compiler, no package, another device
            seconds[name] = None
    return seconds


def lost_db(made: Sequence[Frame], plain: Sequence[Frame], sharp: Iterable[Pixels]) -> float:
    """How much closer eager torch comes to the sharp frames than the default, in dB of PSNR; mean of the frames."""
    losses = [
        _psnr_db(by_plain.pixels, reference) - _psnr_db(one.pixels, reference)
        for one, by_plain, reference in zip(made, plain, sharp, strict=True)
    ]
    return fmean(losses)


def _psnr_db(picture: Pixels | None, reference: Pixels) -> float:
    assert picture is not None
    return psnr_db(picture, reference, full_scale=full_scale(reference))


def _median_seconds(engine: Engine, given: Sequence[Tensor], runtime: Runtime) -> float:
    engine(*given)  # compiles
    return median(_seconds(lambda: engine(*given), runtime) for _ in range(_REPEATS))


def _seconds(work: Callable[[], object], runtime: Runtime) -> float:
    _wait(runtime)
    started_s = time.perf_counter()
    work()
    _wait(runtime)
    return time.perf_counter() - started_s


def _wait(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize(runtime.device)
