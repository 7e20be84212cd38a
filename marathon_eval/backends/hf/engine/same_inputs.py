"""Compares two sets of model inputs bit by bit; results are reused for equal inputs only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether both are equal: tensors by type, device and content, mappings and sequences by their parts."""
    return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        comparable = a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
        return a is b or (comparable and torch.equal(a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and same(list(a.values()), [b[name] for name in a])
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return same(a, b)
    return type(a) is type(b) and bool(a == b)
