"""Bundles: dataclasses whose tensors are changed, or joined, field by field."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

BundleT = TypeVar("BundleT")


def mapped(bundle: BundleT, change: Callable[[Tensor], Tensor]) -> BundleT:
    """The bundle with each of its tensors changed; what is no tensor stays."""
    assert dataclasses.is_dataclass(bundle)
    tensors: dict[str, Any] = {
        field.name: change(value)
        for field in dataclasses.fields(bundle)
        if isinstance(value := getattr(bundle, field.name), Tensor)
    }
    changed: BundleT = dataclasses.replace(cast(Any, bundle), **tensors)
    return changed


def joined(kind: type[BundleT], bundles: Sequence[BundleT]) -> BundleT:
    """Bundles of nothing but tensors as one, along the first axis."""
    names = [field.name for field in dataclasses.fields(cast(Any, kind))]
    return kind(**{name: torch.cat([getattr(bundle, name) for bundle in bundles]) for name in names})
