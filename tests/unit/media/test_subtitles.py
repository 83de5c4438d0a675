"""Subtitle packets from one text format to another, or not at all."""

import struct

import pytest

from concertdeblur.media.subtitles import LossyCueError, convert


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
