"""Keep what the last token of the context attends to.

Oren et al., Transformers are Multi-State RNNs, https://arxiv.org/abs/2401.06104. With `evict=context` the last token
is the last of the audio, so the rule does not know the question; with `evict=prompt` it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tova(EvictionPress):
    """Score: the last query's attention, mean over all heads; the last key itself always stays."""

    window: int = 1

    def score(self, view: EvictionView) -> Tensor:
        scores = view.attention[:, -1].mean(dim=0)
        scores[-1] = scores[:-1].max() + 1 if len(scores) > 1 else 1.0
        return scores
