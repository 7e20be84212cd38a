"""Keeps the most diverse tokens: each chosen token is the one farthest from all tokens chosen before.

Alvar et al., DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models,
https://arxiv.org/abs/2503.02175. The rule does not look at the question. It takes n steps over all L tokens, so it is
slower than the other presses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class DivPrune(PruningPress):
    """Chooses tokens by greedy max-min of 1 - cos(h_i, h_j) at layer K, starting with the token least like the mean.

    Takes no parameters beyond those of `PruningPress`.
    """

    def select(self, view: PruningView) -> LongTensor:
        import torch

        states = torch.nn.functional.normalize(view.hidden[view.audio].float(), dim=-1)
        chosen = torch.empty(view.keep, dtype=torch.long, device=states.device)
        chosen[0] = (states @ states.mean(dim=0)).argmin()
        nearest = states @ states[chosen[0]]
        nearest[chosen[0]] = torch.inf
        for step in range(1, view.keep):
            chosen[step] = nearest.argmin()
            nearest = torch.maximum(nearest, states @ states[chosen[step]])
            nearest[chosen[step]] = torch.inf
        return cast("LongTensor", view.audio[chosen])
