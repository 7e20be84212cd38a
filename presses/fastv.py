"""FastV: keep the audio tokens that the end of the prompt attends to most.

Chen et al., An Image is Worth 1/2 Tokens After Layer 2, https://arxiv.org/abs/2403.06764. The score of a token is the
attention that the last prompt token pays to it in layer K-1, mean over heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class FastV(PruningPress):
    """Top n by the last token's attention, n being the budget."""

    released: ClassVar[bool] = True
    needs_attention: ClassVar[bool] = True

    def select(self, view: PruningView) -> LongTensor:
        if view.attention is None:
            raise ValueError("fastv needs the last token's attention")
        return cast("LongTensor", view.audio[view.attention[view.audio].topk(view.keep).indices])
