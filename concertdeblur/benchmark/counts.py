"""Counts instead of times: multiply-adds of convolutions, and how often the host reads from the device."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from concertdeblur.benchmark.figures import PaperCost
from concertdeblur.deblurring.working_size import working_size
from concertdeblur.models import Networks
from concertdeblur.models.blur_cells import blur_grid
from concertdeblur.models.concert import NUM_GUESSES, ConcertGenerator
from concertdeblur.models.discriminator import PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.models.path_taps import PLANES
from concertdeblur.models.prepared import HINT_PX, SMEAR_PX
from concertdeblur.models.restoration import PathRestoration

PAPER_TILE_PX, PAPER_PATCH_PX = 256, 128  # sides of the paper's tiles and patches

_READS: frozenset[Any] = frozenset(
    (
        Tensor.item,
        Tensor.tolist,
        Tensor.cpu,
        Tensor.__bool__,
        Tensor.__float__,
        Tensor.__int__,
        torch.equal,
        Tensor.equal,
    )
)


def convolution_macs(run: Callable[[], object], *modules: nn.Module) -> int:
    """Multiply-adds of every convolution (direct form, padding counted) of the modules while `run` runs."""
    counted = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        nonlocal counted
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        taps = module.weight[0, 0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            counted += given[0].numel() * module.out_channels // module.groups * taps
        else:
            counted += made.numel() * module.in_channels // module.groups * taps

    layers = [
        layer for module in modules for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return counted


def generate_macs(networks: Networks, height: int, width: int) -> int:
    """Multiply-adds of G_i's convolutions on one frame of a video; only shapes are computed for this.

    A set with networks for videos restores the frame along its motion, at the working size.
    """
    generator = copy.deepcopy(networks.image_generator).to("meta")
    restoration: nn.Module = generator.restoration
    if networks.video is not None:
        restoration = copy.deepcopy(networks.video.restoration).to("meta")
    multiple = max(HINT_PX, generator.restoration.multiple_px)
    sizes = [(height, width)]
    if networks.video is not None and working_size(height, width) != (height, width):
        sizes.append(working_size(height, width))
    high, wide = (length + -length % multiple for length in sizes[-1])

    def made(*shape: int) -> Tensor:
        return torch.empty(1, *shape, device="meta")

    def run() -> None:
        num_guesses = 0
        if isinstance(generator, ConcertGenerator):
            num_guesses = NUM_GUESSES
            for size in sizes:  # the kind of blur is named at each of them
                rows, columns = blur_grid(*size)
                generator.analysis(torch.empty(rows * columns, 2, 64, 33, device="meta"))
        frames, guess = made(3, high, wide), made(num_guesses, high, wide)
        if isinstance(restoration, PathRestoration):
            taps = [made(num, high, wide) for num in PLANES]
            restoration(frames, guess, *taps, made(2, high // SMEAR_PX, wide // SMEAR_PX))
        else:
            width_of_hints = generator.restoration.hint.in_channels if isinstance(generator, ConcertGenerator) else 0
            restoration(frames, guess, made(width_of_hints, high // HINT_PX, wide // HINT_PX))

    return convolution_macs(run, *([generator] if networks.video is None else [generator, restoration]))


def paper_macs() -> PaperCost:
    """Multiply-adds of one call of each of the paper's networks."""
    generator, patch_generator = PaperGenerator().restoration.unet, PaperPatchGenerator().restoration.unet
    discriminator = PaperDiscriminator()
    tile, patch = (torch.zeros(1, 3, side, side) for side in (PAPER_TILE_PX, PAPER_PATCH_PX))
    return PaperCost(
        generator=convolution_macs(lambda: generator(tile), generator),
        discriminator=convolution_macs(lambda: discriminator(tile, tile), discriminator),
        patch_generator=convolution_macs(lambda: patch_generator(patch), patch_generator),
    )


def paper_tiles(height: int, width: int) -> int:
    """How many tiles of the paper's networks cover a frame."""
    return math.ceil(height / PAPER_TILE_PX) * math.ceil(width / PAPER_TILE_PX)


class HostReads(TorchFunctionMode):
    """Counts every read of a tensor's values, at which a host would wait for its device; it counts on a CPU, too."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count the call, and then make it."""
        self.count += func in _READS
        return func(*args, **(kwargs or {}))
