"""The sources of sequences: real pairs as `media/sequences.py` finds them, and sharp clips whose frames are averaged.

What is learned from real pairs is stored as it was filmed, and as reduced copies if crops still fit
(`reduced_copies.py`). The last frames of each sequence are held out to judge by, or whole sequences if a folder is
named test or val. They are stored at fixed sizes, so that figures of runs can be compared. The truths are also stored
as sequences, because sharp things that move must stay sharp.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from concertdeblur.blur.averaged_clips import averaged_sequences
from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import SourceError, TrainingError, UnsupportedStreamError
from concertdeblur.media.sequences import ClipSequence, find_sequences
from concertdeblur.media.sequences import Sequence as RealSequence
from concertdeblur.training.data.pictures import is_store_of, replaced
from concertdeblur.training.data.reduced_copies import ReducedCopy, drawn_copies, whole_copy
from concertdeblur.training.data.sequences import LEAST_FRAMES, MadeSequence, SequenceWriter
from concertdeblur.training.data.sources import Split

Tell = Callable[[str, int, int], None]  # (what is done, how much of it is done, how much there is)

SEQUENCE_PARTS = {"read real pairs": "sequences", "average clips": "clips"}  # parts of the work -> their units
_FORM = 4  # of a store and the search of its flow; what is kept in another form is made again
_MOST_FRAMES = 128  # most frames of a real sequence, which is held in memory while its copies are made
_LEAST_TAKEN = 8  # least number of frames that are taken of a sequence, if it has as many
_SHARP_FRAMES = 20  # frames of the sharp sequence that is made of a real one
_HELD_OUT_NAMES = ("test", "val")
_HELD_OUT_SCALES = (0.5, 0.25)  # of held-out frames, beside those as filmed, if crops fit


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceSettings:
    """Which sequences are stored."""

    least_side_px: int  # least side of the frames, since crops are cut
    held_out_share: float  # share of each real sequence, at its end
    most_frames: int  # most frames of all real sequences together, as filmed; spread over the sequences
    num_copies: int  # reduced copies of each real sequence, if crops fit

    def taken(self, num_sequences: int) -> int:
        """How many frames are taken of each real sequence."""
        return min(_MOST_FRAMES, max(_LEAST_TAKEN, self.most_frames // num_sequences))


def build_sequence_store(
    folder: Path,
    settings: SequenceSettings,
    *,
    real: Path | None,
    clips: list[Path],
    seed: int,
    tell: Tell = lambda _what, _done, _total: None,
    on_warning: Callable[[str], None] = lambda _message: None,
) -> None:
    """Store the sequences, unless a store of the same files and settings is there; it appears when complete.

    Args:
        folder: Where the store goes.
        settings: Which sequences are stored.
        real: A folder of real pairs.
        clips: Sharp clips, whose frames are averaged.
        seed: Seed of the averages and of the reduced copies.
        tell: Called with what is done; it may raise to stop.
        on_warning: Called for each source that gives nothing, and for each clip that cannot be read.

    Raises:
        SourceError: If there are no real pairs in the folder, or their files cannot be read or do not belong together.
        TrainingError: If no real sequence can be trained on.
    """
    found = find_sequences(real) if real is not None else []
    files = [path for sequence in found for path in _files_of(sequence)]
    origin: dict[str, Any] = {
        "real": [_stamp(path, real) for path in files if real is not None],
        "clips": [_stamp(path, path.parent) for path in clips],
        "settings": asdict(settings),
        "seed": seed,
        "form": _FORM,
    }
    if is_store_of(folder, origin):
        return
    with replaced(folder) as part, SequenceWriter(part, origin) as writer:
        for number, sequence in enumerate(found):
            tell("read real pairs", number, len(found))
            rng = np.random.default_rng([seed, number])
            for made in _of_real(sequence, found, settings, rng, on_warning):
                writer.add(made)
        if found:
            tell("read real pairs", len(found), len(found))
            if not any(row.kind == "real" and row.split == "train" for row in writer.rows):
                raise TrainingError(f"{real}: {_why_none(found, settings)}")
        for number, path in enumerate(clips):
            tell("average clips", number, len(clips))
            try:
                for made in _of_clip(path, settings, seed):
                    writer.add(made)
            except (SourceError, UnsupportedStreamError) as error:
                on_warning(f"{error}; no more averages are made of it")
        if clips:
            tell("average clips", len(clips), len(clips))


def _why_none(found: list[RealSequence], settings: SequenceSettings) -> str:
    """Why there is no sequence to train on."""
    if settings.held_out_share and all(_is_named_held_out(sequence) for sequence in found):
        return (
            "no sequence to train on, because every one is held out by its name or by that of its folder (test or val);"
            " rename one, or add others"
        )
    return f"no sequence to train on; it takes {LEAST_FRAMES} consecutive frames of {settings.least_side_px} px or more"


def _files_of(sequence: RealSequence) -> list[Path]:
    if isinstance(sequence, ClipSequence):
        return [sequence.blurred, sequence.sharp]
    return [path for pair in sequence.paths for path in pair]


def _stamp(path: Path, root: Path | None) -> list[object]:
    try:
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from error
    return [path.relative_to(root or path.parent).as_posix(), stat.st_size, stat.st_mtime_ns]


def _of_real(
    sequence: RealSequence,
    among: list[RealSequence],
    settings: SequenceSettings,
    rng: np.random.Generator,
    on_warning: Callable[[str], None],
) -> Iterator[MadeSequence]:
    pairs = list(sequence.frames(settings.taken(len(among))))
    if len(pairs) < LEAST_FRAMES:
        on_warning(f"{sequence.name}: {len(pairs)} frames are too few; it takes {LEAST_FRAMES} that follow each other")
        return
    blurred, sharp = [pair.blurred_picture() for pair in pairs], [pair.sharp for pair in pairs]
    height, width = sharp[0].shape[:2]
    if min(height, width) < settings.least_side_px:
        on_warning(f"{sequence.name}: {width}x{height} is too small, crops of {settings.least_side_px} px are cut")
        return
    for split, place in _parts(sequence, among, len(pairs), settings.held_out_share):
        copies = _copies(split, height, width, settings, rng)
        yield from _copied(sequence.name, split, blurred[place], sharp[place], copies)


def _copies(
    split: Split, height: int, width: int, settings: SequenceSettings, rng: np.random.Generator
) -> list[ReducedCopy]:
    """The copies of the frames of a split, beside those as filmed."""
    least = settings.least_side_px
    if split == "train":
        return drawn_copies(height, width, settings.num_copies, least_side_px=least, rng=rng)
    return [whole_copy(height, width, scale) for scale in _HELD_OUT_SCALES if scale * min(height, width) >= least]


def _copied(
    name: str, split: Split, blurred: list[Picture], sharp: list[Picture], copies: list[ReducedCopy]
) -> Iterator[MadeSequence]:
    """The part of a sequence as filmed, then each copy of it; of what is learned also the truths alone."""
    for copy in (None, *copies):
        few, truths = blurred, sharp
        if copy is not None:
            few, truths = ([copy.of(picture) for picture in pictures] for pictures in (blurred, sharp))
        scale = 1.0 if copy is None else copy.scale
        yield MadeSequence(name=name, kind="real", split=split, scale=scale, blurred=few, sharp=truths)
        if split == "train":
            alone = truths[:_SHARP_FRAMES]
            yield MadeSequence(name=name, kind="sharp", split=split, scale=scale, blurred=alone, sharp=alone)


def _parts(
    sequence: RealSequence, among: list[RealSequence], num_frames: int, held_out_share: float
) -> list[tuple[Split, slice]]:
    """The part of a sequence that is trained on, and the held-out part, which begins with the other's last frame.

    No frame belongs to both: the first and the last frame of a part are neighbours only.
    """
    if held_out_share and any(_is_named_held_out(one) for one in among):
        return [("held_out" if _is_named_held_out(sequence) else "train", slice(0, num_frames))]
    num_held_out = max(2, round(held_out_share * num_frames)) if held_out_share else 0
    cut = num_frames - num_held_out
    if not num_held_out or cut < LEAST_FRAMES:
        return [("train", slice(0, num_frames))]
    return [("train", slice(0, cut)), ("held_out", slice(cut - 1, num_frames))]


def _is_named_held_out(sequence: RealSequence) -> bool:
    return any(name.split("_")[0] in _HELD_OUT_NAMES for name in sequence.folders)


def _of_clip(clip: Path, settings: SequenceSettings, seed: int) -> Iterator[MadeSequence]:
    for made in averaged_sequences(clip, seed=seed, least_side_px=settings.least_side_px):
        yield MadeSequence(
            name=made.name, kind="sharp" if made.blurred is made.sharp else "clips", split="train", scale=1.0,
            blurred=made.blurred, sharp=made.sharp,
        )  # fmt: skip
