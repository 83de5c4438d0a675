"""Mined windows on disk: mining is done once, and a stage that goes on finds the same windows."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

WindowsT = TypeVar("WindowsT")


def save_windows(path: Path, windows: Any, origin: dict[str, Any]) -> None:
    """Write a dataclass of tensors, atomically, with plain data on what they were mined with."""
    tensors = {field.name: getattr(windows, field.name).contiguous() for field in dataclasses.fields(windows)}
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"origin": json.dumps(origin, sort_keys=True)})
    part.replace(path)


def load_windows(path: Path, kind: type[WindowsT], origin: dict[str, Any]) -> WindowsT | None:
    """Read what `save_windows` wrote; None if there is nothing, or it was mined with something else."""
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata()["origin"] != json.dumps(origin, sort_keys=True):
                return None
            return kind(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
