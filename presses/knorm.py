"""Keep the keys with the smallest norm, which tend to be attended to most.

Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression,
https://arxiv.org/abs/2406.11430.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Knorm(EvictionPress):
    """Score: minus the key's L2 norm, per key head."""

    def score(self, view: EvictionView) -> Tensor:
        norms: Tensor = view.keys.float().norm(dim=-1)
        return -norms
