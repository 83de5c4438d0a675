"""A recipe: everything that decides what a training run makes, read from one TOML file."""

from dataclasses import dataclass, field
from pathlib import Path

from concertdeblur.brmr import BrmrSettings
from concertdeblur.errors import SettingsError
from concertdeblur.models import Architecture
from concertdeblur.settings import read_settings
from concertdeblur.training.clip_pairs import ClipSettings
from concertdeblur.training.igan import IganSettings
from concertdeblur.training.pgan import PganSettings
from concertdeblur.training.samples import SampleSettings
from concertdeblur.training.sources import DataSettings
from concertdeblur.training.stage import Schedule

RECIPES_FOLDER = Path(__file__).parent.parent / "pipelines" / "recipes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The parameter set of a training run; no default stands outside the dataclasses of its parts."""

    name: str
    seed: int
    architecture: Architecture
    brmr: BrmrSettings
    samples: SampleSettings
    igan: IganSettings
    pgan: PganSettings
    start_from: str = ""  # a weight set's name or folder; empty: fresh weights
    data: DataSettings = field(default=DataSettings())
    clips: ClipSettings = field(default=ClipSettings())
    # the paper's generator has no analysis to train
    analysis: Schedule = field(default=Schedule(steps=0, cooldown_steps=0, batch_size=1))


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or the one in a .toml file.

    Raises:
        SettingsError: If there is no such recipe, or it holds an unknown key or a bad value.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES_FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES_FOLDER.glob("*.toml")))
        raise SettingsError(f"no recipe '{name}'; choose one of {known}, or name a .toml file")
    return read_settings(path, Recipe)
