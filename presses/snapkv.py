"""Keeps the keys to which the end of the context attends most, smoothed over neighbouring keys.

Li et al., SnapKV: LLM Knows What You are Looking for Before Generation, https://arxiv.org/abs/2404.14469. With
`evict=context` the window holds the last audio tokens, so the rule cannot depend on the question; with `evict=prompt`
the window is the end of the prompt, which contains the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.api.press_scores import windowed_scores

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SnapKV(EvictionPress):
    """Scores a key by the mean attention of the last `window` queries, averaged over `kernel` neighbours.

    As in the paper, the window's own keys are always kept, within the budget; the window is shortened so that its keys
    take at most half of it.

    Parameters
    ----------
    window : int, default 64, at least 1
        Number of queries at the end of the context whose attention is averaged.
    kernel : int, default 5, at least 1
        Number of neighbouring keys over which the attention is averaged.
    """

    version: ClassVar[int] = 2
    at_least: ClassVar[Mapping[str, int]] = {"window": 1, "kernel": 1}
    differs: ClassVar[str] = "the window is shortened where its keys would take over half the budget"
    window: int = 64
    kernel: int = 5

    def score(self, view: EvictionView) -> Tensor:
        return windowed_scores(view, self.kernel)
