"""Stored sequences: what is taken of real pairs and of clips, what is held out, and what comes back."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.errors import Interrupted, SourceError, TrainingError
from concertdeblur.training.data.motion import row_shares
from concertdeblur.training.data.results import FrameResults
from concertdeblur.training.data.sequence_sources import SequenceSettings, build_sequence_store
from concertdeblur.training.data.sequences import SequenceStore, StoredSequence, read_sequence_contents
from tests.clips import ClipSpec, make_clip
from tests.sequences import moving_pair, write_gopro_folder
from tests.unit.blur.test_averaging import panning_clip

SETTINGS = SequenceSettings(least_side_px=64, held_out_share=0.25, most_frames=1000, num_copies=3)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real")
    write_gopro_folder(root, "a", 12)
    return root


@pytest.fixture(scope="module")
def store(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "sequences"
    build_sequence_store(folder, SETTINGS, real=real, clips=[], seed=1)
    return folder


def test_real_pairs_are_stored_as_filmed_and_as_copies_that_crops_fit_in(store: Path) -> None:
    rows = SequenceStore(store, "train").of_kind("real")
    assert [row.num_frames for row in rows] == [9] * 4
    assert (rows[0].scale, rows[0].height, rows[0].width) == (1.0, 144, 160)
    assert all(64 <= row.height < 109 and 64 <= row.width <= 120 and row.scale <= 0.75 for row in rows[1:])
    assert len({row.scale for row in rows}) == 4
    sharp = SequenceStore(store, "train").of_kind("sharp")
    assert [(row.scale, row.height, row.num_frames) for row in sharp] == [(row.scale, row.height, 9) for row in rows]


def test_held_out_frames_are_stored_at_fixed_sizes(store: Path) -> None:
    rows = SequenceStore(store, "held_out").of_kind("real")
    assert [(row.scale, row.height, row.width) for row in rows] == [(1.0, 144, 160), (0.5, 72, 80)]


def test_both_frames_of_a_copy_are_cut_and_reduced_alike(tmp_path: Path) -> None:
    """Where the blurred frames are the sharp ones at half the brightness, so are their copies."""
    write_gopro_folder(tmp_path / "real", "a", 5)
    for path in (tmp_path / "real" / "a" / "sharp").iterdir():
        sharp = cv2.imread(str(path))
        assert sharp is not None
        assert cv2.imwrite(str(tmp_path / "real" / "a" / "blur" / path.name), sharp // 2)
    build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path / "real", clips=[], seed=1)
    opened = SequenceStore(tmp_path / "store", "train")
    rows = opened.of_kind("real")
    assert len(rows) == 4
    for row in rows:
        blurred, sharp = opened.frame(row, 1).astype(float), opened.sharp(row, 1).astype(float)
        assert np.abs(blurred - sharp / 2).max() < 2
        assert np.abs(blurred[:, 1:] - sharp[:, :-1] / 2).max() > 10  # a px further on it is not


def test_copies_depend_on_the_seed_and_a_store_of_others_is_made_again(real: Path, store: Path, tmp_path: Path) -> None:
    def made(num_copies: int, seed: int) -> tuple[str, list[tuple[float, int, int]]]:
        settings = replace(SETTINGS, num_copies=num_copies)
        build_sequence_store(tmp_path / "store", settings, real=real, clips=[], seed=seed)
        rows = SequenceStore(tmp_path / "store", "train").of_kind("real")
        return read_sequence_contents(tmp_path / "store").sha256, [(row.scale, row.height, row.width) for row in rows]

    first = made(3, 1)
    assert first[0] == read_sequence_contents(store).sha256
    other_seed, fewer = made(3, 2), made(2, 1)
    assert len({first[0], other_seed[0], fewer[0]}) == 3
    assert first[1] != other_seed[1]
    assert [len(sizes) for _, sizes in (first, other_seed, fewer)] == [4, 4, 3]
    assert made(3, 1) == first


def test_each_sequence_has_its_share_and_so_has_what_was_filmed(tmp_path: Path) -> None:
    write_gopro_folder(tmp_path / "real", "a", 6)
    write_gopro_folder(tmp_path / "real", "b", 6, height=80)  # copies of it would be too small
    build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path / "real", clips=[], seed=1)
    rows = SequenceStore(tmp_path / "store", "train").of_kind("real")
    assert [(row.name, row.scale == 1) for row in rows] == [("a", True), *[("a", False)] * 3, ("b", True)]
    assert row_shares(rows, 0.1) == pytest.approx([0.05, 0.15, 0.15, 0.15, 0.5])
    assert row_shares(rows, 1.0) == pytest.approx([0.5, 0, 0, 0, 0.5])
    assert row_shares(rows[:1], 0.0) == pytest.approx([1])


def test_frames_and_truths_come_back(store: Path) -> None:
    blurred, sharp = moving_pair(12)
    opened = SequenceStore(store, "train")
    row = opened.of_kind("real")[0]
    assert all((opened.frame(row, n) == blurred[n]).all() for n in range(9))
    assert all((opened.sharp(row, n) == sharp[n]).all() for n in range(9))
    still_sharp = opened.of_kind("sharp")[0]
    assert (opened.frame(still_sharp, 4) == sharp[4]).all()
    assert (opened.sharp(still_sharp, 4) == sharp[4]).all()


def test_the_end_of_a_sequence_is_held_out_and_no_frame_is_both(store: Path) -> None:
    blurred, _ = moving_pair(12)
    train, held_out = SequenceStore(store, "train"), SequenceStore(store, "held_out")
    row, judged = train.of_kind("real")[0], held_out.of_kind("real")[0]
    assert not held_out.of_kind("sharp")
    assert [list(one.inner) for one in (row, judged)] == [list(range(1, 8)), [1, 2]]
    # numbers 9 and 10 of the clip: number 8 is a neighbour of both parts
    assert (held_out.frame(judged, 0) == blurred[8]).all()
    assert (held_out.frame(judged, 1) == blurred[9]).all()


def test_the_flow_is_that_of_the_pan(store: Path) -> None:
    opened = SequenceStore(store, "train")
    for row in opened.of_kind("real"):
        path = opened.path(row, 3)
        assert path.to_before is not None
        assert path.to_after is not None
        for flow, sign in ((path.to_before, 1), (path.to_after, -1)):
            assert abs(float(np.median(flow[..., 0])) - sign * 6 * row.scale) < 0.7
            assert abs(float(np.median(flow[..., 1]))) < 0.5


def test_folders_named_test_are_held_out_whole(tmp_path: Path) -> None:
    write_gopro_folder(tmp_path / "real" / "train", "a", 6)
    write_gopro_folder(tmp_path / "real" / "test", "b", 6)
    build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path / "real", clips=[], seed=1)
    train, held_out = SequenceStore(tmp_path / "store", "train"), SequenceStore(tmp_path / "store", "held_out")
    assert {(row.name, row.num_frames) for row in train.of_kind("real")} == {("train/a", 6)}
    assert {(row.name, row.num_frames) for row in held_out.of_kind("real")} == {("test/b", 6)}


def test_a_folder_named_test_stays_held_out_where_frames_are_left_out(tmp_path: Path) -> None:
    write_gopro_folder(tmp_path / "real", "train", 6)
    write_gopro_folder(tmp_path / "real", "test", 9)
    for half in ("blur", "sharp"):
        (tmp_path / "real" / "test" / half / "000004.png").unlink()
    build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path / "real", clips=[], seed=1)
    train, held_out = SequenceStore(tmp_path / "store", "train"), SequenceStore(tmp_path / "store", "held_out")
    assert {(row.name, row.num_frames) for row in train.of_kind("real")} == {("train", 6)}
    assert {(row.name, row.num_frames) for row in held_out.of_kind("real")} == {
        ("test from 000000", 4), ("test from 000005", 4),
    }  # fmt: skip


def test_the_name_of_the_folder_that_is_given_holds_nothing_out(tmp_path: Path) -> None:
    write_gopro_folder(tmp_path, "test", 12)
    build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path / "test", clips=[], seed=1)
    rows = SequenceStore(tmp_path / "store", "train").of_kind("real")
    assert {(row.name, row.num_frames) for row in rows} == {("test", 9)}


def test_sequences_that_are_all_held_out_by_name_are_said_to_be_so(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for half in ("blurred", "sharp"):
        make_clip(real / f"test_{half}.mkv", ClipSpec(num_frames=9, height=144, width=160))
    with pytest.raises(TrainingError, match=r"every one is held out by its name .* rename one, or add others"):
        build_sequence_store(tmp_path / "store", SETTINGS, real=real, clips=[], seed=1)
    whole = replace(SETTINGS, held_out_share=0.0)  # where nothing is held out, names do not count
    build_sequence_store(tmp_path / "store", whole, real=real, clips=[], seed=1)
    assert SequenceStore(tmp_path / "store", "train").of_kind("real")


def test_a_store_of_the_same_files_is_kept_and_one_of_others_is_made_again(
    real: Path, store: Path, tmp_path: Path
) -> None:
    before = (store / "pixels.u8").stat().st_mtime_ns
    build_sequence_store(store, SETTINGS, real=real, clips=[], seed=1)
    assert (store / "pixels.u8").stat().st_mtime_ns == before
    write_gopro_folder(tmp_path, "b", 5)
    other = tmp_path / "store"
    build_sequence_store(other, SETTINGS, real=tmp_path, clips=[], seed=1)
    first = read_sequence_contents(other)
    assert first.sha256 != read_sequence_contents(store).sha256
    write_gopro_folder(tmp_path, "c", 5)
    build_sequence_store(other, SETTINGS, real=tmp_path, clips=[], seed=1)
    assert read_sequence_contents(other).num_sequences == 2 * first.num_sequences


def test_averages_of_a_sharp_clip_and_the_clip_itself(tmp_path: Path) -> None:
    clip = tmp_path / "pan.mp4"
    panning_clip(clip, step_px=4)
    told: list[tuple[str, int, int]] = []
    for name in ("one", "two"):
        build_sequence_store(
            tmp_path / name, SETTINGS, real=None, clips=[clip], seed=1, tell=lambda *what: told.append(what)
        )
    assert ("average clips", 1, 1) in told
    one, two = (SequenceStore(tmp_path / name, "train") for name in ("one", "two"))
    assert one.of_kind("clips")
    assert one.of_kind("sharp")
    assert read_sequence_contents(one.folder) == read_sequence_contents(two.folder)
    for row in one.of_kind("clips"):
        assert row.num_frames >= 4
        errors = [np.abs(one.frame(row, n).astype(float) - one.sharp(row, n)).mean() for n in row.inner]
        assert min(errors) > 1  # it is blurred


@pytest.mark.parametrize(
    ("num_frames", "side", "message"), [(2, 144, "no sequence to train on"), (6, 48, "no sequence to train on")]
)
def test_what_is_too_short_or_too_small_is_said(tmp_path: Path, num_frames: int, side: int, message: str) -> None:
    write_gopro_folder(tmp_path / "real", "a", num_frames, height=side)
    said: list[str] = []
    with pytest.raises(TrainingError, match=message):
        build_sequence_store(
            tmp_path / "store", SETTINGS, real=tmp_path / "real", clips=[], seed=1, on_warning=said.append
        )
    assert len(said) == 1
    assert not (tmp_path / "store").exists()


def test_a_folder_without_pairs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no real pairs found"):
        build_sequence_store(tmp_path / "store", SETTINGS, real=tmp_path, clips=[], seed=1)


class TestFrameResults:
    def test_results_are_made_once_for_each_make(self, store: Path) -> None:
        opened = SequenceStore(store, "train")
        made: list[int] = []

        def results() -> FrameResults[np.float16]:
            return FrameResults(opened, "numbers.f16", np.float16, lambda row: (2, row.num_frames))

        def make(row_width: int, value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
            made.append(value)
            return np.full((2, row_width), value, np.float16)

        total = sum(len(row.inner) for row in opened.sequences)
        for name in ("first", "first", "second"):
            results().make(lambda row, number: make(row.num_frames, number), made_with=name)
        assert len(made) == 2 * total
        row = opened.sequences[-1]
        assert (results().read(row, 3) == 3).all()
        assert (results().read(opened.sequences[0], 1) == 1).all()

    def test_what_was_stopped_is_made_again(self, store: Path) -> None:
        opened = SequenceStore(store, "held_out")
        results = FrameResults(opened, "stopped.u8", np.uint8, lambda _row: (1,))

        def stop(done: int, _total: int) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            results.make(lambda _row, number: np.full(1, number, np.uint8), made_with="a", on_progress=stop)
        assert not list(store.glob("*stopped*"))
        results.make(lambda _row, number: np.full(1, number, np.uint8), made_with="a")
        assert results.read(opened.sequences[0], 2)[0] == 2

    def test_what_was_interrupted_goes_on(self, store: Path) -> None:
        opened = SequenceStore(store, "train")
        made: list[int] = []
        results = FrameResults(opened, "interrupted.u8", np.uint8, lambda row: (row.width,))

        def make(row: StoredSequence, number: int) -> npt.NDArray[np.uint8]:
            made.append(number)
            return np.full(row.width, number, np.uint8)

        def stopped_after(count: int, made_with: str) -> list[int]:
            def stop(done: int, _total: int) -> None:
                if done == count:
                    raise Interrupted

            before = len(made)
            with pytest.raises(Interrupted):
                results.make(make, made_with=made_with, on_progress=stop)
            return made[before:]

        frames = [number for row in opened.sequences for number in row.inner]
        assert stopped_after(12, "a") == frames[:12]
        assert stopped_after(15, "a") == frames[12:15]
        assert stopped_after(3, "b") == frames[:3]  # of another network
        with next(store.glob("*-interrupted.u8.part")).open("ab") as file:
            file.write(b"more than was noted")
        assert stopped_after(4, "b") == frames[:4]
        told: list[tuple[int, int]] = []
        results.make(make, made_with="b", on_progress=lambda *progress: told.append(progress))
        assert told == [(done, len(frames)) for done in range(4, len(frames) + 1)]
        for row in opened.sequences:
            assert all((results.read(row, number) == number).all() for number in row.inner)
        assert {path.name for path in store.glob("*interrupted*")} == {
            "train-interrupted.u8", "train-interrupted.u8.json",
        }  # fmt: skip

    @pytest.mark.parametrize("damaged", ["", '{"made_with": "a", "seq', "[1]"])
    def test_results_with_a_damaged_note_are_made_again(self, store: Path, damaged: str) -> None:
        opened = SequenceStore(store, "held_out")
        results = FrameResults(opened, "damaged.u8", np.uint8, lambda _row: (1,))
        results.make(lambda _row, number: np.full(1, number, np.uint8), made_with="a")
        (store / "held_out-damaged.u8.json").write_text(damaged)
        results.make(lambda _row, number: np.full(1, number + 100, np.uint8), made_with="a")
        assert results.read(opened.sequences[0], 2)[0] == 102
        results.make(lambda _row, number: np.full(1, number, np.uint8), made_with="a")
        assert results.read(opened.sequences[0], 2)[0] == 102  # they are there
