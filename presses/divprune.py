"""Keeps the most diverse tokens: each chosen token is the one farthest from all tokens chosen before.

Alvar et al., DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models,
https://arxiv.org/abs/2503.02175. The rule does not look at the question. It takes n steps over all L tokens, so it is
slower than the other presses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


#: Rows of the table of cosines in memory at once.
_BLOCK = 512


@dataclass(frozen=True)
class DivPrune(PruningPress):
    """Chooses tokens by greedy max-min of 1 - cos(h_i, h_j) at layer K; the first is the one whose nearest is farthest.

    Takes no parameters beyond those of `PruningPress`.
    """

    version: ClassVar[int] = 2
    differs: ClassVar[str] = "the paper chooses among the encoder's output tokens, this press at layer K"

    def select(self, view: PruningView) -> LongTensor:
        import torch

        states = torch.nn.functional.normalize(view.hidden[view.audio].float(), dim=-1)
        chosen = torch.empty(view.keep, dtype=torch.long, device=states.device)
        chosen[0] = highest_scores(-_nearest(states), 1)[0]
        nearest = states @ states[chosen[0]]
        nearest[chosen[0]] = torch.inf
        for step in range(1, view.keep):
            chosen[step] = nearest.argmin()
            nearest = torch.maximum(nearest, states @ states[chosen[step]])
            nearest[chosen[step]] = torch.inf
        return cast("LongTensor", view.audio[chosen])


def _nearest(states: Tensor) -> Tensor:
    """Return each token's cosine [L] to the token most like it, block by block: L x L would take much memory."""
    import torch

    found = []
    for at in range(0, len(states), _BLOCK):
        cosine = states[at : at + _BLOCK] @ states.T
        rows = torch.arange(len(cosine), device=states.device)
        cosine[rows, rows + at] = -torch.inf
        found.append(cosine.max(dim=1).values)
    return torch.cat(found)
