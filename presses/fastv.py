"""Keeps the audio tokens to which the last prompt token attends most (FastV).

Chen et al., An Image is Worth 1/2 Tokens After Layer 2, https://arxiv.org/abs/2403.06764.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class FastV(PruningPress):
    """Keeps the n audio tokens with the largest attention of the last prompt token in layer K-1, averaged over heads.

    Takes no parameters beyond those of `PruningPress`; `layer` must be at least 1.
    """

    version: ClassVar[int] = 2
    released: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def select(self, view: PruningView) -> LongTensor:
        if view.attention is None:
            raise ValueError("fastv needs the last token's attention")
        attention = view.attention[view.audio]
        # the released code breaks ties as topk does
        picked = attention.topk(view.keep).indices if self.compat else highest_scores(attention, view.keep)
        return cast("LongTensor", view.audio[picked])
