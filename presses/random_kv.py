"""Evicts audio keys at random, the same ones in every layer and head: the baseline for eviction rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RandomKV(EvictionPress):
    """Scores each position by a uniform draw that depends on seed, audio and prompt.

    Parameters
    ----------
    seed : int, default 0
        Seed of the draw, together with the audio's content and the prompt.
    """

    def score(self, view: EvictionView) -> Tensor:
        import torch

        return torch.rand(view.keys.shape[1], generator=view.generator).to(view.keys.device)
