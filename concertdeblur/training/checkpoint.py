"""Checkpoints: safetensors and plain JSON. A file is written completely or not at all, and nothing is unpickled."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from concertdeblur.errors import TrainingError
from concertdeblur.settings import parse_json


def save_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer], state: dict[str, Any]
) -> None:
    """Write modules, optimizer moments and plain `state` (JSON) to `path` (.safetensors), atomically.

    Raises:
        TrainingError: If it cannot be written; then the last checkpoint stays.
    """
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value.contiguous() for key, value in module.state_dict().items()}
    for name, optimizer in optimizers.items():
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{number}/{key}": value.contiguous() for key, value in moments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        save_file({key: value.clone() for key, value in tensors.items()}, part, metadata={"state": json.dumps(state)})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: the checkpoint cannot be written ({error}); the last one is kept") from error
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return its `state`.

    Raises:
        TrainingError: If the file is unreadable or belongs to another architecture.

    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            state: dict[str, Any] = parse_json(file.metadata()["state"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: not a readable checkpoint ({error})") from error
    for name, module in modules.items():
        try:
            module.load_state_dict(_below(tensors, name))
        except RuntimeError as error:
            raise TrainingError(f"{path}: belongs to another architecture than the recipe's ({name})") from error
    for name, optimizer in optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, name).items():
            number, _, moment = key.partition("/")
            moments.setdefault(int(number), {})[moment] = value
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return state


def _below(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
