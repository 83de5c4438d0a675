"""Which stages a recipe has, and what is refused before any of them begins."""

from dataclasses import replace

import pytest

from concertdeblur.errors import UsageError
from concertdeblur.pipelines.train_stages import check_stages, stages_of
from concertdeblur.training.distributed import World
from concertdeblur.training.recipe import read_recipe


def test_every_recipe_has_the_stages_of_its_networks() -> None:
    of_pictures = ("igan", "mining", "pgan")
    assert stages_of(read_recipe("paper")) == of_pictures
    assert stages_of(read_recipe("tiny")) == ("analysis", *of_pictures, "video-igan", "smear")
    concert = read_recipe("concert")
    assert stages_of(concert) == ("analysis", *of_pictures, "video-igan", "smear", "video-pgan")
    assert stages_of(replace(concert, architecture=replace(concert.architecture, video=None))) == (
        "analysis", *of_pictures
    )  # fmt: skip


@pytest.mark.parametrize(("recipe", "stage"), [("paper", "analysis"), ("paper", "smear"), ("tiny", "video-pgan")])
def test_a_stage_that_the_recipe_lacks_is_refused_with_those_that_it_has(recipe: str, stage: str) -> None:
    chosen = read_recipe(recipe)
    with pytest.raises(UsageError, match=f"recipe {recipe} has no stage {stage}, .* {', '.join(stages_of(chosen))}$"):
        check_stages(chosen, last=stage, world=World())
    for name in (*stages_of(chosen), None):
        check_stages(chosen, last=name, world=World())


def test_batches_that_the_processes_cannot_share_are_refused_at_the_start() -> None:
    """Those of a late stage, too; a stage that is not reached, or has no steps, is no matter."""
    tiny = read_recipe("tiny")
    odd = replace(tiny, smear=replace(tiny.smear, batch_size=3))
    check_stages(tiny, last=None, world=World(size=2))
    check_stages(odd, last="video-igan", world=World(size=2))
    check_stages(replace(odd, smear=replace(odd.smear, steps=0)), last=None, world=World(size=2))
    with pytest.raises(UsageError, match="a batch of 3 cannot be shared by 2 processes"):
        check_stages(odd, last=None, world=World(size=2))
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 3 processes"):
        check_stages(tiny, last="analysis", world=World(size=3))
