"""Small networks with random weights: they change pixels, so that plumbing can be seen to work."""

import torch
from torch import nn

from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.deblurring.deblurrer import Deblurrer
from concertdeblur.models import Architecture, Networks, build_networks
from concertdeblur.models.architecture import DiscriminatorSettings, GeneratorSettings, VideoArchitecture
from concertdeblur.models.path_taps import NUM_TAPS
from concertdeblur.runtime import choose_runtime

SMALL = Architecture(
    kind="concert",
    image_generator=GeneratorSettings(width=8, num_blocks=2, num_deep_blocks=1),
    patch_generator=GeneratorSettings(width=8, num_blocks=1),
    discriminator=DiscriminatorSettings(width=8),
)
SMALL_VIDEO = Architecture(
    kind="concert",
    image_generator=GeneratorSettings(width=8, num_blocks=2, num_deep_blocks=1),
    patch_generator=GeneratorSettings(width=8, num_blocks=1),
    discriminator=DiscriminatorSettings(width=8),
    video=VideoArchitecture(
        image_generator=GeneratorSettings(width=8, num_blocks=2, num_deep_blocks=1, num_taps=NUM_TAPS),
        patch_generator=GeneratorSettings(width=8, num_blocks=2, num_deep_blocks=1, num_taps=NUM_TAPS),
        discriminator=DiscriminatorSettings(width=8),
    ),
)
SMALL_PAPER = Architecture(
    kind="paper",
    image_generator=GeneratorSettings(width=4),
    patch_generator=GeneratorSettings(width=4),
    discriminator=DiscriminatorSettings(width=4),
)


def random_networks(architecture: Architecture = SMALL, *, seed: int = 0, scale: float = 0.05) -> Networks:
    """Networks whose last layers are not zero, so that they are not the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        networks = build_networks(architecture)
    draw = torch.Generator().manual_seed(seed)
    for module in networks.by_name().values():
        shaken(module, draw, scale).eval().requires_grad_(False)
    return networks


@torch.no_grad()
def shaken(module: nn.Module, draw: torch.Generator, scale: float = 0.05) -> nn.Module:
    """The module itself, with noise of that standard deviation on every parameter."""
    for parameter in module.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=draw) * scale)
    return module


def random_deblurrer(*, backend: str = "torch", brmr: BrmrSettings | None = None, seed: int = 0) -> Deblurrer:
    """A deblurrer with random weights on the CPU."""
    return Deblurrer(random_networks(seed=seed), brmr or BrmrSettings(), choose_runtime("cpu", backend), name="random")
