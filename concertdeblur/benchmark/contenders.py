"""The contenders of `concertdeblur bench --peers`: our networks and others, on the same frames, with the same engines.

Each contender is measured in its own process, so that memory is measured, too.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from concertdeblur import pretrained
from concertdeblur.benchmark import runs
from concertdeblur.benchmark.counts import convolution_macs, paper_macs, paper_tiles
from concertdeblur.benchmark.memory import peak_rss_mb
from concertdeblur.benchmark.peers.deblurgan_v2 import DeblurGanV2
from concertdeblur.benchmark.peers.estrnn import Estrnn, EstrnnStream
from concertdeblur.benchmark.peers.mimo_unet import MimoUNet
from concertdeblur.benchmark.peers.nafnet import NafNet
from concertdeblur.benchmark.scene import blurred_frames
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.deblurring.tensors import quantised, to_tensor
from concertdeblur.engines import make_engine
from concertdeblur.frame import Frame, Pixels
from concertdeblur.models import Networks
from concertdeblur.models.discriminator import PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.runtime import Runtime, choose_runtime

_WARM_FRAMES = 2  # frames of ours before timing begins
_MOST_OTHERS = 2  # timed frames of the others, some of which take ten seconds a frame, and always the same


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One line of the comparison, with the figure that its authors published."""

    name: str
    gopro_psnr_db: float | None = None  # published PSNR; None: there is none for all of GOPRO
    source: str = ""  # source of that figure


@dataclass(frozen=True, kw_only=True, slots=True)
class OursContender(Contender):
    """One of our weight sets."""

    weights: str
    refine: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerContender(Contender):
    """Another network; `build` gives it with random weights."""

    build: Callable[[], nn.Module]


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperContender(Contender):
    """The paper's U-Nets with its Algorithm 1; one tile is timed, and multiplied by the number of tiles."""


