"""A plan cuts a clip as a run over it does, and each segment's frames are those of decoding from the beginning."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from concertdeblur.errors import SourceError
from concertdeblur.media.backends import open_reader
from concertdeblur.media.reader import ReaderName, ReaderOptions
from concertdeblur.pipelines.segments import cutting, planning
from concertdeblur.pipelines.segments.planning import PlannedSegment, picture_mark, plan, segment_frames
from tests.clips import VFR_PTS, ClipSpec, make_clip

_WARM_UP = 4
_OPEN = {"g": "7", "x264-params": "open-gop=1:bframes=3"}
_REFRESHED = {"g": "30", "x264-params": "intra-refresh=1:bframes=0"}  # no key frame but the first is whole


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts every 10 to 16 frames."""
    monkeypatch.setattr(cutting, "LEAST_FRAMES", 10)
    monkeypatch.setattr(cutting, "MOST_FRAMES", 16)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each search for a segment's frames found them."""
    heard: list[bool] = []
    sought = planning._sought

    def listened(*args: Any) -> Any:
        made = sought(*args)
        heard.append(made is not None)
        return made

    monkeypatch.setattr(planning, "_sought", listened)
    return heard


def planned(
    source: Path, options: ReaderOptions, reader: ReaderName = "pyav"
) -> tuple[list[PlannedSegment], Any, Fraction]:
    """The plan, the stream, and from when times are counted."""
    with open_reader(source, options, backend=reader) as opened:
        segments = list(plan(opened.frames(), _WARM_UP, in_one=False))
        return segments, opened.info, opened.origin_s


@pytest.mark.parametrize(
    ("suffix", "spec", "choices", "are_found"),
    [
        (".mp4", ClipSpec(num_frames=60, options={"g": "7"}), {}, True),
        (".mp4", ClipSpec(num_frames=60, options=_OPEN), {}, True),
        (".mkv", ClipSpec(num_frames=60, options={"g": "90"}), {}, True),
        (".mp4", ClipSpec(num_frames=60, options=_REFRESHED), {}, None),
        (".ts", ClipSpec(num_frames=60, options={"g": "7"}), {}, None),
        (".mp4", ClipSpec(num_frames=60, options={"g": "7"}), {"start_s": Fraction(1, 2), "end_s": Fraction(2)}, True),
        (".mp4", ClipSpec(pts=tuple(p + 9000 * k for k in range(4) for p in VFR_PTS)), {}, True),
    ],
)
def test_the_frames_of_a_segment_are_found_again(
    tmp_path: Path, searches: list[bool], suffix: str, spec: ClipSpec, choices: Any, are_found: bool | None
) -> None:
    source, options = make_clip(tmp_path / f"in{suffix}", spec), ReaderOptions(**choices)
    segments, info, origin_s = planned(source, options)
    with open_reader(source, options) as reader:
        everything = [(frame.pts, frame.duration, picture_mark(frame)) for frame in reader.frames()]
    assert len(segments) > 2
    assert [segment.start for segment in segments[1:]] == [one.start + one.num_frames for one in segments[:-1]]
    assert sum(segment.num_frames for segment in segments) == len(everything)
    assert all(10 <= segment.num_frames <= 16 for segment in segments[:-1])
    for segment in segments:
        assert segment.begin == max(0, segment.start - _WARM_UP)
        with segment_frames(source, options, "pyav", segment, info, origin_s) as frames:
            made = [(frame.pts, frame.duration, picture_mark(frame)) for frame in frames]
        assert made == everything[segment.begin :]
    assert searches[0] is False  # the first begins where the clip does
    if are_found is not None:
        assert searches[1:] == [are_found] * (len(segments) - 1)


def test_a_reader_without_native_pictures(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    segments, info, origin_s = planned(source, ReaderOptions(), "decord")
    assert [segment.num_frames for segment in segments] == [16, 16, 8]  # it knows no key frames
    with segment_frames(source, ReaderOptions(), "decord", segments[1], info, origin_s) as frames:
        assert [frame.pts for frame in frames][: len(segments[1].pts)] == list(segments[1].pts)


def test_a_clip_in_one_piece_is_one_segment(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    with open_reader(source, ReaderOptions()) as reader:
        (segment,) = plan(reader.frames(), _WARM_UP, in_one=True)
    assert (segment.start, segment.num_frames, segment.marks) == (0, 40, ())


def test_what_cannot_be_searched_is_read_from_the_beginning(
    tmp_path: Path, searches: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    segments, info, origin_s = planned(source, ReaderOptions())
    wrong = PlannedSegment(
        number=1, start=segments[1].start, num_frames=segments[1].num_frames, begin=segments[1].begin,
        pts=segments[1].pts, marks=(0,) * _WARM_UP,
    )  # fmt: skip
    with segment_frames(source, ReaderOptions(), "pyav", wrong, info, origin_s) as frames:
        assert [frame.pts for frame in frames][: len(wrong.pts)] == list(wrong.pts)
    assert searches == [False]


def test_another_clip_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", ClipSpec(num_frames=40))
    segments, info, origin_s = planned(source, ReaderOptions())
    make_clip(source, ClipSpec(num_frames=20))
    with (
        segment_frames(source, ReaderOptions(), "pyav", segments[1], info, origin_s) as frames,
        pytest.raises(SourceError, match=r"in\.mp4: is read otherwise than when it was cut into segments"),
    ):
        list(frames)
