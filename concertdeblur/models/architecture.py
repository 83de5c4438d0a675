"""Which networks a recipe names, and how they are built."""

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from concertdeblur.models.discriminator import CamDiscriminator, FastDiscriminator, PaperDiscriminator
from concertdeblur.models.fast import FastGenerator, FastPatchGenerator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator

EMBEDDING_WIDTH = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSettings:
    """Size of a generator: channels, and residual blocks (fast ones only), the deep ones at half the resolution."""

    width: int
    num_blocks: int = 8
    num_deep_blocks: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscriminatorSettings:
    """Size of a discriminator: channels after its first convolution."""

    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The networks of a weight set: `paper` or `fast`, and their sizes."""

    kind: Literal["fast", "paper"]
    image_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=8))
    patch_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=3))
    discriminator: DiscriminatorSettings = field(default=DiscriminatorSettings(width=32))


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks that are needed to deblur: G_i, D_i and G_p."""

    image_generator: FastGenerator | PaperGenerator
    discriminator: CamDiscriminator
    patch_generator: FastPatchGenerator | PaperPatchGenerator

    def by_name(self) -> dict[str, nn.Module]:
        """Each network under the name of its weight file."""
        return {
            "image_generator": self.image_generator,
            "discriminator": self.discriminator,
            "patch_generator": self.patch_generator,
        }


def build_networks(architecture: Architecture) -> Networks:
    """Networks with fresh weights."""
    image, patch = architecture.image_generator, architecture.patch_generator
    if architecture.kind == "paper":
        return Networks(
            image_generator=PaperGenerator(width=image.width),
            discriminator=PaperDiscriminator(architecture.discriminator.width),
            patch_generator=PaperPatchGenerator(width=patch.width),
        )
    return Networks(
        image_generator=FastGenerator(
            width=image.width,
            num_blocks=image.num_blocks,
            num_deep_blocks=image.num_deep_blocks,
            embedding_width=EMBEDDING_WIDTH,
        ),
        discriminator=FastDiscriminator(architecture.discriminator.width),
        patch_generator=FastPatchGenerator(
            width=patch.width,
            num_blocks=patch.num_blocks,
            num_deep_blocks=patch.num_deep_blocks,
            embedding_width=EMBEDDING_WIDTH,
        ),
    )
