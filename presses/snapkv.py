"""Keep what the end of the context attends to, smoothed over neighbours.

Li et al., SnapKV: LLM Knows What You are Looking for Before Generation, https://arxiv.org/abs/2404.14469. With
`evict=context` the window is the last audio tokens, so the rule does not know the question; with `evict=prompt` it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.api.press_scores import windowed_scores

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SnapKV(EvictionPress):
    """Score: mean attention of the last `window` queries, averaged over `kernel` neighbours; the window stays."""

    window: int = 64
    kernel: int = 5

    def score(self, view: EvictionView) -> Tensor:
        return windowed_scores(view, self.kernel)
