"""A weight set that loads at once: small networks with random weights, worth nothing but running."""

from pathlib import Path

from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.pretrained import save_weight_set
from tests.networks import SMALL, random_networks


def random_weight_set(folder: Path, *, recipe: str = "random") -> Path:
    """Write the set; gives its folder, as `--weights` takes it."""
    networks = random_networks(scale=0.02)
    save_weight_set(folder, networks, recipe=recipe, architecture=SMALL, brmr=BrmrSettings(), provenance={})
    return folder
