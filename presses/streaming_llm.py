"""Keeps the first few audio keys (attention sinks) and the most recent ones, whatever their content.

Xiao et al., Efficient Streaming Language Models with Attention Sinks, https://arxiv.org/abs/2309.17453. The first
tokens of the prompt are text and are never evicted; `sinks` counts audio keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StreamingLLM(EvictionPress):
    """Scores a key by its position, except that the first `sinks` audio keys have the highest scores.

    Parameters
    ----------
    sinks : int, default 4, at least 0
        Number of audio keys at the start that are kept, at most the budget.
    """

    at_least: ClassVar[Mapping[str, int]] = {"sinks": 0}
    differs: ClassVar[str] = (
        "keys are evicted once, and keep their positions; the paper renumbers them in a rolling cache"
    )
    sinks: int = 4

    def score(self, view: EvictionView) -> Tensor:
        import torch

        length = view.keys.shape[1]
        scores = torch.arange(length, dtype=torch.float32, device=view.keys.device)
        first = view.audio[: min(self.sinks, view.keep)]
        scores[first] += length
        return scores
