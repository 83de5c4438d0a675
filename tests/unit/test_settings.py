"""TOML to dataclasses: every mistake is one sentence that says where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from concertdeblur.errors import SettingsError
from concertdeblur.settings import parse_json, read_settings, sealed, unsealed


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    rate: float
    name: str = "a"

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must not be negative, but {self.rate = }")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    kind: Literal["x", "y"]
    inner: Inner
    many: tuple[Inner, ...] = ()
    count: int = 1
    is_on: bool = False
    top: float | None = None


def read(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "a.toml"
    path.write_text(text)
    return read_settings(path, Outer)


def test_nested_tables_and_lists(tmp_path: Path) -> None:
    made = read(tmp_path, 'kind = "y"\ntop = 0.5\ninner = { rate = 2 }\nmany = [{ rate = 1.5, name = "b" }]')
    assert made == Outer(kind="y", inner=Inner(rate=2.0), many=(Inner(rate=1.5, name="b"),), top=0.5)
    assert isinstance(made.inner.rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "x"', "'inner' is missing"),
        ('kind = "z"\ninner = { rate = 1 }', "'z' is none of 'x', 'y'"),
        ('kind = "x"\ninner = { rat = 1 }', "unknown key 'rat'; the nearest known key is 'rate'"),
        ('kind = "x"\ninner = { rate = "fast" }', "expected float, found 'fast'"),
        ('kind = "x"\ninner = { rate = 1 }\ncount = 1.5', "expected int"),
        ('kind = "x"\ninner = { rate = 1 }\ncount = true', "expected int"),
        ('kind = "x"\ninner = { rate = -1 }', "rate must not be negative"),
        ("kind = ", "not a TOML file"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "none.toml", Outer)


def test_brackets_without_end_are_a_mistake_like_others(tmp_path: Path) -> None:
    (tmp_path / "in.toml").write_text("name = " + "[" * 50_000)
    with pytest.raises(SettingsError, match="brackets within brackets"):
        read_settings(tmp_path / "in.toml", Inner)
    with pytest.raises(ValueError, match="brackets within brackets"):
        parse_json("[" * 50_000)


def test_what_is_sealed_comes_back_and_damage_is_seen() -> None:
    told = sealed({"a": (1, 2), "b": {"c": 0.1, "d": None}})
    assert unsealed(told) == {"a": [1, 2], "b": {"c": 0.1, "d": None}}
    damages: tuple[Any, ...] = ({**told, "a": [1, 3]}, {**told, "more": 1}, {**told, "sum_of_all_else": 0}, [], None)
    for damaged in damages:
        with pytest.raises(ValueError, match=r"is (not as it was written|no table)"):
            unsealed(damaged)
    assert unsealed({"a": 1}) == {"a": 1}  # older files have no sum
