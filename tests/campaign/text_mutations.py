"""Damage to TOML, JSON and lists: by lines, by values, and by bytes."""

import json
import random
import re
from typing import Any

from tests.campaign.mutations import Mutation, damaged

_VALUES = (
    "-1", "0", "1e308", "-1e308", "nan", "inf", "999999999999999999999", "true", '""', '"x"', "[]", "{}", "[[[[]]]]",
    '"../../etc/passwd"', '"\\u0000"', "[1, 2, 3]", "null", "1.5", "'", "[" * 3000,
)  # fmt: skip
_ODD_BYTES = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\xc3", "\u2028".encode(), b'"', b"[" * 3000, b"x" * 100_000)
_VALUE = re.compile(rb'(?<=[=:,\[] )(?:-?[\d.]+|"[^"]*"|true|false)')


def damaged_text(data: bytes, suffix: str, draw: random.Random) -> Mutation:
    """A text file damaged once or a few times."""
    said = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        match draw.randrange(6):
            case 0:
                data, told = damaged(data, suffix, draw)
            case 1:
                data, told = _other_lines(data, draw)
            case 2 if suffix in (".json", ".jsonl"):
                data, told = _other_node(data, draw)
            case 3:
                at, odd = draw.randrange(len(data) + 1), draw.choice(_ODD_BYTES)
                data, told = data[:at] + odd + data[at:], f"{odd[:4]!r} at {at}"
            case _:
                data, told = _other_value(data, draw)
        said.append(told)
    return data, ", ".join(said)


def _other_value(data: bytes, draw: random.Random) -> Mutation:
    found = list(_VALUE.finditer(data))
    if not found:
        return data + b"\nx = 1\n", "one line more"
    one, value = draw.choice(found), draw.choice(_VALUES)
    return data[: one.start()] + value.encode() + data[
        one.end() :
    ], f"{one[0].decode(errors='replace')} is {value[:40]}"


def _other_lines(data: bytes, draw: random.Random) -> Mutation:
    lines = data.splitlines(keepends=True) or [b"\n"]
    first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(4):
        case 0:
            told = f"without line {first + 1}"
            del lines[first]
        case 1:
            told = f"line {first + 1} again before {second + 1}"
            lines.insert(second, lines[first])
        case 2:
            told = f"lines {first + 1} and {second + 1} swapped"
            lines[first], lines[second] = lines[second], lines[first]
        case _:
            told = f"another key in line {first + 1}"
            lines[first] = re.sub(rb"\w+", b"other", lines[first], count=1)
    return b"".join(lines), told


def _other_node(data: bytes, draw: random.Random) -> Mutation:
    """One value somewhere in a JSON document, or in one of its lines, is another; its keys may go."""
    lines = data.decode(errors="replace").splitlines()
    is_of_lines = bool(lines) and lines[0].startswith("{") and lines[0].endswith("}")
    number = draw.randrange(len(lines)) if is_of_lines else 0
    try:
        tree: Any = json.loads(lines[number] if is_of_lines else data)
    except ValueError:
        return data[:-1], "without the last byte"
    told = _change(tree, draw)
    text = json.dumps(tree)
    if is_of_lines:
        lines[number] = text
        text = "\n".join(lines) + "\n"
    return text.encode(), told


def _change(tree: Any, draw: random.Random) -> str:
    """Change one node of a tree in its place."""
    places = list(_places(tree))
    if not places:
        return "nothing to change"
    above, key = draw.choice(places)
    if isinstance(above, dict) and draw.random() < 0.2:
        del above[key]
        return f"without {key}"
    value: Any = draw.choice(
        (None, -1, 0, 10**30, 1e300, "", "x", "../x", [], {}, True, [None], {"x": 1}, "\0", float("nan"))
    )
    told = f"{key} was {str(above[key])[:40]!r}, is {value!r}"
    above[key] = value
    return told


def _places(tree: Any) -> Any:
    """(what holds it, its key) of every node."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)
