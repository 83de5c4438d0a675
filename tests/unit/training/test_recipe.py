"""Recipes: what is shipped reads, and what is wrong is said."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from concertdeblur.errors import SettingsError
from concertdeblur.training.recipe import RECIPES_FOLDER, read_recipe

COMPARISON = Path(__file__).parents[3] / "docs" / "comparison"


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES_FOLDER.glob("*.toml")))
def test_shipped_recipes_read(name: str) -> None:
    assert read_recipe(name).name == name


@pytest.mark.parametrize("name", sorted(path.stem for path in COMPARISON.glob("*.toml")))
def test_what_is_compared_learns_from_the_same_samples(name: str) -> None:
    samples, others = (read_recipe(str(COMPARISON / f"{one}.toml")).samples for one in (name, "concert"))
    assert replace(samples, pair_share=others.pair_share) == others  # there are no pairs


def test_what_is_compared_on_real_pairs_learns_from_the_same_samples() -> None:
    brmr, igan = (read_recipe(str(COMPARISON / f"real-{one}.toml")) for one in ("brmr", "igan"))
    for part in ("seed", "data", "samples", "clips", "motion", "analysis", "architecture"):
        assert getattr(brmr, part) == getattr(igan, part), part
    for part in ("crop_px", "crops_per_clip", "batch_size", "learning_rate"):
        assert getattr(brmr.video_igan, part) == getattr(igan.video_igan, part), part
    assert brmr.video_pgan.steps > igan.video_pgan.steps == 0
    assert brmr.start_from == igan.start_from == ""


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    text = (RECIPES_FOLDER / "tiny.toml").read_text().replace("batch_size = 2", "batchsize = 2")
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SettingsError, match="unknown key 'batchsize'; the nearest known key is 'batch_size'"):
        read_recipe(str(tmp_path / "mine.toml"))
    with pytest.raises(SettingsError, match="no recipe 'concrt'"):
        read_recipe("concrt")


class TestBase:
    def test_only_what_differs_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "short.toml").write_text('base = "tiny"\n[igan]\nsteps = 7\n')
        (tmp_path / "shorter.toml").write_text('base = "short.toml"\nname = "shorter"\n[pgan]\nsteps = 3\n')
        made, tiny = read_recipe(str(tmp_path / "shorter.toml")), read_recipe("tiny")
        assert (made.name, made.igan.steps, made.pgan.steps) == ("shorter", 7, 3)
        assert made.igan.batch_size == tiny.igan.batch_size
        assert made.samples == tiny.samples

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('base = "none"', "no recipe 'none'"),
            ('base = "none.toml"', "no recipe 'none.toml'"),
            ("base = 3", "base must be the name of a recipe, but it is 3"),
            ('base = "mine.toml"', "is its own base"),
            ('base = "tiny"\nigan = 3', "igan: expected IganSettings, found 3"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "mine.toml").write_text(text)
        with pytest.raises(SettingsError, match=message):
            read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *(
            (f"[{stage}]\n{name} = {value}", f"{stage}: {name} must be {least} at least, but it is {value}")
            for stage in ("analysis", "igan", "pgan", "video_igan", "smear", "video_pgan")
            for name, value, least in (
                ("warmup_steps", 0, 1), ("save_every", 0, 1), ("evaluate_every", -5, 1), ("batch_size", 0, 1),
                ("steps", -1, 0), ("cooldown_steps", -1, 0),
            )
        ),
        ("[pgan]\nnum_pictures = 0", "pgan: num_pictures must be 1 at least, but it is 0"),
        ("[pgan]\nwindows_per_picture = 0", "pgan: windows_per_picture must be 1 at least, but it is 0"),
        ("[analysis]\nreplayed = -5", "analysis: replayed must be 0 at least, but it is -5"),
        ("[samples]\nnonlinear_weight = -1.0", "nonlinear_weight must be a number of 0 at least, but it is -1.0"),
        ("[samples]\nnonlinear_weight = nan", "nonlinear_weight must be a number of 0 at least, but it is nan"),
        ("[samples]\nsharp_share = 1.5", "samples: sharp_share must lie in [0, 1], but it is 1.5"),
        *(
            (f"[architecture.{part}]\nwidth = {width}", f"{part[-5:]}: width must be 1 at least, but it is {width}")
            for part, width in (
                ("image_generator", 0), ("patch_generator", -8), ("discriminator", 0), ("video.smear_predictor", 0),
            )
        ),
        ("[architecture.image_generator]\nwidth = 8\nnum_blocks = -1", "num_blocks must be 0 at least, but it is -1"),
        ('[data]\nleft_out = "brick"', "data: left_out: expected a list, found 'brick'"),
        ("seed = -1", f"seed must lie between 0 and {2**63 - 1}, but it is -1"),
        (f"seed = {2**63}", f"seed must lie between 0 and {2**63 - 1}, but it is {2**63}"),
    ],
)  # fmt: skip
def test_numbers_that_no_run_can_have_are_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(f'base = "concert-video"\n{text}\n')
    with pytest.raises(SettingsError, match=re.escape(told)):
        read_recipe(str(tmp_path / "mine.toml"))
