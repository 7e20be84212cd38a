"""Keeps the keys with the smallest norm, to which models tend to attend most.

Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression,
https://arxiv.org/abs/2406.11430.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Knorm(EvictionPress):
    """Scores a key by its negative L2 norm, -||k||, per key head.

    Takes no parameters beyond those of `EvictionPress`.
    """

    version: ClassVar[int] = 2

    def score(self, view: EvictionView) -> Tensor:
        norms: Tensor = view.keys.float().norm(dim=-1)
        return -norms
