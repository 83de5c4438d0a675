"""The networks that a run begins with: fresh ones, or those of a weight set, grown where the recipe's are larger.

What the weight set lacks has fresh weights, such as the layers that take taps, and the networks for videos.
"""

from dataclasses import asdict

import torch
from torch import nn

from concertdeblur.errors import TrainingError
from concertdeblur.models import Architecture, Networks, build_networks
from concertdeblur.models.concert import ConcertGenerator, ConcertPatchGenerator, ConcertPathGenerator
from concertdeblur.models.growth import grow
from concertdeblur.models.restoration import Restoration
from concertdeblur.pretrained import find_weights, load_networks, read_manifest
from concertdeblur.training.recipe import Recipe

_PATCH_GENERATORS = (ConcertPatchGenerator, ConcertPathGenerator)
_GROWING = (ConcertGenerator, *_PATCH_GENERATORS, Restoration)


def first_networks(recipe: Recipe) -> Networks:
    """Networks of the recipe's architecture, with the weights that the run starts from.

    Raises:
        WeightsError: If the weight set to start from is missing or altered.
        TrainingError: If its networks do not fit, and cannot grow, into the recipe's.

    """
    networks = build_networks(recipe.architecture)
    if not recipe.start_from:
        return networks
    folder = find_weights(recipe.start_from)
    manifest = read_manifest(folder)
    if manifest.architecture.kind != recipe.architecture.kind:
        raise TrainingError(
            f"recipe {recipe.name} trains {recipe.architecture.kind} networks, but {recipe.start_from} holds"
            f" {manifest.architecture.kind} ones; start from another weight set"
        )
    trained = load_networks(folder, manifest)
    generator = torch.Generator().manual_seed(recipe.seed)
    before = trained.by_name()
    for name, now in networks.by_name().items():
        if name not in before:
            continue  # the set has no networks for videos: they stay fresh
        try:
            _take_over(before[name], now, generator)
        except (RuntimeError, ValueError) as error:
            has, wants = (_size_text(some.architecture, name) for some in (manifest, recipe))
            raise TrainingError(
                f"the {name} of {recipe.start_from} ({has}) does not fit into that of recipe {recipe.name} ({wants}):"
                f" {_wanted(now)}"
            ) from error
    return networks


def networks_of_start(recipe: Recipe) -> frozenset[str]:
    """Names of the networks that the weight set has which the run starts from; none if it starts afresh."""
    if not recipe.start_from:
        return frozenset()
    return frozenset(row.network for row in read_manifest(find_weights(recipe.start_from)).files)


def _size_text(architecture: Architecture, name: str) -> str:
    """The size of a network in words, as recipes name it."""
    is_of_video = name.startswith("video_") or name == "smear_predictor"
    settings = getattr(architecture.video if is_of_video else architecture, name.removeprefix("video_"))
    return ", ".join(f"{key} {value}" for key, value in asdict(settings).items())


def _wanted(network: nn.Module) -> str:
    """What a network must be like to begin with another one's weights."""
    if isinstance(network, _GROWING):
        return "it grows, so its width must be a multiple, and each number of blocks as large or larger"
    return "it does not grow, so both must be of one size"


def begin_with_weights_of(small: Restoration, large: Restoration, seed: int) -> None:
    """Give a restoration along the motion the weights of that of pictures; if they do not fit, do nothing."""
    before = {name: value.clone() for name, value in large.state_dict().items()}
    try:
        grow(small, large, generator=torch.Generator().manual_seed(seed))
    except (RuntimeError, ValueError):
        large.load_state_dict(before)


def _take_over(before: nn.Module, now: nn.Module, generator: torch.Generator) -> None:
    if _shapes(before) == _shapes(now):
        now.load_state_dict(before.state_dict())
        return
    if isinstance(before, ConcertGenerator) and isinstance(now, ConcertGenerator):
        now.analysis.load_state_dict(before.analysis.state_dict())
        grow(before.restoration, now.restoration, generator=generator)
    elif isinstance(before, _PATCH_GENERATORS) and isinstance(now, type(before)):
        grow(before.restoration, now.restoration, generator=generator)
    elif isinstance(before, Restoration) and isinstance(now, Restoration):
        grow(before, now, generator=generator)
    else:
        raise ValueError("other shapes, and not of a kind that grows")


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
