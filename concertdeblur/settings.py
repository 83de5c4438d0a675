"""TOML files read into frozen dataclasses; an unknown key is an error that names the nearest known one. And JSON."""

import dataclasses
import difflib
import hashlib
import json
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from concertdeblur.errors import SettingsError

T = TypeVar("T")
_SEAL = "sum_of_all_else"  # a key of what is sealed


def read_settings(path: Path, cls: type[T]) -> T:
    """Read a TOML file as an instance of a (nested) frozen dataclass.

    Raises:
        SettingsError: If the file cannot be read, holds an unknown key, lacks one, or a value has the wrong type.

    """
    return settings_from_table(read_table(path), cls, where=str(path))


def read_table(path: Path) -> dict[str, Any]:
    """Plain data of a TOML file.

    Raises:
        SettingsError: If it cannot be read.

    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error})") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: not a TOML file of ours (too many brackets within brackets)") from error


def parse_json(text: str | bytes) -> Any:
    """Plain data of a JSON document.

    Raises:
        ValueError: If it is none, or nested more deeply than anything of ours.

    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too many brackets within brackets") from error


def sealed(plain: dict[str, Any]) -> dict[str, Any]:
    """What JSON makes of plain data, with a sum over all of it, by which `unsealed` sees damage."""
    as_read: dict[str, Any] = json.loads(json.dumps(plain))
    return {**as_read, _SEAL: _sum(as_read)}


def unsealed(plain: Any) -> dict[str, Any]:
    """Plain data without its sum; what has none is from an older version and taken as it is.

    Raises:
        ValueError: If it is no table, or another one than was sealed.

    """
    if not isinstance(plain, dict):
        raise ValueError("is no table")
    kept = {key: value for key, value in plain.items() if key != _SEAL}
    if _SEAL in plain and plain[_SEAL] != _sum(kept):
        raise ValueError("is not as it was written")
    return kept


def _sum(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def check_least(settings: object, **least: float) -> None:
    """Refuse settings that are less than they may be, by their names.

    Raises:
        ValueError: If one is, or is no number.
    """
    for name, number in least.items():
        value = getattr(settings, name)
        if not value >= number:
            raise ValueError(f"{name} must be {number} at least, but it is {value}")


def settings_from_table(table: dict[str, Any], cls: type[T], *, where: str) -> T:
    """Build a (nested) dataclass from plain data; `where` names the source in messages.

    Raises:
        SettingsError: As `read_settings`.

    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0)
            hint = f"; the nearest known key is '{nearest[0]}'" if nearest else ""
            raise SettingsError(f"{where}: unknown key '{key}'{hint}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _converted(table[name], hints[name], where=f"{where}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{where}: key '{name}' is missing")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{where}: {error}") from error


def _converted(value: Any, hint: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return settings_from_table(value, hint, where=where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            raise SettingsError(f"{where}: {value!r} is none of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{where}: expected a list, found {value!r}")
        return tuple(_converted(item, arguments[0], where=where) for item in value)
    if origin in (typing.Union, types.UnionType):
        table = next((inner for inner in arguments if dataclasses.is_dataclass(inner)), None)
        return value if table is None or value is None else _converted(value, table, where=where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise SettingsError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
