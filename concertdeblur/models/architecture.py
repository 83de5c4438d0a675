"""Which networks a recipe names, and how they are built."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import nn

from concertdeblur.models.concert import ConcertGenerator, ConcertPatchGenerator, ConcertPathGenerator
from concertdeblur.models.discriminator import CamDiscriminator, ConcertDiscriminator, PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.models.path_taps import NUM_TAPS

EMBEDDING_WIDTH = 128

ImageGeneratorNetwork: TypeAlias = ConcertGenerator | PaperGenerator


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSettings:
    """Size of a generator: channels, and residual blocks (of `concert` only), the deep ones at half the resolution."""

    width: int
    num_blocks: int = 8
    num_deep_blocks: int = 0
    num_taps: int = 0  # samples along the motion that G_i takes in a video: 0, or path_taps.NUM_TAPS

    def __post_init__(self) -> None:
        if self.num_taps not in (0, NUM_TAPS):
            raise ValueError(f"num_taps must be 0 or {NUM_TAPS}, but it is {self.num_taps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscriminatorSettings:
    """Size of a discriminator: channels after its first convolution."""

    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoArchitecture:
    """The networks that refine a video: G_p, which takes taps, and D_i as it was trained with it."""

    patch_generator: GeneratorSettings
    discriminator: DiscriminatorSettings

    def __post_init__(self) -> None:
        if not self.patch_generator.num_taps:
            raise ValueError(f"a video's patch generator must take taps: num_taps = {NUM_TAPS}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The networks of a weight set, and their sizes.

    Files written before version 0.2 call the kind `concert` by its former name, `fast`, which is still read.
    """

    kind: Literal["concert", "paper", "fast"]
    image_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=8))
    patch_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=3))
    discriminator: DiscriminatorSettings = field(default=DiscriminatorSettings(width=32))
    video: VideoArchitecture | None = None  # None: in a video nothing is refined along the motion

    def __post_init__(self) -> None:
        if self.kind == "fast":
            object.__setattr__(self, "kind", "concert")


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks that are needed to deblur: G_i, D_i and G_p."""

    image_generator: ImageGeneratorNetwork
    discriminator: CamDiscriminator
    patch_generator: ConcertPatchGenerator | PaperPatchGenerator
    video_patch_generator: ConcertPathGenerator | None = None
    video_discriminator: CamDiscriminator | None = None

    def by_name(self) -> dict[str, nn.Module]:
        """Each network under the name of its weight file."""
        named: dict[str, nn.Module] = {
            "image_generator": self.image_generator,
            "discriminator": self.discriminator,
            "patch_generator": self.patch_generator,
        }
        if self.video_patch_generator is not None and self.video_discriminator is not None:
            named["video_patch_generator"] = self.video_patch_generator
            named["video_discriminator"] = self.video_discriminator
        return named


def build_networks(architecture: Architecture) -> Networks:
    """Networks with fresh weights."""
    image, patch = architecture.image_generator, architecture.patch_generator
    if architecture.kind == "paper":
        return Networks(
            image_generator=PaperGenerator(width=image.width),
            discriminator=PaperDiscriminator(architecture.discriminator.width),
            patch_generator=PaperPatchGenerator(width=patch.width),
        )
    video = architecture.video
    return Networks(
        image_generator=ConcertGenerator(
            width=image.width,
            num_blocks=image.num_blocks,
            num_deep_blocks=image.num_deep_blocks,
            num_taps=image.num_taps,
            embedding_width=EMBEDDING_WIDTH,
        ),
        discriminator=ConcertDiscriminator(architecture.discriminator.width),
        patch_generator=ConcertPatchGenerator(
            width=patch.width,
            num_blocks=patch.num_blocks,
            num_deep_blocks=patch.num_deep_blocks,
            embedding_width=EMBEDDING_WIDTH,
        ),
        video_patch_generator=None if video is None else _path_generator(video.patch_generator),
        video_discriminator=None if video is None else ConcertDiscriminator(video.discriminator.width),
    )


def _path_generator(settings: GeneratorSettings) -> ConcertPathGenerator:
    return ConcertPathGenerator(
        width=settings.width,
        num_blocks=settings.num_blocks,
        num_deep_blocks=settings.num_deep_blocks,
        num_taps=settings.num_taps,
        embedding_width=EMBEDDING_WIDTH,
    )
