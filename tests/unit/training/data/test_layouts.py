"""Data of training: every layout becomes one store, and bad data is one sentence that leaves nothing behind."""

import dataclasses
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from concertdeblur.blur.kernels import Picture
from concertdeblur.errors import TrainingError
from concertdeblur.models.concert import BLUR_TYPES
from concertdeblur.training.data.pairs import PairStore
from concertdeblur.training.data.pictures import (
    PictureStore,
    build_store,
    read_contents,
    read_index,
    read_skipped,
    split_of,
)
from concertdeblur.training.data.samples import SampleSettings, SampleStream
from concertdeblur.training.data.sources import DataSettings, find_sources
from tests.heic import heic
from tests.pictures import photograph

_ALL = photograph(512, 512)


def _view(number: int, height: int = 96, width: int = 128) -> Picture:
    """A part of a photograph, another one for each number."""
    return np.ascontiguousarray(np.roll(_ALL, 37 * number, axis=1)[:height, :width])


def _write(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1]))


def _plain(folder: Path, count: int = 24) -> Path:
    for number in range(count):
        _write(folder / f"p{number:02d}.png", _view(number))
    return folder


def _built(folder: Path) -> Path:
    """The layout of build-dataset: two sharp pictures to train on and one to judge by, two kernels each."""
    for split, numbers in (("train", (0, 1)), ("test", (2,))):
        rows = []
        for number in numbers:
            _write(folder / split / "sharp" / f"{number}.png", _view(number))
            for kernel in ("horizontal", "capture"):
                _write(folder / split / "blurred" / f"{number}-{kernel}.png", _view(number) // 2)
                row = {"file_name": f"blurred/{number}-{kernel}.png", "sharp_file_name": f"sharp/{number}.png"}
                rows.append(
                    json.dumps({**row, "kernel": kernel, "level": 0.5, "shot_type": "CU", "licence": "CC0-1.0"})
                )
        (folder / split / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def _gopro(folder: Path) -> Path:
    for split, sequences in (("train", ("GOPR1", "GOPR2")), ("test", ("GOPR3",))):
        for number, sequence in enumerate(sequences):
            for kind in ("blur", "blur_gamma", "sharp"):
                _write(folder / split / sequence / kind / "000001.png", _view(number) // (1 + (kind != "sharp")))
    return folder


def _reds(folder: Path) -> Path:
    for split in ("train", "val"):
        for kind in ("blur", "sharp"):
            for frame in range(2):
                _write(folder / f"{split}_{kind}" / "000" / f"{frame:08d}.png", _view(frame) // (1 + (kind == "blur")))
    return folder


class TestPictureStore:
    def test_pictures_come_back_as_they_were(self, tmp_path: Path) -> None:
        build_store(_plain(tmp_path / "in"), tmp_path / "out", min_side_px=64)
        store = PictureStore(tmp_path / "out", "train")
        for number, stored in enumerate(store.pictures):
            assert np.array_equal(store.read(number), _view(int(stored.name[1:3])))

    @pytest.mark.parametrize("damage", ['"height": 0', '"height": "x"', '"height": {}', '"height": 960000'])
    def test_an_index_with_another_number_is_damaged_and_the_store_is_made_again(
        self, tmp_path: Path, damage: str
    ) -> None:
        source, index = _plain(tmp_path / "in", 3), tmp_path / "out" / "index.json"
        build_store(source, index.parent, min_side_px=64)
        whole = index.read_text()
        index.write_text(whole.replace('"height": 96', damage, 1))
        with pytest.raises(TrainingError, match="damaged"):
            read_index(index.parent)
        build_store(source, index.parent, min_side_px=64)
        assert index.read_text() == whole

    def test_an_index_of_an_older_version_has_no_sum_and_is_read(self, tmp_path: Path) -> None:
        build_store(_plain(tmp_path / "in", 3), tmp_path / "out", min_side_px=64)
        told = json.loads((tmp_path / "out" / "index.json").read_text())
        del told["sum_of_all_else"]
        (tmp_path / "out" / "index.json").write_text(json.dumps(told))
        assert read_contents(tmp_path / "out").num_pictures == 3

    def test_splits_do_not_meet_and_do_not_depend_on_the_other_pictures(self, tmp_path: Path) -> None:
        build_store(_plain(tmp_path / "in"), tmp_path / "out", min_side_px=64)
        names = [{p.name for p in PictureStore(tmp_path / "out", split).pictures} for split in ("train", "held_out")]
        assert not names[0] & names[1]
        assert len(names[0] | names[1]) == 24
        assert all(split_of(name) == "train" for name in names[0])

    def test_two_pictures_are_enough_and_one_is_not(self, tmp_path: Path) -> None:
        build_store(_plain(tmp_path / "in", 2), tmp_path / "out", min_side_px=64)
        assert [len(PictureStore(tmp_path / "out", split)) for split in ("train", "held_out")] == [1, 1]
        (tmp_path / "in" / "p00.png").unlink()
        with pytest.raises(TrainingError, match="one picture is not enough"):
            build_store(tmp_path / "in", tmp_path / "out", min_side_px=64)

    def test_a_store_is_built_once_and_again_when_its_pictures_change(self, tmp_path: Path) -> None:
        source, out = _plain(tmp_path / "in", 3), tmp_path / "out"
        seen: list[int] = []

        def build() -> list[int]:
            seen.clear()
            build_store(source, out, min_side_px=64, on_progress=lambda done, _: seen.append(done))
            return seen

        assert build() == [1, 2, 3]
        digest = read_contents(out).sha256
        assert build() == []
        os.utime(source / "p00.png", ns=(1, 1))
        assert build() == [1, 2, 3]
        assert read_contents(out).sha256 == digest  # the pixels are the same
        _write(source / "p00.png", _view(9))
        assert build() == [1, 2, 3]
        assert read_contents(out).sha256 != digest

    def test_a_damaged_store_is_built_again(self, tmp_path: Path) -> None:
        source, out = _plain(tmp_path / "in", 3), tmp_path / "out"
        build_store(source, out, min_side_px=64)
        with (out / "pixels.u8").open("r+b") as file:
            file.truncate(100)
        with pytest.raises(TrainingError, match="damaged"):
            PictureStore(out, "train")
        build_store(source, out, min_side_px=64)
        assert PictureStore(out, "train").read(0).shape == (96, 128, 3)

    def test_a_stop_leaves_nothing_half_written(self, tmp_path: Path) -> None:
        class Stopped(Exception):
            pass

        def stop(done: int, _total: int) -> None:
            if done == 2:
                raise Stopped

        with pytest.raises(Stopped):
            build_store(_plain(tmp_path / "in"), tmp_path / "out", min_side_px=64, on_progress=stop)
        assert [path.name for path in tmp_path.iterdir()] == ["in"]

    def test_large_photographs_are_scaled_down(self, tmp_path: Path) -> None:
        for name in "ab":
            _write(tmp_path / "in" / f"{name}.png", np.zeros((2048, 1536, 3), np.uint8))
        build_store(tmp_path / "in", tmp_path / "out", min_side_px=64)
        assert PictureStore(tmp_path / "out", "train").read(0).shape == (1365, 1024, 3)

    def test_left_out_pictures_are_in_neither_split(self, tmp_path: Path) -> None:
        settings = DataSettings(left_out=("p03", "p04.png"))
        names = {picture.name for picture in find_sources(_plain(tmp_path, 6), settings).pictures}
        assert names == {"p00.png", "p01.png", "p02.png", "p05.png"}
        with pytest.raises(TrainingError, match="every picture is left out"):
            find_sources(tmp_path, DataSettings(left_out=tuple(f"p{n:02d}" for n in range(6))))

    def test_few_pictures_are_judged_by_while_training(self, tmp_path: Path) -> None:
        kept = find_sources(_plain(tmp_path, 60), DataSettings(max_held_out=2)).pictures
        assert sum(picture.split == "held_out" for picture in kept) == 2


class TestSkipped:
    def _half(self, path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    def test_pictures_of_the_same_name_in_different_folders_are_different_ones(self, tmp_path: Path) -> None:
        for clip in range(3):
            _write(tmp_path / "in" / f"clip{clip}" / "0001.png", _view(clip))
        build_store(tmp_path / "in", tmp_path / "out", min_side_px=64)
        stores = [PictureStore(tmp_path / "out", split) for split in ("train", "held_out")]
        names = [picture.name for store in stores for picture in store.pictures]
        assert sorted(names) == [f"clip{clip}/0001.png" for clip in range(3)]
        assert [len(store) for store in stores] in ([2, 1], [1, 2])

    def test_a_folder_named_below_leaves_pictures_their_split(self, tmp_path: Path) -> None:
        sources = find_sources(_plain(tmp_path / "below").parent, DataSettings())
        assert {picture.name: picture.split for picture in sources.pictures} == {
            f"below/p{number:02d}.png": split_of(f"p{number:02d}.png") for number in range(24)
        }

    def test_of_many_that_are_skipped_a_few_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            TrainingError, match=r": p00.png \(.*\), p01.png \(.*\), p02.png \([^,]*, [^,]*, and 21 more$"
        ):
            build_store(_plain(tmp_path / "in"), tmp_path / "out", min_side_px=256)

    def test_what_cannot_be_used_is_skipped_counted_and_named(self, tmp_path: Path) -> None:
        source, told = _plain(tmp_path / "in", 6), list[str]()
        self._half(source / "p01.png")
        _write(source / "p02.png", _view(2, 96, 40))
        (source / "p03.png").write_text("no picture")
        for stray in ("._p00.png", ".DS_Store", "Thumbs.db", ".thumbs/p.png"):
            (source / stray).parent.mkdir(exist_ok=True)
            (source / stray).write_bytes(b"stray")
        build_store(source, tmp_path / "out", min_side_px=64, on_warning=told.append)
        assert read_contents(tmp_path / "out").num_pictures == 3
        skipped = read_skipped(tmp_path / "out")
        assert [(one.name, one.reason.split(":")[0].split(",")[0]) for one in skipped] == [
            ("p01.png", "is cut off"),
            ("p02.png", "40x96 is too small"),
            ("p03.png", "cannot be read as a picture; png"),
        ]
        (message,) = told
        assert message.startswith("3 of 6 pictures are skipped: p01.png (is cut off")
        stored = {
            picture.name: store.read(number)
            for split in ("train", "held_out")
            for store in (PictureStore(tmp_path / "out", split),)
            for number, picture in enumerate(store.pictures)
        }
        assert all(np.array_equal(stored[f"p{number:02d}.png"], _view(number)) for number in (0, 4, 5))

    def test_both_splits_keep_a_picture(self, tmp_path: Path) -> None:
        source = _plain(tmp_path / "in", 24)
        held_out = [path for path in sorted(source.iterdir()) if split_of(path.name) == "held_out"]
        for path in held_out:
            self._half(path)
        build_store(source, tmp_path / "out", min_side_px=64)
        assert held_out
        assert len(PictureStore(tmp_path / "out", "held_out")) == 1
        assert len(PictureStore(tmp_path / "out", "train")) == 24 - len(held_out) - 1

    def test_a_pair_goes_with_either_half(self, tmp_path: Path) -> None:
        source = _built(tmp_path / "in")
        self._half(source / "train" / "sharp" / "0.png")
        self._half(source / "train" / "blurred" / "1-capture.png")
        build_store(source, tmp_path / "out", min_side_px=64)
        pairs = read_index(tmp_path / "out")["pairs"]
        assert len(pairs) == read_contents(tmp_path / "out").num_pairs == 3
        assert {one.name for one in read_skipped(tmp_path / "out")} == {
            "train/sharp/0.png", "train/blurred/0-horizontal.png", "train/blurred/0-capture.png",
            "train/blurred/1-capture.png",
        }  # fmt: skip
        rows = read_index(tmp_path / "out")["pictures"]
        for pair in pairs:
            blurred, sharp = rows[pair["blurred"]], rows[pair["sharp"]]
            assert Path(blurred["name"]).stem.split("-")[0] == Path(sharp["name"]).stem
            assert blurred["split"] == sharp["split"]

    def test_pictures_are_upright_and_of_any_kind(self, tmp_path: Path) -> None:
        turned = Image.Exif()
        turned[274] = 6
        (tmp_path / "in").mkdir()
        Image.fromarray(_view(0)).save(tmp_path / "in" / "a.png", exif=turned)
        Image.fromarray(_view(0)).convert("CMYK").save(tmp_path / "in" / "b.jpg")
        cv2.imwrite(str(tmp_path / "in" / "c.tif"), _view(0).astype(np.uint16)[:, :, ::-1] * 257)
        (tmp_path / "in" / "d.heic").write_bytes(heic(_view(0)))
        build_store(tmp_path / "in", tmp_path / "out", min_side_px=64)
        rows = {row["name"]: (row["height"], row["width"]) for row in read_index(tmp_path / "out")["pictures"]}
        assert rows == {"a.png": (128, 96), "b.jpg": (96, 128), "c.tif": (96, 128), "d.heic": (96, 128)}


class TestPairs:
    @pytest.mark.parametrize("layout", [_built, _gopro, _reds])
    def test_layouts_give_their_pairs(self, tmp_path: Path, layout: object) -> None:
        assert callable(layout)
        build_store(layout(tmp_path / "in"), tmp_path / "out", min_side_px=64)
        count = {_built: (4, 2), _gopro: (2, 1), _reds: (2, 2)}[layout]
        for split, expected in (("train", count[0]), ("held_out", count[1])):
            store = PairStore(tmp_path / "out", split)  # type: ignore[arg-type]
            assert len(store) == expected
            for number in range(len(store)):
                blurred, sharp = store.read(number)
                assert np.array_equal(blurred, sharp // 2)

    def test_sharp_pictures_of_pairs_are_stored_once(self, tmp_path: Path) -> None:
        build_store(_built(tmp_path / "in"), tmp_path / "out", min_side_px=64)
        contents = read_contents(tmp_path / "out")
        assert (contents.num_pictures, contents.num_pairs) == (3, 6)
        assert [len(PictureStore(tmp_path / "out", split)) for split in ("train", "held_out")] == [2, 1]
        pair = PairStore(tmp_path / "out", "train").pairs[0]
        assert (pair.kernel, pair.level) == ("horizontal", 0.5)

    def test_plain_pictures_are_no_pairs(self, tmp_path: Path) -> None:
        build_store(_plain(tmp_path / "in", 3), tmp_path / "out", min_side_px=64)
        assert len(PairStore(tmp_path / "out", "train")) == 0

    def test_both_halves_of_a_pair_are_cut_at_one_place(self, tmp_path: Path) -> None:
        settings = DataSettings(pair_crop_px=64)
        build_store(_gopro(tmp_path / "in"), tmp_path / "out", settings, min_side_px=64)
        blurred, sharp = PairStore(tmp_path / "out", "train").read(0)
        assert sharp.shape == (64, 64, 3)
        assert np.array_equal(blurred, sharp // 2)

    def test_halves_of_different_sizes_are_refused_although_cut_they_would_be_alike(self, tmp_path: Path) -> None:
        source = _gopro(tmp_path / "in")
        _write(source / "train" / "GOPR1" / "blur" / "000001.png", _view(0, 100, 128))
        with pytest.raises(TrainingError, match=r"blur/000001\.png: 128x100, but its sharp picture .* is 128x96"):
            build_store(source, tmp_path / "out", DataSettings(pair_crop_px=64), min_side_px=64)

    def test_some_of_many_pairs(self, tmp_path: Path) -> None:
        sources = find_sources(_built(tmp_path), DataSettings(max_pairs=1))
        assert [pair.sharp_name for pair in sources.pairs] == ["train/sharp/0.png", *["test/sharp/2.png"] * 2]

    def test_frames_of_a_sequence_stay_together(self, tmp_path: Path) -> None:
        for sequence in range(30):
            for frame in range(2):
                for kind in ("blur", "sharp"):
                    _write(tmp_path / f"s{sequence:02d}" / kind / f"{frame}.png", _view(sequence, 8, 8))
        splits: dict[str, set[str]] = {}
        for picture in find_sources(tmp_path, DataSettings()).pictures:
            splits.setdefault(picture.name.split("/")[0], set()).add(picture.split)
        assert all(len(found) == 1 for found in splits.values())
        assert {next(iter(found)) for found in splits.values()} == {"train", "held_out"}


class TestBadData:
    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "one.png").write_bytes(b"")
        with pytest.raises(TrainingError, match=r"one\.png is a file; name a folder"):
            find_sources(tmp_path / "one.png", DataSettings())

    @pytest.mark.parametrize(
        ("case", "message"),
        [
            ("missing", "no data at .*build-dataset"),
            ("empty", "no pictures found"),
            (
                "unreadable",
                r"one picture is not enough.*1 of 2 pictures are skipped: a.png \(cannot be read as a picture",
            ),
            ("small", r"one picture is not enough.*a.png \(90x20 is too small"),
            ("no sharp half", "has no sharp picture"),
            ("no sharp folder", r"GOPR1/blur: has no folder of sharp pictures beside it; sharp is missing"),
            ("blurred alone", r"in/blur: by its name it holds blurred pictures; name the folder above it"),
            ("other size", "128x64, but its sharp picture train/GOPR1/sharp/000001.png is 128x96"),
            ("no list", r"metadata.jsonl, line 5: not a pair"),
            ("listed file is gone", "cannot be read"),
        ],
    )
    def test_it_is_one_sentence_and_leaves_nothing(self, tmp_path: Path, case: str, message: str) -> None:
        source = tmp_path / "in"
        if case != "missing":
            _plain(source, 1 if case in ("unreadable", "small") else 0).mkdir(exist_ok=True)
        if case == "unreadable":
            (source / "a.png").write_bytes(b"no picture")
        elif case == "small":
            _write(source / "a.png", _view(0, 20, 90))
        elif case == "no sharp half":
            (_gopro(source) / "train" / "GOPR1" / "sharp" / "000001.png").unlink()
        elif case == "no sharp folder":
            folder = _gopro(source) / "train" / "GOPR1"
            (folder / "sharp").rename(folder / "gt")
        elif case == "blurred alone":
            for half in ("blur", "sharp"):
                _plain(source / half, 2)
            source /= "blur"
        elif case == "other size":
            _write(_gopro(source) / "train" / "GOPR1" / "blur" / "000001.png", _view(0, 64, 128))
        elif case == "no list":
            with (_built(source) / "train" / "metadata.jsonl").open("a") as file:
                file.write("{}\n")
        elif case == "listed file is gone":
            (_built(source) / "test" / "sharp" / "2.png").unlink()
        with pytest.raises(TrainingError, match=message) as error:
            build_store(source, tmp_path / "out", min_side_px=64)
        assert "\n" not in str(error.value)
        assert {path.name for path in tmp_path.iterdir()} <= {"in"}


_AS_THEY_ARE = SampleSettings(sharp_share=1, capture_share=0, dark_share=0, noise_share=0, jpeg_share=0)


class TestPairSamples:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A store of pairs of 300x280 px whose blurred halves have half the light."""
        for split in ("train", "test"):
            for kernel, level in (("gaussian", 0.25), ("averaged", None)):
                _write(tmp_path / split / "sharp.png", _view(len(split), 280, 300))
                _write(tmp_path / split / f"{kernel}.png", _view(len(split), 280, 300) // 2)
                row = {"file_name": f"{kernel}.png", "sharp_file_name": "sharp.png", "kernel": kernel, "level": level}
                with (tmp_path / split / "metadata.jsonl").open("a") as file:
                    file.write(json.dumps(row) + "\n")
        build_store(tmp_path, tmp_path / "run" / "pictures", min_side_px=256)
        return tmp_path / "run" / "pictures"

    def stream(self, folder: Path, share: float) -> SampleStream:
        settings = dataclasses.replace(_AS_THEY_ARE, pair_share=share)
        pictures, pairs = PictureStore(folder, "train"), PairStore(folder, "train")
        return SampleStream(pictures, settings, seed=0, batch_size=8, pairs=pairs)

    def test_they_come_as_they_are_and_both_halves_alike(self, folder: Path) -> None:
        batch = self.stream(folder, 1).batch(0)
        assert ((batch.sharp_NCHW * 255).floor_divide(2) - batch.blurred_NCHW * 255).abs().max() < 1e-3
        known = dict(zip(batch.type_N.tolist(), batch.level_N.tolist(), strict=True))
        assert known == {BLUR_TYPES.index("gaussian"): 0.25, BLUR_TYPES.index("capture"): 0.5}

    def test_their_share_is_the_recipes(self, folder: Path) -> None:
        stream = self.stream(folder, 0.25)
        types = [index for step in range(8) for index in stream.batch(step).type_N.tolist()]
        assert 8 <= sum(index != 0 for index in types) <= 26  # of 64; all others are sharp

    def test_batches_are_a_function_of_the_step_and_shares_of_processes_make_the_whole(self, folder: Path) -> None:
        whole = self.stream(folder, 0.5).batch(3).blurred_NCHW
        settings = dataclasses.replace(_AS_THEY_ARE, pair_share=0.5)
        pictures, pairs = PictureStore(folder, "train"), PairStore(folder, "train")
        half = SampleStream(pictures, settings, seed=0, batch_size=4, pairs=pairs)
        assert torch.equal(whole, torch.cat([half.batch(6).blurred_NCHW, half.batch(7).blurred_NCHW]))
