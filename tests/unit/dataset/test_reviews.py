"""Decisions on frames: saved at once, read with care."""

import resource
from pathlib import Path

import pytest

from concertdeblur.dataset.reviews import REVIEWS_FILE, Review, ReviewLog, read_reviews
from concertdeblur.dataset.shot_types import ShotType
from concertdeblur.errors import DatasetError, TargetError

GOOD = '{"frame_id": "a", "keep": true, "shot_type": "LS"}\n'


def test_nothing_reviewed_is_no_reviews(tmp_path: Path) -> None:
    assert read_reviews(tmp_path) == {}


def test_a_decision_is_on_the_disk_at_once_and_the_last_one_counts(tmp_path: Path) -> None:
    with ReviewLog(tmp_path) as log:
        log.add("a", Review(keep=True, shot_type=ShotType.CU))
        assert read_reviews(tmp_path) == {"a": Review(keep=True, shot_type=ShotType.CU)}
        log.add("a", Review(keep=False))
        log.add("b", Review(keep=True))
        log.add("b", None)
        assert read_reviews(tmp_path) == log.reviews == {"a": Review(keep=False)}
    assert (tmp_path / REVIEWS_FILE).read_text().count("\n") == 4


def test_a_decision_that_a_full_disk_refused_leaves_no_trace(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ReviewLog(tmp_path) as log:
        log.add("a", Review(keep=True))
        length = (tmp_path / REVIEWS_FILE).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (length + 9, limits[1]))  # a part of the line has room
        try:
            with pytest.raises(TargetError, match="cannot be written"):
                log.add("a", Review(keep=False))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert read_reviews(tmp_path) == log.reviews == {"a": Review(keep=True)}
        log.add("b", Review(keep=False))
    assert read_reviews(tmp_path) == {"a": Review(keep=True), "b": Review(keep=False)}


def test_the_beginning_of_a_killed_writers_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / REVIEWS_FILE
    path.write_text(GOOD + '{"frame_id": "b", "ke')
    assert list(read_reviews(tmp_path)) == ["a"]
    with ReviewLog(tmp_path) as log:
        log.add("c", Review(keep=True))
    assert list(read_reviews(tmp_path)) == ["a", "c"]


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / REVIEWS_FILE).write_text(GOOD.strip())
    with ReviewLog(tmp_path) as log:
        log.add("c", Review(keep=True))
    assert list(read_reviews(tmp_path)) == ["a", "c"]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "3",
        "{}",
        '{"frame_id": 3, "keep": true, "shot_type": null}',
        '{"frame_id": "a", "keep": "yes", "shot_type": null}',
        '{"frame_id": "a", "keep": true, "shot_type": "ZZ"}',
    ],
)
def test_a_list_edited_into_nonsense_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / REVIEWS_FILE).write_text(f"{GOOD}{line}\n{GOOD}")
    with pytest.raises(DatasetError, match="line 2: is no review"):
        read_reviews(tmp_path)
    with pytest.raises(DatasetError, match="line 2: is no review"):
        ReviewLog(tmp_path)
    (tmp_path / REVIEWS_FILE).write_bytes(b"\xff\n")
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_reviews(tmp_path)


def test_two_reviews_at_once_are_refused(tmp_path: Path) -> None:
    with ReviewLog(tmp_path), pytest.raises(DatasetError, match="already"):
        ReviewLog(tmp_path)
    ReviewLog(tmp_path).close()
