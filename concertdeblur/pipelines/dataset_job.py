"""The choices for `build-dataset`, and its summary."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from concertdeblur.dataset.downloads import DownloadOptions
from concertdeblur.dataset.pairs import MID_LEVEL, PairOptions
from concertdeblur.dataset.picks import PickOptions
from concertdeblur.dataset.scan import LEAST_SHARPNESS
from concertdeblur.errors import UsageError

ShotFinder = Literal["auto", "scenedetect", "transnetv2"]
_SMALLEST_CROP_PX = 64
_LARGEST_CROP_PX = 1080
LEAST_TRAINED_PX = 256  # `train` skips smaller pictures; its own figure is not imported, since that would load torch


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetJob:
    """The user's choices."""

    size: int = 256  # px, side of a crop
    full: bool = False  # whole frames instead of crops
    crops: int = 1  # most crops of a frame
    max_frames: int = 40  # most frames of a source
    min_sharpness: float = LEAST_SHARPNESS
    levels: tuple[float, ...] | Literal["random"] = (MID_LEVEL,)
    capture: int = 0  # pairs by the capture chain for each crop
    seed: int = 0
    shots: ShotFinder = "auto"
    limit: int = 50  # most clips of a playlist
    list_again: bool = False  # whether playlists are listed again, for clips that were added since
    cookies: Path | None = None
    rate_limit_mb_s: float | None = None
    cluster: str | None = None  # address of the one that looks through the sources

    def __post_init__(self) -> None:
        counts = (("crops", self.crops, 1), ("max-frames", self.max_frames, 1), ("limit", self.limit, 1))
        for name, value, least in (*counts, ("capture", self.capture, 0), ("seed", self.seed, 0)):
            if value < least:
                raise UsageError(f"--{name} must be at least {least}, but it is {value}")
        if not _SMALLEST_CROP_PX <= self.size <= _LARGEST_CROP_PX:
            raise UsageError(f"--size must lie in {_SMALLEST_CROP_PX}..{_LARGEST_CROP_PX} px, but it is {self.size}")
        if not 0 <= self.min_sharpness <= 2:
            raise UsageError(f"--min-sharpness must lie in 0..2, but it is {self.min_sharpness:g}")
        if self.rate_limit_mb_s is not None and not self.rate_limit_mb_s > 0:
            raise UsageError(f"--rate-limit must be above 0 MB/s, but it is {self.rate_limit_mb_s:g}")

    @property
    def is_too_small_to_train(self) -> bool:
        """Whether `train` would take none of its pictures."""
        return not self.full and self.size < LEAST_TRAINED_PX

    @property
    def pick_options(self) -> PickOptions:
        """Which frames of a clip are kept."""
        return PickOptions(least_side_px=self.size, most_frames=self.max_frames, least_sharpness=self.min_sharpness)

    @property
    def download_options(self) -> DownloadOptions:
        """How clips are fetched."""
        return DownloadOptions(
            limit=self.limit, lists_again=self.list_again, cookies=self.cookies, rate_limit_mb_s=self.rate_limit_mb_s
        )

    @property
    def pair_options(self) -> PairOptions:
        """Which pairs are made of a frame."""
        return PairOptions(
            size_px=None if self.full else self.size, num_crops=self.crops, levels=self.levels,
            num_captures=self.capture, seed=self.seed,
        )  # fmt: skip

    def lasting(self) -> dict[str, Any]:
        """The choices that decide what is in the data set; the others only say how sources are fetched."""
        kept = ("size", "full", "crops", "max_frames", "min_sharpness", "levels", "capture", "seed", "shots")
        return {name: value for name, value in asdict(self).items() if name in kept}


def parse_levels(text: str) -> tuple[float, ...] | Literal["random"]:
    """Levels as the command line takes them: `0.5`, `0.2,0.5,0.8` or `random`.

    Raises:
        UsageError: If it is something else, or a level lies outside [0, 1].

    """
    if text.strip().lower() == "random":
        return "random"
    try:
        levels = tuple(sorted({round(float(part), 3) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"--levels takes numbers from 0 to 1, as 0.2,0.5, or 'random', but it is {text!r}") from None
    if not all(0 <= level <= 1 for level in levels):
        raise UsageError(f"--levels must lie in 0..1, but it is {text!r}")
    return levels


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSummary:
    """The numbers of what a run built."""

    target: Path
    num_sources: int  # sources that gave frames
    num_failed: int
    num_frames: int
    num_pairs: int
    num_test_pairs: int
    dropped: Mapping[str, int]
    elapsed_s: float
    summary_page: Path

    def text(self) -> str:
        """In words."""
        rows = [
            ("frames", f"{self.num_frames} of {_counted(self.num_sources, 'source')}"),
            ("pairs", f"{self.num_pairs - self.num_test_pairs} to train with, {self.num_test_pairs} to test with"),
        ]
        if self.num_failed:
            rows.append(("failed", f"{_counted(self.num_failed, 'source')}, named above; run it again to try again"))
        if self.dropped:
            rows.append(("left out", ", ".join(f"{num} {reason}" for reason, num in self.dropped.items())))
        rows.append(("look at", str(self.summary_page)))
        return "\n".join([f"{self.target} is built.", *(f"  {name:<9} {text}" for name, text in rows)])


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
