"""Subtitle packets from one text format to another, or not at all."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertdeblur.media.subtitles import CueConverter, LossyCueError


def convert(data: bytes, source: str, target: str) -> bytes:
    """One cue in another format."""
    converter = CueConverter(source, target)
    (sample,) = converter.convert(0, 10, data) + converter.rest()
    return sample.data


@pytest.mark.parametrize(
    "markup", ["Plain", "Zwölf\nzwei", "<b>Bold</b> and <i>italic</i>", "<u>one</u> <b>two</b> 3 > 2"]
)
def test_there_and_back_is_the_same(markup: str) -> None:
    timed = convert(markup.encode(), "subrip", "mov_text")
    assert convert(timed, "mov_text", "subrip").decode() == markup
    assert convert(convert(markup.encode(), "subrip", "webvtt"), "webvtt", "subrip").decode() == markup


def test_styles_become_a_styl_box() -> None:
    made = convert("a <b>ß</b>".encode(), "subrip", "mov_text")
    assert made[:6] == struct.pack(">H", 4) + "a ß".encode()[:4]
    box = made[6:]
    assert struct.unpack(">I4sH", box[:10]) == (len(box), b"styl", 1)
    assert struct.unpack(">HHHB", box[10:17]) == (2, 3, 1, 1)  # characters 2 to 3, font 1, bold


def test_nested_styles_become_disjoint_ones() -> None:
    timed = convert(b"<b>one <i>two</i></b>", "subrip", "mov_text")
    assert convert(timed, "mov_text", "subrip") == b"<b>one </b><b><i>two</i></b>"


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (b'<font color="red">x</font>', "subrip"),
        (b"{\\an8}top", "subrip"),
        (b"<b>open", "subrip"),
        (b"<b><i>crossed</b></i>", "subrip"),
        (b"\xff\xfe", "subrip"),
        (b"<c.red>x</c>", "webvtt"),
        (b"\x00\x01x" + struct.pack(">I4sI", 12, b"hlit", 0), "mov_text"),
        (b"\x00\x01x" + struct.pack(">I4sHHHHBB4B", 22, b"styl", 1, 0, 1, 1, 0, 16, 255, 0, 0, 255), "mov_text"),
        (b"\x00\x01x" + struct.pack(">I4sHHHHBB4B", 22, b"styl", 9, 0, 1, 1, 0, 16, 255, 255, 255, 255), "mov_text"),
        (b"\x00\x01x" + struct.pack(">I4sH", 10, b"styl", 1), "mov_text"),
    ],
)
@pytest.mark.parametrize("target", ["subrip", "mov_text", "webvtt"])
def test_what_would_be_lost_is_not_converted(data: bytes, codec: str, target: str) -> None:
    with pytest.raises(LossyCueError):
        convert(data, codec, target)


def test_text_that_looks_like_tags_is_not_turned_into_tags() -> None:
    with pytest.raises(LossyCueError):
        convert(b"\x00\x05a<b>c", "mov_text", "subrip")
    assert convert(b"\x00\x05a<b>c", "mov_text", "webvtt") == b"a&lt;b&gt;c"


def samples_of(cues: list[tuple[int, int, str]], *, looks: bool = False) -> list[tuple[int, int, str]]:
    """The samples of cues (begin, duration, text), all in mov_text; with `looks` what is complete is taken early."""
    converter, made = CueConverter("subrip", "mov_text"), []
    for begin, duration, text in cues:
        made += converter.ended(begin - 1) if looks else []
        made += converter.convert(begin, duration, text.encode())
    made += converter.rest()
    return [(sample.begin, sample.duration, sample.data[2:].decode()) for sample in made]


def test_cues_that_overlap_share_their_samples() -> None:
    assert samples_of([(100, 400, "a"), (100, 700, "b"), (300, 300, "c"), (900, 50, "d")]) == [
        (100, 200, "a\nb"),
        (300, 200, "a\nb\nc"),
        (500, 100, "b\nc"),
        (600, 200, "b"),
        (900, 50, "d"),
    ]
    assert samples_of([(0, 0, "a"), (0, 5, "b"), (9, 0, "c")]) == [(0, 5, "a\nb"), (5, 4, "a"), (9, 0, "c")]
    styled = convert_all([b"one", b"<b>two</b>"])
    assert styled == [
        struct.pack(">H", 7) + b"one\ntwo" + struct.pack(">I4sHHHHBB4B", 22, b"styl", 1, 4, 7, 1, 1, 16, *[255] * 4)
    ]


def convert_all(texts: list[bytes]) -> list[bytes]:
    """The samples of cues that are all shown together."""
    converter = CueConverter("subrip", "mov_text")
    made = [sample for text in texts for sample in converter.convert(0, 10, text)]
    return [sample.data for sample in made + converter.rest()]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), max_size=12), st.booleans())
def test_at_every_moment_those_cues_are_shown_that_were(steps: list[tuple[int, int]], looks: bool) -> None:
    cues, begin = [], 0
    for number, (step, duration) in enumerate(steps):
        begin += step
        cues.append((begin, duration, str(number)))
    made = samples_of(cues, looks=looks)
    for moment in range(begin + 13):
        wanted = [text for first, duration, text in cues if first <= moment < first + duration]
        shown = [text for first, duration, text in made if first <= moment < first + duration]
        assert shown == (["\n".join(wanted)] if wanted else [])


def test_cues_that_are_not_in_order_are_refused() -> None:
    with pytest.raises(LossyCueError, match="order"):
        samples_of([(0, 10, "a"), (20, 10, "b"), (5, 5, "c")])
