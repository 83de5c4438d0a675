"""Real pairs as sequences: found in clips and in folders of frames, read in step, refused where they do not match."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from concertdeblur.errors import SourceError
from concertdeblur.media.sequences import ClipSequence, FolderSequence, as_8_bits, find_sequences
from tests.clips import VFR_PTS, ClipSpec, make_clip, picture

Picture = npt.NDArray[np.uint8]


def write(path: Path, pixels: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[:, :, ::-1])


def frames_at(blurred: Path, sharp: Path, numbers: list[int]) -> None:
    """Two folders of frames; the blurred ones are darker by 7."""
    for number in numbers:
        pixels = picture(number, 48, 64)
        write(sharp / f"{number:06d}.png", pixels)
        write(blurred / f"{number:06d}.png", (pixels - 7).astype(np.uint8))


def clip_pair(folder: Path, name: str, *, num_frames: int = len(VFR_PTS), height: int = 48) -> None:
    folder.mkdir(exist_ok=True)
    make_clip(folder / f"{name}_blurred.mp4", ClipSpec(pts=VFR_PTS))
    make_clip(folder / f"{name}_sharp.mp4", ClipSpec(num_frames=num_frames, height=height))


def test_clips_come_in_step_with_their_time_stamps(tmp_path: Path) -> None:
    clip_pair(tmp_path / "hall", "song")
    make_clip(tmp_path / "other.mp4", ClipSpec())  # not of a pair
    (found,) = find_sequences(tmp_path)
    assert isinstance(found, ClipSequence)
    assert found.name == "hall/song"
    pairs = list(found.frames())
    assert tuple(pair.blurred.pts for pair in pairs) == VFR_PTS
    assert len({pair.sharp.tobytes() for pair in pairs}) == len(VFR_PTS)
    assert all(np.array_equal(pair.blurred_picture(), pair.sharp) for pair in pairs)  # drawn alike
    assert len(list(found.frames(5))) == len(list(found.blurred_frames(5))) == 5
    assert [frame.pts for frame in found.blurred_frames()] == list(VFR_PTS)


def test_the_halves_may_be_of_different_kinds(tmp_path: Path) -> None:
    make_clip(tmp_path / "a_blurred.mp4", ClipSpec())
    make_clip(tmp_path / "a_sharp.mkv", ClipSpec())
    assert [sequence.name for sequence in find_sequences(tmp_path)] == ["a"]


def test_layouts_of_gopro_and_reds(tmp_path: Path) -> None:
    gopro = tmp_path / "GOPRO" / "train" / "GOPR0372_07_00"
    frames_at(gopro / "blur", gopro / "sharp", [*range(9, 13)])
    frames_at(gopro / "blur_gamma", gopro / "sharp", [9])
    reds = tmp_path / "REDS"
    for name in ("000", "001"):
        frames_at(reds / "train_blur" / name, reds / "train_sharp" / name, [0, 1, 2])
    found = find_sequences(tmp_path)
    assert [sequence.name for sequence in found] == [
        "GOPRO/train/GOPR0372_07_00", "REDS/train_blur/000", "REDS/train_blur/001",
    ]  # fmt: skip
    pairs = list(found[0].frames())
    assert [pair.blurred.pts for pair in pairs] == [0, 1, 2, 3]
    for number, pair in enumerate(pairs, 9):
        assert np.array_equal(pair.sharp, picture(number, 48, 64))
        assert np.array_equal(pair.blurred_picture(), pair.sharp - 7)
    assert [find.name for find in find_sequences(gopro)] == ["GOPR0372_07_00"]


def test_frames_that_are_left_out_part_a_sequence(tmp_path: Path) -> None:
    frames_at(tmp_path / "blur", tmp_path / "sharp", [98, 99, 100, 101, 205, 206])
    found = find_sequences(tmp_path)
    assert [sequence.name for sequence in found] == [f"{tmp_path.name} from 000098", f"{tmp_path.name} from 000205"]
    assert [len(list(sequence.frames())) for sequence in found] == [4, 2]


def test_a_folder_of_blurred_frames_may_be_named_itself(tmp_path: Path) -> None:
    frames_at(tmp_path / "hall" / "blur", tmp_path / "hall" / "sharp", [1, 2, 3])
    (found,) = find_sequences(tmp_path / "hall" / "blur")
    assert (found.name, len(list(found.frames()))) == ("blur", 3)


def test_names_without_leading_zeros_are_in_order(tmp_path: Path) -> None:
    for number in range(8, 13):
        for part in ("blur", "sharp"):
            write(tmp_path / "set" / part / f"f{number}.png", picture(number, 48, 64))
    (found,) = find_sequences(tmp_path)
    assert isinstance(found, FolderSequence)
    assert [blurred.stem for blurred, _ in found.paths] == ["f8", "f9", "f10", "f11", "f12"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: no such folder"):
        find_sequences(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no real pairs found; name a folder of clips NAME_blurred"):
        find_sequences(tmp_path)
    (tmp_path / "a").mkdir()
    make_clip(tmp_path / "a" / "x_blurred.mp4", ClipSpec(num_frames=2))
    with pytest.raises(SourceError, match=r"x_sharp\.mp4 is missing"):
        find_sequences(tmp_path / "a")
    frames_at(tmp_path / "b" / "blur", tmp_path / "b" / "sharp", [1, 2])
    (tmp_path / "b" / "sharp" / "000002.png").unlink()
    with pytest.raises(SourceError, match=r"000002\.png is missing"):
        find_sequences(tmp_path / "b")
    write(tmp_path / "c" / "val_blur" / "0.png", picture(0, 48, 64))
    with pytest.raises(SourceError, match="val_sharp is missing"):
        find_sequences(tmp_path / "c")


@pytest.mark.parametrize(
    ("of_sharp", "told"),
    [({"num_frames": 7}, "ends after 7 frames"), ({"num_frames": 20}, "ends after 12"), ({"height": 50}, "64x50")],
)
def test_clips_that_do_not_match_are_refused(tmp_path: Path, of_sharp: dict[str, int], told: str) -> None:
    clip_pair(tmp_path, "a", **of_sharp)
    (found,) = find_sequences(tmp_path)
    with pytest.raises(SourceError, match=told):
        list(found.frames())


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    frames_at(tmp_path / "blur", tmp_path / "sharp", [1, 2, 3])
    for half in ("blur", "sharp"):
        write(tmp_path / half / "000003.png", picture(3, 40, 64))
    (found,) = find_sequences(tmp_path)
    told = (
        rf"blur/000003\.png: is 64x40, but {tmp_path}/blur/000001\.png, with which its sequence begins, is 64x48;"
        " keep frames of one size in a folder"
    )
    for read in (found.frames, found.blurred_frames):
        assert len(list(read(2))) == 2
        with pytest.raises(SourceError, match=told):
            list(read())


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    frames_at(tmp_path / "a" / "blur", tmp_path / "a" / "sharp", [1, 2, 3])
    (tmp_path / "a" / "blur" / "._000001.png").write_bytes(b"of a Mac")
    frames_at(tmp_path / ".trash" / "blur", tmp_path / ".trash" / "sharp", [1, 2, 3])
    frames_at(tmp_path / "a" / "blur" / ".thumbnails", tmp_path / "a" / "sharp" / ".thumbnails", [1])
    (found,) = find_sequences(tmp_path)
    assert (found.name, len(list(found.frames()))) == ("a", 3)


def test_a_frame_that_is_no_picture_is_named(tmp_path: Path) -> None:
    frames_at(tmp_path / "blur", tmp_path / "sharp", [1, 2])
    (tmp_path / "blur" / "000002.png").write_text("no")
    (found,) = find_sequences(tmp_path)
    with pytest.raises(SourceError, match=r"blur/000002\.png: not a picture"):
        list(found.frames())


def test_more_bits_are_rounded_to_8() -> None:
    deep = np.array([0, 128, 129, 257, 65535], np.uint16).reshape(1, 5, 1)
    assert as_8_bits(deep).ravel().tolist() == [0, 0, 1, 1, 255]
    assert as_8_bits(np.array([[[-1, 0.5, 2]]], np.float32)).ravel().tolist() == [0, 128, 255]
