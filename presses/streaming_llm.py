"""Keeps the first few audio keys (attention sinks) and the most recent ones, whatever their content.

Xiao et al., Efficient Streaming Language Models with Attention Sinks, https://arxiv.org/abs/2309.17453. The first
tokens of the prompt are text and are never evicted; `sinks` counts audio keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.errors import MarathonError

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

    sinks: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sinks < 0:
            raise MarathonError(f"press=streaming_llm: sinks={self.sinks}: must be at least 0")

    def score(self, view: EvictionView) -> Tensor:
        import torch

        length = view.keys.shape[1]
        scores = torch.arange(length, dtype=torch.float32, device=view.keys.device)
        first = view.audio[: min(self.sinks, view.keep)]
        scores[first] += length
        return scores
