"""What a run begins with: fresh networks, a weight set's, or grown ones."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from concertdeblur.deblurring.brmr import BrmrSettings
from concertdeblur.errors import TrainingError, WeightsError
from concertdeblur.models import Networks, build_networks
from concertdeblur.models.architecture import (
    Architecture,
    DiscriminatorSettings,
    GeneratorSettings,
    SmearPredictorSettings,
    VideoArchitecture,
)
from concertdeblur.models.concert import ConcertGenerator
from concertdeblur.models.path_taps import NUM_TAPS, PLANES
from concertdeblur.models.restoration import PictureRestoration
from concertdeblur.pretrained import save_weight_set
from concertdeblur.training.recipe import Recipe, read_recipe
from concertdeblur.training.start import begin_with_weights_of, first_networks, networks_of_start
from tests.networks import SMALL, SMALL_PAPER, SMALL_VIDEO, random_networks


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
    with pytest.raises(TrainingError, match=r"the image_generator .*multiple|start from another weight set"):
        first_networks(recipe_of(trained[0], **changes))  # type: ignore[arg-type]


def test_a_network_that_does_not_grow_is_named_with_both_sizes(trained: tuple[Path, Networks]) -> None:
    recipe = recipe_of(trained[0])
    wider = replace(recipe.architecture, discriminator=DiscriminatorSettings(width=16))
    told = re.escape(
        f"the discriminator of {trained[0]} (width 8) does not fit into that of recipe tiny (width 16): it does not"
        " grow, so both must be of one size"
    )
    with pytest.raises(TrainingError, match=told):
        first_networks(replace(recipe, architecture=wider))


def test_a_weight_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weight set"):
        first_networks(recipe_of(tmp_path / "none"))


class TestVideos:
    """Weight sets with and without networks for videos, and recipes with and without them."""

    def test_networks_for_videos_are_taken_over(self, tmp_path: Path) -> None:
        networks = random_networks(SMALL_VIDEO)
        save_weight_set(
            tmp_path, networks, recipe="video", architecture=SMALL_VIDEO, brmr=BrmrSettings(), provenance={}
        )
        recipe = replace(read_recipe("tiny"), architecture=SMALL_VIDEO, start_from=str(tmp_path))
        assert networks_of_start(recipe) == networks.by_name().keys()
        begun = first_networks(recipe).by_name()
        assert {"video_image_generator", "video_patch_generator", "video_discriminator"} <= begun.keys()
        for name, network in networks.by_name().items():
            for key, value in network.state_dict().items():
                assert torch.equal(value, begun[name].state_dict()[key]), (name, key)
        for_pictures = first_networks(replace(recipe, architecture=SMALL)).by_name()
        assert for_pictures.keys() == {"image_generator", "discriminator", "patch_generator"}

    def test_a_predictor_of_smears_of_another_size_is_named(self, tmp_path: Path) -> None:
        video = SMALL_VIDEO.video
        assert video is not None

        def architecture(width: int) -> Architecture:
            predictor = SmearPredictorSettings(width=width, num_blocks=1)
            return replace(SMALL_VIDEO, video=replace(video, smear_predictor=predictor))

        save_weight_set(
            tmp_path, random_networks(architecture(8)), recipe="video", architecture=architecture(8),
            brmr=BrmrSettings(), provenance={},
        )  # fmt: skip
        recipe = replace(read_recipe("tiny"), architecture=architecture(16), start_from=str(tmp_path))
        told = r"the smear_predictor .* \(width 8, num_blocks 1\) .* \(width 16, num_blocks 1\): it does not grow"
        with pytest.raises(TrainingError, match=told):
            first_networks(recipe)

    def test_what_a_set_lacks_begins_fresh(self, trained: tuple[Path, Networks]) -> None:
        folder, networks = trained
        recipe = replace(read_recipe("tiny"), architecture=SMALL_VIDEO, start_from=str(folder))
        assert networks_of_start(recipe) == {"image_generator", "discriminator", "patch_generator"}
        begun = first_networks(recipe)
        for key, value in networks.image_generator.state_dict().items():
            assert torch.equal(value, begun.image_generator.state_dict()[key]), key
        assert begun.video is not None
        assert not begun.video.restoration.path_tail.weight.any()
        assert networks_of_start(replace(recipe, start_from="")) == frozenset()

    @pytest.mark.parametrize(("width", "deep"), [(8, 1), (16, 2)])
    def test_a_fresh_restoration_begins_as_that_of_pictures(self, width: int, deep: int) -> None:
        """But for what taps and hints say, which differs."""
        pictures = random_networks().image_generator.restoration
        assert isinstance(pictures, PictureRestoration)
        settings = GeneratorSettings(width=width, num_blocks=2, num_deep_blocks=deep, num_taps=NUM_TAPS)
        video = build_networks(replace(SMALL_VIDEO, video=VideoArchitecture(image_generator=settings))).video
        assert video is not None
        begin_with_weights_of(pictures, video.restoration, 1)
        draw = torch.Generator().manual_seed(5)
        frames, guess = torch.rand(1, 3, 64, 64, generator=draw), torch.rand(1, 4, 64, 64, generator=draw)
        with torch.no_grad():
            for parameter in (*pictures.hint.parameters(), *video.restoration.path_head.parameters()):
                parameter.zero_()
            expected = pictures(frames, guess, torch.rand(1, 128, 4, 4, generator=draw))
            # samples that differ much, and a fast path, leave the result all the room that it wants
            taps = [torch.rand(1, num, 64, 64, generator=draw) for num in PLANES[:-1]]
            limits = torch.cat([torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)], 1)
            made = video.restoration(frames, guess, *taps, limits, torch.full((1, 2, 16, 16), 100.0))
        assert (expected - frames).abs().max() > 0.01
        assert torch.allclose(made, expected, atol=1e-4)

    def test_one_without_room_begins_as_it_is(self) -> None:
        pictures = random_networks().image_generator.restoration
        assert isinstance(pictures, PictureRestoration)
        settings = GeneratorSettings(width=12, num_blocks=2, num_deep_blocks=1, num_taps=NUM_TAPS)
        video = build_networks(replace(SMALL_VIDEO, video=VideoArchitecture(image_generator=settings))).video
        assert video is not None
        before = {name: value.clone() for name, value in video.restoration.state_dict().items()}
        begin_with_weights_of(pictures, video.restoration, 1)
        assert all(torch.equal(value, before[name]) for name, value in video.restoration.state_dict().items())
