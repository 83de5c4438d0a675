"""Rendered scenes as stored sequences: what is stored of them, that a seed decides it, and their lights."""

from pathlib import Path

import numpy as np
import pytest

from concertdeblur.blur import moving_scenes
from concertdeblur.blur.moving_scenes import MovingScene, SceneSettings
from concertdeblur.models.blur_cells import BLUR_CELL_PX
from concertdeblur.training.data.motion import scene_path
from concertdeblur.training.data.pictures import PictureStore, build_store
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence, read_sequence_contents
from concertdeblur.training.data.stored_scenes import SCENE_FRAMES, StoredScenes, build_scene_store
from tests.pictures import write_photographs

STILL = SceneSettings(still_share=1, beyond_white_share=0, dark_share=0, noise_share=0, h264_share=0, jpeg_share=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "pictures"
    build_store(write_photographs(tmp_path_factory.mktemp("photographs")), folder, min_side_px=256)
    return folder


def built(
    pictures: Path, folder: Path, *, number: int = 3, seed: int = 1, lights: float = 0.5,
    settings: SceneSettings | None = None,
) -> Path:  # fmt: skip
    scenes = StoredScenes(number=number, lights_share=lights, scene=settings or SceneSettings())
    train, held_out = PictureStore(pictures, "train"), PictureStore(pictures, "held_out")
    build_scene_store(folder, scenes, train=train, held_out=held_out, pictures_sha256="of a test", seed=seed)
    return folder


@pytest.fixture(scope="module")
def store(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(pictures, tmp_path_factory.mktemp("run") / "scenes")


def frames_of(store: SequenceStore, row: StoredSequence) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([store.frame(row, number) for number in range(row.num_frames)])


def test_scenes_are_stored_with_neighbours_that_have_neighbours(store: Path) -> None:
    for split, number in (("train", 3), ("held_out", 1)):
        opened = SequenceStore(store, "train" if split == "train" else "held_out")
        assert len(opened) == len(opened.of_kind("rendered")) == number
        for row in opened.sequences:
            assert (row.height, row.width, row.num_frames) == (BLUR_CELL_PX, BLUR_CELL_PX, SCENE_FRAMES)
            assert list(row.inner) == [1, 2, 3]
            assert len({tuple(row.exposures)}) == len(set(row.exposures)) == 1
            truths = np.stack([opened.sharp(row, one) for one in row.inner])
            assert (truths != frames_of(opened, row)[1:4]).any()
    assert not SequenceStore(store, "train").of_kind("real")


def test_flow_is_searched_as_in_samples_that_are_rendered_for_a_step(store: Path) -> None:
    """As if the scene were a part of a frame, and with the exposure that it was rendered with."""
    opened = SequenceStore(store, "train")
    for row in opened.sequences:
        assert row.field is not None
        frames = frames_of(opened, row)
        for number in row.inner:
            scene = MovingScene(frames[number - 1 : number + 2], opened.sharp(row, number)[None], row.field, 0.5)
            expected, found = scene_path(scene), opened.path(row, number)
            for one, other in ((expected.to_before, found.to_before), (expected.to_after, found.to_after)):
                assert one is not None
                assert other is not None
                assert one.shape == other.shape
                assert np.allclose(one, other, rtol=1e-3, atol=1e-2)


def test_pictures_settings_and_seed_decide_what_is_stored(pictures: Path, store: Path, tmp_path: Path) -> None:
    digest = read_sequence_contents(store).sha256
    assert read_sequence_contents(built(pictures, tmp_path / "again")).sha256 == digest
    others = [built(pictures, tmp_path / "seed", seed=2), built(pictures, tmp_path / "lights", lights=1.0)]
    assert digest not in {read_sequence_contents(other).sha256 for other in others}
    fewer = SequenceStore(built(pictures, tmp_path / "fewer", number=2, lights=0.5), "train")
    opened = SequenceStore(store, "train")
    for row, other in zip(opened.sequences, fewer.sequences, strict=False):
        assert (frames_of(opened, row) == frames_of(fewer, other)).all()


def test_a_store_of_the_same_is_kept_and_one_of_others_is_made_again(pictures: Path, tmp_path: Path) -> None:
    folder = built(pictures, tmp_path / "scenes", number=1)
    before = (folder / "pixels.u8").stat().st_mtime_ns
    built(pictures, folder, number=1)
    assert (folder / "pixels.u8").stat().st_mtime_ns == before
    built(pictures, folder, number=2)
    assert len(SequenceStore(folder, "train")) == 2


def test_what_was_stopped_leaves_no_store(pictures: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    scenes = StoredScenes(number=2, lights_share=0.5, scene=SceneSettings())
    train, held_out = PictureStore(pictures, "train"), PictureStore(pictures, "held_out")
    with pytest.raises(KeyboardInterrupt):
        build_scene_store(
            tmp_path / "scenes", scenes, train=train, held_out=held_out, pictures_sha256="of a test", seed=1,
            on_progress=stop,
        )  # fmt: skip
    assert told == [(0, 3), (1, 3)]
    assert not list(tmp_path.iterdir())


def test_half_of_the_scenes_have_lights_and_some_flash(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves here, so only lights change what is seen."""
    monkeypatch.setattr(moving_scenes, "_number", lambda _rng: 0)  # no layers
    opened = SequenceStore(built(pictures, tmp_path / "scenes", number=12, settings=STILL), "train")
    changing, flashing = 0, 0
    for number, row in enumerate(opened.sequences):
        truths = np.stack([opened.sharp(row, one) for one in range(row.num_frames)]).astype(int).max(3)
        is_changing = bool((truths != truths[:1]).any())
        assert not is_changing or number % 2 == 1  # those before have no lights
        lit_once = (truths[one] - np.maximum(truths[one - 1], truths[one + 1]) for one in row.inner)
        changing += is_changing
        flashing += any(int((more > 60).sum()) >= 9 for more in lit_once)
    assert changing >= 4
    assert flashing
