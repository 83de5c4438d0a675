"""Rendered scenes as stored sequences: stage video pGAN learns on the results of several frames of one scene.

Stage video iGAN renders a scene for each sample, but results of G_i take too long to be made for each step. A few
scenes are rendered of held-out pictures, to judge by.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from concertdeblur.blur.moving_scenes import SceneSettings, moving_scene
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.models.exposure_share import counted_share
from concertdeblur.training.data.pictures import PictureStore, is_store_of, replaced
from concertdeblur.training.data.sequences import MadeSequence, SequenceWriter
from concertdeblur.training.data.sources import Split

SCENE_FRAMES = 5  # three of them have results, and one of these has results on both sides
_FORM = 3  # of a store and the search of its flow; what is kept in another form is made again
_TRAIN_TO_HELD_OUT = 16  # so many scenes are learned from for each one to judge by


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredScenes:
    """Which scenes are stored."""

    number: int  # of scenes that are learned from
    lights_share: float  # share of them with lights
    scene: SceneSettings


def build_scene_store(
    folder: Path,
    scenes: StoredScenes,
    *,
    train: PictureStore,
    held_out: PictureStore,
    pictures_sha256: str,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Render scenes and store them, unless a store of the same is there; it appears when complete.

    Args:
        folder: Where the store goes.
        scenes: Which scenes are stored.
        train: Pictures of which scenes to learn from are rendered.
        held_out: Pictures of which scenes to judge by are rendered.
        pictures_sha256: Digest of both.
        seed: With the pictures and `scenes`, this decides everything.
        on_progress: Called with (scenes done, scenes in all); it may raise to stop.
    """
    splits: dict[Split, PictureStore] = {"train": train, "held_out": held_out}
    names = {split: _digest_of_names(pictures) for split, pictures in splits.items()}
    origin = {
        "pictures": pictures_sha256, "names": names, "scenes": asdict(scenes), "frames": SCENE_FRAMES,
        "side_px": BLUR_CELL_PX, "seed": seed, "form": _FORM,
    }  # fmt: skip
    if is_store_of(folder, origin):
        return
    numbers: dict[Split, int] = {"train": scenes.number, "held_out": -(-scenes.number // _TRAIN_TO_HELD_OUT)}
    total, done = sum(numbers.values()), 0
    with replaced(folder) as part, SequenceWriter(part, origin) as writer:
        for split, pictures in splits.items():
            for made in _rendered(pictures, split, replace(scenes, number=numbers[split]), seed):
                on_progress(done, total)
                writer.add(made)
                done += 1
    on_progress(total, total)


def _rendered(pictures: PictureStore, split: Split, scenes: StoredScenes, seed: int) -> Iterator[MadeSequence]:
    photos = [pictures.read(number) for number in range(len(pictures))]
    for number in range(scenes.number):
        rng = np.random.default_rng([seed, *split.encode(), number])
        # spread evenly, so that a few scenes have their share of lights, too
        has_lights = int((number + 1) * scenes.lights_share) > int(number * scenes.lights_share)
        settings = replace(scenes.scene, lights_share=float(has_lights))
        scene = moving_scene(
            photos, rng, side_px=BLUR_CELL_PX, settings=settings, num_frames=SCENE_FRAMES, num_truths=SCENE_FRAMES
        )
        yield MadeSequence(
            name=f"scene {number}", kind="rendered", split=split, scale=1.0, blurred=list(scene.frames),
            sharp=list(scene.truths), field=scene.field, exposures=[counted_share(scene.exposure)] * SCENE_FRAMES,
        )  # fmt: skip


def _digest_of_names(pictures: PictureStore) -> str:
    """Which pictures of a folder belong to a split decides what is rendered of them."""
    return hashlib.sha256("\n".join(picture.name for picture in pictures.pictures).encode()).hexdigest()
