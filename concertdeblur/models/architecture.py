"""Which networks a recipe names, and how they are built."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import nn

from concertdeblur.models.concert import (
    NUM_GUESSES,
    ConcertGenerator,
    ConcertPatchGenerator,
    ConcertPathGenerator,
)
from concertdeblur.models.discriminator import CamDiscriminator, ConcertDiscriminator, PaperDiscriminator
from concertdeblur.models.paper import PaperGenerator, PaperPatchGenerator
from concertdeblur.models.path_taps import NUM_TAPS
from concertdeblur.models.restoration import PathRestoration
from concertdeblur.models.smear_predictor import SmearPredictor
from concertdeblur.settings import check_least

EMBEDDING_WIDTH = 128

ImageGeneratorNetwork: TypeAlias = ConcertGenerator | PaperGenerator


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorSettings:
    """Size of a generator: channels, and residual blocks (of `concert` only), deep ones at half the resolution."""

    width: int
    num_blocks: int = 8
    num_deep_blocks: int = 0
    num_taps: int = 0  # samples along the motion that it takes: path_taps.NUM_TAPS for a video's, else 0

    def __post_init__(self) -> None:
        check_least(self, width=1, num_blocks=0, num_deep_blocks=0)
        if self.num_taps not in (0, NUM_TAPS):
            raise ValueError(f"num_taps must be 0 or {NUM_TAPS}, but it is {self.num_taps}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscriminatorSettings:
    """Size of a discriminator: channels after its first convolution."""

    width: int

    def __post_init__(self) -> None:
        check_least(self, width=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmearPredictorSettings:
    """Size of a predictor of smears: channels of each direction, and blocks at a sixteenth of the resolution."""

    width: int = 32
    num_blocks: int = 3

    def __post_init__(self) -> None:
        check_least(self, width=1, num_blocks=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoArchitecture:
    """The networks that work along the motion: G_i's restoration, a G_p, the D_i trained with it.

    A predictor of smears lets single pictures be restored by the same G_i.
    """

    image_generator: GeneratorSettings
    patch_generator: GeneratorSettings | None = None  # None, and no discriminator: nothing is refined along the motion
    discriminator: DiscriminatorSettings | None = None
    smear_predictor: SmearPredictorSettings | None = None  # None: pictures are not restored along their smear

    def __post_init__(self) -> None:
        generators = [some for some in (self.image_generator, self.patch_generator) if some is not None]
        if not all(some.num_taps for some in generators):
            raise ValueError(f"a video's generators must take taps: num_taps = {NUM_TAPS}")
        if (self.patch_generator is None) != (self.discriminator is None):
            raise ValueError("a video's patch generator and discriminator go together: name both or neither")


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The networks of a weight set, and their sizes.

    Files written before version 0.2 call the kind `concert` by its former name, `fast`, which is still read.
    """

    kind: Literal["concert", "paper", "fast"]
    image_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=8))
    patch_generator: GeneratorSettings = field(default=GeneratorSettings(width=48, num_blocks=3))
    discriminator: DiscriminatorSettings = field(default=DiscriminatorSettings(width=32))
    video: VideoArchitecture | None = None  # None: a video is deblurred as pictures are

    def __post_init__(self) -> None:
        if self.kind == "fast":
            object.__setattr__(self, "kind", "concert")
        if self.image_generator.num_taps or self.patch_generator.num_taps:
            raise ValueError("only a video's generators take taps: num_taps belongs under [architecture.video]")


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoNetworks:
    """The networks that work along the motion."""

    restoration: PathRestoration  # of G_i, along the motion
    patch_generator: ConcertPathGenerator | None = None
    discriminator: CamDiscriminator | None = None
    smear_predictor: SmearPredictor | None = None  # of single pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks that are needed to deblur: G_i, D_i and G_p."""

    image_generator: ImageGeneratorNetwork
    discriminator: CamDiscriminator
    patch_generator: ConcertPatchGenerator | PaperPatchGenerator
    video: VideoNetworks | None = None

    def by_name(self) -> dict[str, nn.Module]:
        """Each network under the name of its weight file."""
        named: dict[str, nn.Module] = {
            "image_generator": self.image_generator,
            "discriminator": self.discriminator,
            "patch_generator": self.patch_generator,
        }
        if self.video is not None:
            named["video_image_generator"] = self.video.restoration
            if self.video.patch_generator is not None and self.video.discriminator is not None:
                named["video_patch_generator"] = self.video.patch_generator
                named["video_discriminator"] = self.video.discriminator
            if self.video.smear_predictor is not None:
                named["smear_predictor"] = self.video.smear_predictor
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
    return Networks(
        image_generator=ConcertGenerator(
            width=image.width,
            num_blocks=image.num_blocks,
            num_deep_blocks=image.num_deep_blocks,
            embedding_width=EMBEDDING_WIDTH,
        ),
        discriminator=ConcertDiscriminator(architecture.discriminator.width),
        patch_generator=ConcertPatchGenerator(
            width=patch.width,
            num_blocks=patch.num_blocks,
            num_deep_blocks=patch.num_deep_blocks,
            embedding_width=EMBEDDING_WIDTH,
        ),
        video=None if architecture.video is None else _video_networks(architecture.video),
    )


def _video_networks(settings: VideoArchitecture) -> VideoNetworks:
    image, patch, discriminator = settings.image_generator, settings.patch_generator, settings.discriminator
    smear = settings.smear_predictor
    return VideoNetworks(
        restoration=PathRestoration(
            width=image.width,
            num_blocks=image.num_blocks,
            num_guesses=NUM_GUESSES,
            num_deep_blocks=image.num_deep_blocks,
        ),
        patch_generator=None if patch is None else _path_generator(patch),
        discriminator=None if discriminator is None else ConcertDiscriminator(discriminator.width),
        smear_predictor=None if smear is None else SmearPredictor(width=smear.width, num_blocks=smear.num_blocks),
    )


def _path_generator(settings: GeneratorSettings) -> ConcertPathGenerator:
    return ConcertPathGenerator(
        width=settings.width, num_blocks=settings.num_blocks, num_deep_blocks=settings.num_deep_blocks
    )
