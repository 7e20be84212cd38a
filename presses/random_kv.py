"""Evict audio keys at random, the same ones in every layer and head: the floor for eviction, as `random` is for pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RandomKV(EvictionPress):
    """Score: a uniform draw per position, from (seed, audio, prompt)."""

    def score(self, view: EvictionView) -> Tensor:
        import torch

        return torch.rand(view.keys.shape[1], generator=view.generator).to(view.keys.device)
