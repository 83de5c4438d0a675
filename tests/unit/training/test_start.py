"""What a run begins with: fresh networks, a weight set's, or grown ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.errors import TrainingError, WeightsError
from concertdeblur.models import Networks
from concertdeblur.models.concert import ConcertGenerator
from concertdeblur.pretrained import save_weight_set
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.start import first_networks
from tests.networks import SMALL, SMALL_PAPER, random_networks


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Networks]:
    networks = random_networks()
    folder = tmp_path / "small"
    save_weight_set(folder, networks, recipe="small", architecture=SMALL, brmr=BrmrSettings(), provenance={})
    return folder, networks


def recipe_of(folder: Path, *, width: int = 8, deep: int = 1, kind: str = "concert") -> Recipe:
    generator = replace(SMALL.image_generator, width=width, num_deep_blocks=deep)
    architecture = replace(SMALL, image_generator=generator) if kind == "concert" else SMALL_PAPER
    return replace(read_recipe("tiny"), architecture=architecture, start_from=str(folder))


def test_the_same_networks_are_taken_over(trained: tuple[Path, Networks]) -> None:
    folder, networks = trained
    begun = first_networks(recipe_of(folder))
    for before, now in zip(networks.by_name().values(), begun.by_name().values(), strict=True):
        for one, other in zip(before.state_dict().values(), now.state_dict().values(), strict=True):
            assert torch.equal(one, other)


def test_a_set_that_calls_its_architecture_by_its_former_name_is_read(trained: tuple[Path, Networks]) -> None:
    folder, networks = trained
    manifest = folder / "manifest.toml"
    text = manifest.read_text()
    assert 'kind = "concert"' in text
    manifest.write_text(text.replace('kind = "concert"', 'kind = "fast"'))
    begun = first_networks(recipe_of(folder))
    first, second = (next(iter(some.by_name().values())).state_dict() for some in (networks, begun))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_larger_ones_compute_the_same_at_first(trained: tuple[Path, Networks]) -> None:
    folder, networks = trained
    begun = first_networks(recipe_of(folder, width=16, deep=2)).image_generator
    frames = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    given = frames, torch.rand(1, 4, 64, 64), torch.rand(1, 128, 4, 4)
    assert isinstance(begun, ConcertGenerator)
    assert begun.restoration.head.out_channels == 16
    assert torch.allclose(networks.image_generator.restoration(*given), begun.restoration(*given), atol=1e-5)


@pytest.mark.parametrize("changes", [{"width": 12}, {"width": 4}, {"kind": "paper"}])
def test_what_does_not_fit_is_refused_in_a_sentence(trained: tuple[Path, Networks], changes: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match=r"multiples|start from another weight set"):
        first_networks(recipe_of(trained[0], **changes))  # type: ignore[arg-type]


def test_a_weight_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weight set"):
        first_networks(recipe_of(tmp_path / "none"))
