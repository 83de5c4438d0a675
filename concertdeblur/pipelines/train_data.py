"""The data of a training run: its sources become stores in the run's folder, of which all samples are made."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from concertdeblur.errors import UsageError
from concertdeblur.media.sequences import ClipSequence, FolderSequence, find_sequences
from concertdeblur.training.data.clip_pairs import CLIP_PARTS, MixedPairs, both, build_clip_store, find_clips
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.data.pictures import PictureStore, StoreContents, build_store, read_contents
from concertdeblur.training.data.sequence_sources import SEQUENCE_PARTS, SequenceSettings, build_sequence_store
from concertdeblur.training.data.sequences import SequenceStore, read_sequence_contents
from concertdeblur.training.data.sources import find_sources
from concertdeblur.training.narration import Narrator
from concertdeblur.training.recipe import Recipe
from concertdeblur.training.run_folder import CLIP_PAIRS, PICTURES, SEQUENCES, check_stores

MIN_SIDE_PX = 256  # least side of a training picture, as in the paper


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The pictures that samples are made of, and those that the networks are judged by."""

    pictures: PictureStore
    pairs: PairStore  # pairs of the data and of clips; it may be empty
    held_out: PictureStore
    sequences: Path | None = None  # store of real sequences and of averages of clips; None: there are none


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSources:
    """What a run learns from."""

    recipe: Recipe
    out: Path  # the run's folder
    data: Path  # sharp pictures, or pairs
    real: Path | None = None  # real pairs, as sequences
    clips: Path | None = None

    def __post_init__(self) -> None:
        if self.real is not None and not self.takes_taps:
            raise UsageError(
                f"--real takes a recipe whose networks look along the motion, but those of recipe {self.recipe.name} do"
                " not; take recipe concert-video, or give it an [architecture.video]"
            )

    @property
    def takes_taps(self) -> bool:
        """Whether the recipe has networks that work along the motion."""
        return self.recipe.architecture.video is not None

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of the data by their options."""
        named = {"--data": self.data, "--real": self.real, "--clips": self.clips}
        return {option: folder for option, folder in named.items() if folder is not None}

    @property
    def has_sequences(self) -> bool:
        """Whether there are sources of sequences, which are then stored."""
        return self.takes_taps and (self.real is not None or self.clips is not None)

    def check(self) -> None:
        """Look for pictures, clips and real pairs, so that a wrong name fails before anything is read or written.

        Raises:
            TrainingError: If there are no pictures or clips, or a store would take the place of a folder of the user's.
            SourceError: If there are no real pairs.
        """
        check_stores(self.out, self.folders)
        find_sources(self.data, self.recipe.data)
        if self.clips is not None:
            find_clips(self.clips)
        if self.real is not None:
            find_sequences(self.real)

    def store(self, narrator: Narrator) -> None:
        """Make the stores, unless those of the same files and settings are there.

        Raises:
            TrainingError: If the data cannot be used.
            SourceError: If a file cannot be read.
        """
        recipe, pictures = self.recipe, self.out / PICTURES
        build_store(
            self.data, pictures, recipe.data, min_side_px=MIN_SIDE_PX,
            on_progress=narrator.counted("read pictures", "pictures"), on_warning=narrator.on_warning,
        )  # fmt: skip
        if self.clips is not None:
            build_clip_store(
                self.clips, self.out / CLIP_PAIRS, PictureStore(pictures, "train"), recipe.clips, seed=recipe.seed,
                pictures_sha256=read_contents(pictures).sha256, tell=narrator.telling(CLIP_PARTS),
                on_warning=narrator.on_warning,
            )  # fmt: skip
        if self.has_sequences:
            settings = SequenceSettings(
                least_side_px=recipe.video_igan.crop_px,
                held_out_share=recipe.motion.held_out,
                most_frames=recipe.motion.most_real_frames,
                num_copies=recipe.motion.copies,
            )
            build_sequence_store(
                self.out / SEQUENCES, settings, real=self.real,
                clips=[] if self.clips is None else find_clips(self.clips), seed=recipe.seed,
                tell=narrator.telling(SEQUENCE_PARTS), on_warning=narrator.on_warning,
            )  # fmt: skip
        for option, folder in self._shared_with_held_out().items():
            narrator.on_warning(
                f"{option} {folder} holds frames of sequences of --real by which the networks are judged, so the gain"
                f" on real frames will look too high; give {option} another folder"
            )

    def _shared_with_held_out(self) -> dict[str, Path]:
        """Folders to train on that share files with real sequences of which frames are held out, by their options."""
        if self.real is None:
            return {}
        names = {row.name for row in SequenceStore(self.out / SEQUENCES, "held_out").of_kind("real")}
        judged = [sequence for sequence in find_sequences(self.real) if sequence.name in names]
        frames = [path for one in judged if isinstance(one, FolderSequence) for both in one.paths for path in both]
        clips = [path for one in judged if isinstance(one, ClipSequence) for path in (one.blurred, one.sharp)]
        pictures = find_sources(self.data, self.recipe.data).pictures if frames else ()
        shared: dict[str, Path] = {}
        if _share((picture.path for picture in pictures if picture.split == "train"), frames):
            shared["--data"] = self.data
        if self.clips is not None and _share(find_clips(self.clips), clips):
            shared["--clips"] = self.clips
        return shared

    def stored(self) -> tuple[StoreContents, TrainingData, Recipe]:
        """The training data, and the recipe with the share of pairs that the clips' pairs bring."""
        store, recipe = self.out / PICTURES, self.recipe
        contents, pairs = read_contents(store), PairStore(store, "train")
        if self.clips is not None:
            own, share = recipe.samples.pair_share if len(pairs) else 0.0, recipe.clips.share
            contents = both(contents, read_contents(self.out / CLIP_PAIRS))
            pairs = MixedPairs([pairs, PairStore(self.out / CLIP_PAIRS, "train")], [own * (1 - share), share])
            recipe = replace(recipe, samples=replace(recipe.samples, pair_share=own * (1 - share) + share))
        sequences = self.out / SEQUENCES if self.has_sequences else None
        if sequences is not None:
            contents = replace(contents, sha256=_both(contents.sha256, read_sequence_contents(sequences).sha256))
        pictures, held_out = PictureStore(store, "train"), PictureStore(store, "held_out")
        return contents, TrainingData(pictures=pictures, pairs=pairs, held_out=held_out, sequences=sequences), recipe


def _share(some: Iterable[Path], others: Iterable[Path]) -> bool:
    """Whether a file is among both, whatever links lead to it."""
    return not {path.resolve() for path in some}.isdisjoint(path.resolve() for path in others)


def _both(first: str, second: str) -> str:
    return hashlib.sha256(f"{first} {second}".encode()).hexdigest()
