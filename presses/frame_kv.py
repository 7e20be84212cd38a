"""Keeps evenly spaced audio keys: the rule of `frame` in the KV cache, a baseline for eviction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class FrameKV(EvictionPress):
    """Keeps key floor(i * L / n) for i = 0 .. n-1 in every layer and head, where n is the budget.

    Takes no parameters beyond those of `EvictionPress`; `smooth` must be 0, because the rule has no score.
    """

    scored: ClassVar[bool] = False

    def score(self, view: EvictionView) -> Tensor:
        import torch

        return torch.zeros(view.keys.shape[1], device=view.keys.device).index_fill_(
            0, self.select(view)[0], 1.0
        )

    def select(self, view: EvictionView) -> LongTensor:
        import torch

        steps = torch.arange(view.keep, device=view.audio.device)
        chosen = view.audio[steps * len(view.audio) // view.keep]
        return cast("LongTensor", chosen.expand(len(view.keys), -1))
