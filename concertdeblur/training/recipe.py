"""A recipe: everything that decides what a training run makes, read from one TOML file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concertdeblur.deblurring.brmr import BrmrSettings, with_present_names
from concertdeblur.errors import SettingsError
from concertdeblur.models import Architecture
from concertdeblur.settings import read_table, settings_from_table
from concertdeblur.training.analysis import AnalysisSchedule
from concertdeblur.training.data.clip_pairs import ClipSettings
from concertdeblur.training.data.motion import MotionSettings
from concertdeblur.training.data.samples import SampleSettings
from concertdeblur.training.data.sources import DataSettings
from concertdeblur.training.igan import IganSettings
from concertdeblur.training.pgan import PganSettings
from concertdeblur.training.smear import SmearSettings
from concertdeblur.training.video import VideoIganSettings
from concertdeblur.training.video_windows import VideoPganSettings

RECIPES_FOLDER = Path(__file__).parent.parent / "pipelines" / "recipes"
_SEEDS = 2**63  # as many seeds both NumPy and torch take


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The parameter set of a training run; every default stands in the dataclass of a part."""

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
    # of networks for videos, where the architecture has them
    motion: MotionSettings = field(default=MotionSettings())
    video_igan: VideoIganSettings = field(default=VideoIganSettings(steps=0, cooldown_steps=0, batch_size=1))
    smear: SmearSettings = field(default=SmearSettings(steps=0, cooldown_steps=0, batch_size=1))
    video_pgan: VideoPganSettings = field(default=VideoPganSettings(steps=0, cooldown_steps=0, batch_size=1))
    # the paper's generator has no analysis to train
    analysis: AnalysisSchedule = field(default=AnalysisSchedule(steps=0, cooldown_steps=0, batch_size=1))

    def __post_init__(self) -> None:
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"seed must lie between 0 and {_SEEDS - 1}, but it is {self.seed}")


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or the one in a .toml file.

    A file may say `base = "concert"` (or another file beside it): it then holds only what differs from that.

    Raises:
        SettingsError: If there is no such recipe, or it holds an unknown key or a bad value.
    """
    path = _path_of(name, Path())
    return settings_from_table(_table(path, (path.resolve(),)), Recipe, where=str(path))


def _path_of(name: str, folder: Path) -> Path:
    path = folder / name if name.endswith(".toml") else RECIPES_FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPES_FOLDER.glob("*.toml")))
        raise SettingsError(f"no recipe '{name}'; choose one of {known}, or name a .toml file")
    return path


def _table(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a recipe, laid over that of its base."""
    table = with_present_names(read_table(path))
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise SettingsError(f"{path}: base must be the name of a recipe, but it is {base!r}")
    base_path = _path_of(base, path.parent).resolve()
    if base_path in above:
        raise SettingsError(f"{path}: is its own base")
    return _laid_over(_table(base_path, (*above, base_path)), table)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """One table with the values of another put in their places, also in nested tables."""
    made = dict(below)
    for key, value in above.items():
        both_are_tables = isinstance(value, dict) and isinstance(below.get(key), dict)
        made[key] = _laid_over(below[key], value) if both_are_tables else value
    return made
