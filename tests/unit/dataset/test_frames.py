"""The list of picked frames: written whole, read with care."""

from pathlib import Path

import pytest

from concertdeblur.dataset.frames import FRAMES_FILE, Box, FrameRecord, read_frames, write_frames
from concertdeblur.errors import DatasetError


def record(frame_id: str = "a1", **changes: object) -> FrameRecord:
    facts = {"source": "Zoë\u2028live", "timestamp_s": 1.5, "sharpness": 0.7, "picture": f"frames/{frame_id}.jpg"}
    return FrameRecord(frame_id=frame_id, **{**facts, **changes})  # type: ignore[arg-type]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    records = [record(), record("b2", shot_type="CU", confidence=0.5, faces=(Box(1, 2, 30, 40), Box(0, 0, 5, 5)))]
    write_frames(tmp_path, records)
    assert read_frames(tmp_path) == records
    assert [path.name for path in tmp_path.iterdir()] == [FRAMES_FILE]


def test_a_folder_without_the_list_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data set .* is here"):
        read_frames(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "null",
        "{}",
        '{"frame_id": "a", "source": "s", "timestamp_s": "now", "sharpness": 1, "picture": "p"}',
        '{"frame_id": "a", "source": "s", "timestamp_s": 1, "sharpness": 1, "picture": "../p"}',
        '{"frame_id": "a", "source": "s", "timestamp_s": 1, "sharpness": 1, "picture": "p", "faces": [[1]]}',
        '{"frame_id": "a", "source": "s", "timestamp_s": 1, "sharpness": 1, "picture": "p", "faces": 3}',
    ],
)
def test_a_list_edited_into_nonsense_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    write_frames(tmp_path, [record()])
    with (tmp_path / FRAMES_FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match="line 2: is no frame"):
        read_frames(tmp_path)


@pytest.mark.parametrize("picture", ["/etc/passwd", "../up.png", "a/../../up.png", "a\\..\\up.png"])
def test_a_preview_lies_inside_the_data_set(picture: str) -> None:
    with pytest.raises(ValueError, match="inside the data set"):
        record(picture=picture)
