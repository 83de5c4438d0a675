"""Text subtitles from one packet format to another, where nothing is lost.

A cue is its text and the bold, italic and underlined stretches of it: SubRip, WebVTT and 3GPP timed text
(mov_text) can all say that. A packet with more (colours, positions, karaoke) is not converted.
"""

import html
import itertools
import re
import struct
from dataclasses import dataclass

CONVERTIBLE = frozenset({"subrip", "mov_text", "webvtt"})
_FACES = {"b": 1, "i": 2, "u": 4}
_TAG = re.compile(r"<(/?)([a-zA-Z]+)>")
_STYLE = struct.Struct(">HHHBB4B")  # first, end, font, faces, size, colour: one record of a 'styl' box
# FFmpeg's own default text sample entry: one font, white, bottom centre
_FONT_ID, _FONT_SIZE, _WHITE = 1, 16, (255, 255, 255, 255)
ASS_HEADER = (
    "[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, "
    "SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, "
    "BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    "Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\r\n\r\n"
    "[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


class LossyCueError(ValueError):
    """A cue has properties that the other format lacks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """Text with stretches [first, end) of characters in some faces (1 bold, 2 italic, 4 underlined)."""

    text: str
    styles: tuple[tuple[int, int, int], ...] = ()


def convert(data: bytes, source: str, target: str) -> bytes:
    """One packet's payload in another format.

    Raises:
        LossyCueError: If the target format cannot hold all of it.

    """
    return _render(_parse(data, source), target)


def _parse(data: bytes, codec: str) -> Cue:
    if codec == "mov_text":
        return _parse_mov_text(data)
    try:
        text = data.decode("utf-8").replace("\r\n", "\n").rstrip("\n\0")
    except UnicodeDecodeError as error:
        raise LossyCueError("text that is not UTF-8") from error
    return _parse_markup(text, is_escaped=codec == "webvtt")


def _parse_markup(text: str, *, is_escaped: bool) -> Cue:
    if "{\\" in text:
        raise LossyCueError("positions or effects")
    plain, styles, opened, last = "", [], [], 0
    for match in _TAG.finditer(text):
        plain += _unescaped(text[last : match.start()], is_escaped=is_escaped)
        last = match.end()
        face = _FACES.get(match[2].lower())
        if face is None:
            raise LossyCueError(f"the tag {match[0]}")
        if not match[1]:
            opened.append((face, len(plain)))
        elif opened and opened[-1][0] == face:
            styles.append((opened.pop()[1], len(plain), face))
        else:
            raise LossyCueError("tags that do not match")
    plain += _unescaped(text[last:], is_escaped=is_escaped)
    if opened:
        raise LossyCueError("tags that are not closed")
    return Cue(text=plain, styles=_flattened(styles))


def _unescaped(text: str, *, is_escaped: bool) -> str:
    if re.search(r"</?[a-zA-Z][^>]*>", text):
        raise LossyCueError("tags with attributes")
    return html.unescape(text) if is_escaped else text


def _parse_mov_text(data: bytes) -> Cue:
    length = int.from_bytes(data[:2], "big")
    try:
        text = data[2 : 2 + length].decode("utf-8")
    except UnicodeDecodeError as error:
        raise LossyCueError("text that is not UTF-8") from error
    styles: list[tuple[int, int, int]] = []
    position = 2 + length
    while position + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind != b"styl" or size < 10:
            raise LossyCueError(f"a '{kind.decode('latin-1')}' box")
        for number in range(int.from_bytes(data[position + 8 : position + 10], "big")):
            record = _STYLE.unpack_from(data, position + 10 + number * _STYLE.size)
            if record[5:] != _WHITE or record[3] & ~7:
                raise LossyCueError("coloured text")
            if record[3]:
                styles.append((record[0], record[1], record[3]))
        position += size
    return Cue(text=text, styles=tuple(styles))


def _flattened(styles: list[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Nested stretches as disjoint ones, in order, as a 'styl' box needs them."""
    borders = sorted({border for first, end, _ in styles for border in (first, end)})
    made = []
    for first, end in itertools.pairwise(borders):
        faces = 0
        for begin, stop, face in styles:
            faces |= face if begin <= first and end <= stop else 0
        if faces:
            made.append((first, end, faces))
    return tuple(made)


def _render(cue: Cue, codec: str) -> bytes:
    if codec == "mov_text":
        return _render_mov_text(cue)
    escape = codec == "webvtt"
    if not escape and cue.styles == () and _TAG.search(cue.text):
        raise LossyCueError("text that looks like tags")
    made, last = "", 0
    for first, end, faces in cue.styles:
        names = [name for name, face in _FACES.items() if faces & face]
        made += _escaped(cue.text[last:first], escape=escape) + "".join(f"<{name}>" for name in names)
        made += _escaped(cue.text[first:end], escape=escape) + "".join(f"</{name}>" for name in reversed(names))
        last = end
    return (made + _escaped(cue.text[last:], escape=escape)).encode()


def _escaped(text: str, *, escape: bool) -> str:
    return html.escape(text, quote=False) if escape else text


def _render_mov_text(cue: Cue) -> bytes:
    text = cue.text.encode()
    if len(text) > 0xFFFF:
        raise LossyCueError("more than 65535 bytes of text")
    made = len(text).to_bytes(2, "big") + text
    if cue.styles:
        records = b"".join(
            _STYLE.pack(first, end, _FONT_ID, faces, _FONT_SIZE, *_WHITE) for first, end, faces in cue.styles
        )
        made += struct.pack(">I4sH", 10 + len(records), b"styl", len(cue.styles)) + records
    return made
