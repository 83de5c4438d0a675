"""Which pairs are judged by, in every layout of data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from concertdeblur.blur import Kernel, blur
from concertdeblur.errors import ConcertDeblurError
from concertdeblur.evaluation.pairs import CAPTURE, PairOptions, find_pairs
from concertdeblur.training.data.sources import DataSettings, find_sources
from tests.pictures import photograph


def write(path: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[:, :, ::-1])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        write(folder / f"{number}.png", photograph(256, 256 + number))
    return folder


def test_those_that_training_holds_out(pictures: Path) -> None:
    found = find_pairs(pictures, PairOptions())
    held_out = {p.name for p in find_sources(pictures, DataSettings(max_held_out=1000)).pictures if p.split != "train"}
    assert {pair.picture for pair in found.pairs} == held_out
    assert 0 < len(held_out) < 20
    assert len(found.pairs) == 8 * len(held_out) == 8 * len(found.sharp)
    assert len(find_pairs(pictures, PairOptions(is_all=True)).sharp) == 40


def test_fewer_pictures_are_the_same_pairs(pictures: Path) -> None:
    whole = {pair.name: pair for pair in find_pairs(pictures, PairOptions(is_all=True)).pairs}
    some = find_pairs(pictures, PairOptions(is_all=True, limit=3)).pairs
    assert len(some) == 3 * 8
    captured = [pair for pair in some if pair.kernel == CAPTURE][1]
    for one, other in zip(captured.read(), whole[captured.name].read(), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(*captured.read())


def test_kernels_work_on_the_middle(pictures: Path) -> None:
    pair = next(p for p in find_pairs(pictures, PairOptions(is_all=True, level=0.3)).pairs if p.picture == "30.png")
    middle = np.ascontiguousarray(photograph(256, 286)[:, 15:271])
    blurred, sharp = pair.read()
    assert np.array_equal(sharp, middle)
    assert np.array_equal(blurred, blur(middle, Kernel.HORIZONTAL, 0.3))


def test_one_picture_alone_is_enough(tmp_path: Path) -> None:
    write(tmp_path / "only.png", photograph(256, 256))
    assert len(find_pairs(tmp_path, PairOptions()).sharp) == 1


def test_a_test_set_alone_is_judged_by_all_of_it(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "test" / "clip" / "sharp" / f"{number}.png", photograph(80, 90))
        write(tmp_path / "test" / "clip" / "blur" / f"{number}.png", photograph(80, 90))
    assert len(find_pairs(tmp_path, PairOptions()).pairs) == 3


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConcertDeblurError, match="no pictures found"):
        find_pairs(tmp_path, PairOptions())


def test_many_clips_are_what_is_resampled(tmp_path: Path) -> None:
    for clip in range(6):
        for number in range(2):
            sharp = photograph(80, 90)
            write(tmp_path / "test" / f"clip{clip}" / "sharp" / f"{number}.png", sharp)
            write(tmp_path / "test" / f"clip{clip}" / "blur" / f"{number}.png", blur(sharp, Kernel.GAUSSIAN, 0.1))
    found = find_pairs(tmp_path, PairOptions(is_all=True))
    assert found.layout == "folders"
    assert len(found.pairs) == 12
    assert {pair.group for pair in found.pairs} == {f"test/clip{clip}" for clip in range(6)}
    few = find_pairs(tmp_path, PairOptions(is_all=True, limit=4))
    assert {pair.group for pair in few.pairs} == {pair.picture for pair in few.pairs}


def test_sequences_of_reds_are_what_is_resampled(tmp_path: Path) -> None:
    """They lie in folders of their own beneath the one that says sharp."""
    for clip in range(6):
        for number in range(2):
            for kind in ("sharp", "blur"):
                write(tmp_path / f"val_{kind}" / f"{clip:03d}" / f"{number}.png", photograph(80, 90))
    found = find_pairs(tmp_path, PairOptions(is_all=True))
    assert len(found.pairs) == 12
    assert {pair.group for pair in found.pairs} == {f"val/{clip:03d}" for clip in range(6)}


def test_pictures_of_the_same_name_in_different_folders_are_different_ones(tmp_path: Path) -> None:
    for clip in ("clip1", "clip2"):
        for number in range(2):
            write(tmp_path / clip / f"{number}.png", photograph(256, 256))
    found = find_pairs(tmp_path, PairOptions(is_all=True))
    assert len(found.sharp) == 4
    assert {pair.group for pair in found.pairs} == {"clip1/0.png", "clip1/1.png", "clip2/0.png", "clip2/1.png"}


def test_captured_pairs_of_a_crop_are_one_picture(tmp_path: Path) -> None:
    rows = []
    for crop in ("a-y0x0", "b-y0x0"):
        for kernel in ("gaussian-0500", "capture-00", "capture-01"):
            blurred, of_capture = f"{crop}-{kernel}.png", "capture" in kernel
            sharp = f"{crop}-{kernel}-sharp.png" if of_capture else f"{crop}-sharp.png"
            for name in (blurred, sharp):
                write(tmp_path / "test" / name, photograph(80, 90))
            row = {"file_name": blurred, "sharp_file_name": sharp, "kernel": kernel.split("-")[0], "source": "c"}
            rows.append(json.dumps({**row, "level": None if of_capture else 0.5}))
    (tmp_path / "test" / "metadata.jsonl").write_text("\n".join(rows))
    found = find_pairs(tmp_path, PairOptions())
    assert len(found.pairs) == 6
    assert [pair.picture for pair in found.sharp] == ["test/a-y0x0-sharp.png", "test/b-y0x0-sharp.png"]
    assert {pair.group for pair in found.pairs} == {pair.picture for pair in found.sharp}
    few = find_pairs(tmp_path, PairOptions(limit=1)).pairs
    assert [pair.name for pair in few] == [pair.name for pair in found.pairs[:3]]


def test_pairs_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "test" / "s.png", photograph(80, 90))
    write(tmp_path / "test" / "b.png", photograph(80, 91))
    write(tmp_path / "train" / "s.png", photograph(80, 90))
    for split, blurred in (("test", "b.png"), ("train", "s.png")):
        row = {"file_name": blurred, "sharp_file_name": "s.png", "kernel": "gaussian", "level": 0.5, "shot_type": "CU"}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row))
    (pair,) = find_pairs(tmp_path, PairOptions()).pairs
    assert pair.shot_type == "CU"
    with pytest.raises(ConcertDeblurError, match="differ in size"):
        pair.read()