REFERENCE = "concert"  # the times of all others are divided by its time
CONTENDERS: tuple[Contender, ...] = (
    OursContender(name=REFERENCE, weights=pretrained.DEFAULT_WEIGHTS),
    OursContender(name="concert, --no-refine", weights=pretrained.DEFAULT_WEIGHTS, refine=False),
    OursContender(name="concert-fast", weights=pretrained.FAST_WEIGHTS),
    OursContender(name="concert-fast, --no-refine", weights=pretrained.FAST_WEIGHTS, refine=False),
    PeerContender(name="DeblurGAN-v2, MobileNetV2", build=DeblurGanV2, gopro_psnr_db=28.17, source="Kupyn et al. 2019"),
    PeerContender(name="NAFNet, width 32", build=NafNet, gopro_psnr_db=32.85, source="Chen et al. 2022"),
    PeerContender(name="MIMO-UNet", build=MimoUNet, gopro_psnr_db=31.73, source="Cho et al. 2021"),
    PeerContender(name="ESTRNN, B9C90", build=Estrnn, gopro_psnr_db=31.07, source="Zhong et al. 2020"),
    PaperContender(name="the paper's U-Nets, BRMR", gopro_psnr_db=30.27, source="the paper, 2019"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The measurements of one contender with one backend."""

    seconds_per_frame: float
    gmacs: float | None  # of a frame's convolutions; None if the count depends on the frames and was not made here
    parameters_m: float
    peak_rss_mb: float  # peak memory of the whole process, with Python and torch
    runtime: str


def measure(name: str, backend: str, *, height: int, width: int, num_frames: int) -> Measured:
    """Measure a contender on the CPU, in a process that does nothing else.

    Args:
        name: The name of one of `CONTENDERS`.
        backend: "torch" or "openvino".
        height: Height of the frames.
        width: Width of the frames.
        num_frames: Number of timed frames; networks that are not ours get two at most.

    Raises:
        KeyError: If there is no such contender.
        ConcertDeblurError: If the backend is not there, or a weight set is not.
    """
    contender = {one.name: one for one in CONTENDERS}[name]
    runtime = choose_runtime("cpu", backend)
    if isinstance(contender, PaperContender):
        return _measured_paper(runtime, height, width)
    if isinstance(contender, OursContender):
        pixels = blurred_frames(height, width, _WARM_FRAMES + num_frames)
        frames = [Frame(pts=number, pixels=one) for number, one in enumerate(pixels)]
        return _measured_ours(contender, runtime, frames)
    assert isinstance(contender, PeerContender)
    pictures = list(blurred_frames(height, width, 1 + min(num_frames, _MOST_OTHERS)))
    return _measured_peer(contender.build(), runtime, pictures)


def _generating(networks: Networks) -> list[nn.Module]:
    """The networks that a video takes without refining."""
    along_motion = [] if networks.video is None else [networks.video.restoration]
    return [networks.image_generator, *along_motion]


def _measured_ours(contender: OursContender, runtime: Runtime, frames: Sequence[Frame]) -> Measured:
    folder = pretrained.find_weights(contender.weights)
    manifest = pretrained.read_manifest(folder)
    networks = pretrained.load_networks(folder, manifest)
    modules = list(networks.by_name().values()) if contender.refine else _generating(networks)
    deblurrer = Deblurrer(networks, manifest.brmr, runtime, name=contender.name)
    warm, timed = frames[:_WARM_FRAMES], frames[_WARM_FRAMES:]

    def run_warm() -> None:
        runs.network_seconds(deblurrer, warm, refine=contender.refine)

    gmacs = None
    if runtime.backend == "torch":  # hooks see only eager torch; the number of windows depends on the frames
        gmacs = convolution_macs(run_warm, *modules) / len(warm) / 1e9
    else:
        run_warm()
    seconds, _ = runs.network_seconds(deblurrer, timed, refine=contender.refine)
    return _measured(seconds / len(timed), gmacs, modules, runtime)


def _measured_peer(network: nn.Module, runtime: Runtime, pictures: Sequence[Pixels]) -> Measured:
    multiple = network.multiple_px
    assert isinstance(multiple, int)
    on_meta = copy.deepcopy(network).to("meta").eval()
    padded = _padded(torch.empty(1, 3, *pictures[0].shape[:2], device="meta"), multiple)
    gmacs = convolution_macs(lambda: _stepped(on_meta, None)(padded), on_meta) / 1e9
    step = _stepped(network, runtime)
    restored(step, pictures[0], multiple, runtime.device)  # compiles
    started_s = time.perf_counter()
    for picture in pictures[1:]:
        restored(step, picture, multiple, runtime.device)
    seconds = (time.perf_counter() - started_s) / len(pictures[1:])
    return _measured(seconds, gmacs, [network], runtime)


def _measured_paper(runtime: Runtime, height: int, width: int) -> Measured:
    tiles = paper_tiles(height, width)
    seconds = runs.paper_seconds(runtime).of_frame(tiles)
    with torch.device("meta"):
        networks = PaperGenerator(), PaperDiscriminator(), PaperPatchGenerator()
    return _measured(seconds, paper_macs().of_frame(tiles) / 1e9, networks, runtime)


def _measured(seconds: float, gmacs: float | None, networks: Sequence[nn.Module], runtime: Runtime) -> Measured:
    parameters = sum(parameter.numel() for network in networks for parameter in network.parameters())
    return Measured(
        seconds_per_frame=seconds,
        gmacs=gmacs,
        parameters_m=parameters / 1e6,
        peak_rss_mb=peak_rss_mb(),
        runtime=str(runtime),
    )


def _stepped(network: nn.Module, runtime: Runtime | None) -> Callable[[Tensor], Tensor]:
    """The network as a step from frame to frame, in engines of the runtime; without a runtime, the plain module."""

    def ready(module: nn.Module) -> Callable[..., Tensor]:
        return module if runtime is None else make_engine(module, runtime)

    if isinstance(network, Estrnn):
        return EstrnnStream(network.settings, ready(network.cell), ready(network.head))
    return ready(network)


def restored(step: Callable[[Tensor], Tensor], picture: Pixels, multiple_px: int, device: torch.device) -> Pixels:
    """The result, as pixels, of a frame (H, W, 3) uint8 and a network that takes only multiples of a size."""
    height, width = picture.shape[:2]
    made = step(_padded(to_tensor(picture, device), multiple_px))[0, :, :height, :width]
    return quantised(made.clamp(0, 1).permute(1, 2, 0).numpy(force=True), like=picture)


def _padded(frame_1CHW: Tensor, multiple_px: int) -> Tensor:
    height, width = frame_1CHW.shape[2:]
    sides = (0, -width % multiple_px, 0, -height % multiple_px)
    return F.pad(frame_1CHW, sides, mode="replicate") if any(sides) else frame_1CHW
