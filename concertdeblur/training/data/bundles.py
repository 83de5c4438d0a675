"""Bundles are dataclasses of tensors, which are changed or joined field by field."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

BundleT = TypeVar("BundleT")


def mapped(bundle: BundleT, change: Callable[[Tensor], Tensor]) -> BundleT:
    """The bundle with each of its tensors changed, also those of bundles within it; other fields stay."""
    assert dataclasses.is_dataclass(bundle)
    changes = {field.name: _mapped(getattr(bundle, field.name), change) for field in dataclasses.fields(bundle)}
    changed: BundleT = dataclasses.replace(cast(Any, bundle), **changes)
    return changed


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_mapped(one, change) for one in value)
    return mapped(value, change) if dataclasses.is_dataclass(value) else value


def joined(kind: type[BundleT], bundles: Sequence[BundleT]) -> BundleT:
    """Several bundles as one, joined along the first axis; they may hold tensors only."""
    names = [field.name for field in dataclasses.fields(cast(Any, kind))]
    return kind(**{name: torch.cat([getattr(bundle, name) for bundle in bundles]) for name in names})
