"""Keeps the keys that received the most attention so far, the heavy hitters, and the most recent ones.

Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models,
https://arxiv.org/abs/2306.14048. `evict=decode` is the published rule: the budget counts keys of all tokens, and one
leaves at every decoding step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import EvictionPress, EvictionView, StepView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class H2O(EvictionPress):
    """Keeps the last half of the budget, and of the keys before those with the most attention received in sum.

    Takes no parameters beyond those of `EvictionPress`.
    """

    differs: ClassVar[str] = (
        "unless evict=decode, audio keys alone are evicted, and once; query heads that share a key vote together"
    )
    needs_received: ClassVar[bool] = True
    while_decoding: ClassVar[bool] = True

    def score(self, view: EvictionView) -> Tensor:
        if view.received is None:
            raise ValueError("h2o needs the attention that keys received")
        recent = view.audio[len(view.audio) - view.keep // 2 :]
        scores = view.received.clone()
        scores[:, recent] += scores.max() + 1
        return scores

    def select_step(self, view: StepView) -> LongTensor:
        import torch

        length, recent = view.received.shape[1], view.keep // 2
        heavy = highest_scores(view.received[:, : length - recent], view.keep - recent).sort(dim=1).values
        last = torch.arange(length - recent, length, device=heavy.device).expand(len(heavy), -1)
        return cast("LongTensor", torch.cat([heavy, last], dim=1))
