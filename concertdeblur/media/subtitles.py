"""Text subtitles from one packet format to another, where nothing is lost.

A cue is its text and the bold, italic and underlined stretches of it: SubRip, WebVTT and 3GPP timed text
(mov_text) can all say that. A packet with more (colours, positions, karaoke) is not converted.

mov_text shows one sample at a time. So where cues overlap, each interval gets a sample with the text of all of them.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A packet's payload with its time, in units of the stream's time base."""

    begin: int
    duration: int  # 0 if it is not known
    data: bytes


@dataclass(slots=True)
class _Shown:
    """A cue on screen."""

    end: int | None  # None: until the next one begins
    cue: Cue


class CueConverter:
    """The cues of one stream, in the order of their beginnings, in another format."""

    def __init__(self, source: str, target: str) -> None:
        """Set the conversion.

        Args:
            source: FFmpeg's name of a codec in `CONVERTIBLE`.
            target: As source.

        """
        self._source, self._target = source, target
        self._shown: list[_Shown] = []  # not given yet, as further cues may begin before these end
        self._at = 0  # from when on they are not given

    def convert(self, begin: int, duration: int, data: bytes) -> list[Sample]:
        """Take the next cue, and give what is complete now.

        Args:
            begin: When it is shown first, in units of the stream's time base.
            duration: How long, in the same units; 0 if that is not known.
            data: The packet.

        Raises:
            LossyCueError: If the target format cannot hold all of it.

        """
        cue = _parse(data, self._source)
        if not cue.text:  # mov_text ends a cue with an empty sample
            return []
        if self._target != "mov_text":
            return [Sample(begin=begin, duration=duration, data=_render(cue, self._target))]
        made = self._until(begin)
        if not self._shown:
            self._at = begin
        end = begin + duration if duration else None
        if end is not None and end <= self._at:
            raise LossyCueError("cues that are not in order")
        self._shown.append(_Shown(end, cue))
        return made

    def ended(self, time: int) -> list[Sample]:
        """What is complete if every cue that begins before a moment has come."""
        made: list[Sample] = []
        while (ends := self._ends()) and min(ends) <= time:
            made += self._piece(min(ends))
        return made

    def rest(self) -> list[Sample]:
        """What is left at the end."""
        made = self.ended(max(self._ends(), default=0))
        if self._shown:
            made += self._piece(self._at)
        return made

    def _until(self, begin: int) -> list[Sample]:
        """What is shown before the next cue begins."""
        made = self.ended(begin)
        if self._shown and self._at < begin:
            made += self._piece(begin)
            self._shown = [each for each in self._shown if each.end is not None]
        return made

    def _ends(self) -> list[int]:
        return [each.end for each in self._shown if each.end is not None]

    def _piece(self, end: int) -> list[Sample]:
        """All cues that are shown now, until some end or another begins."""
        sample = Sample(begin=self._at, duration=end - self._at, data=_render(_together(self._shown), self._target))
        self._at = end
        self._shown = [each for each in self._shown if each.end is None or each.end > end]
        return [sample]


def _together(shown: list[_Shown]) -> Cue:
    """Cues one below the other."""
    text, styles = "", []
    for each in shown:
        text += "\n" if text else ""
        styles += [(first + len(text), end + len(text), faces) for first, end, faces in each.cue.styles]
        text += each.cue.text
    return Cue(text=text, styles=tuple(styles))


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
        num_records = int.from_bytes(data[position + 8 : position + 10], "big")
        if position + 10 + num_records * _STYLE.size > len(data):
            raise LossyCueError("a damaged 'styl' box")
        for number in range(num_records):
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
