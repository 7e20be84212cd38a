"""Keep runs of neighbouring keys whole, so that what is kept stays a phrase.

Liu et al., ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM Inference,
https://arxiv.org/abs/2502.00299. Ours fills the last chunk partly, with its best keys, to hit the budget exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.api.press_scores import windowed_scores
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class ChunkKV(EvictionPress):
    """Chunks of `chunk` audio keys by their mean SnapKV score over all heads, the best chunks first."""

    window: int = 64
    kernel: int = 5
    chunk: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk < 1:
            raise MarathonError(f"press=chunkkv: chunk={self.chunk}: must be at least 1")

    def score(self, view: EvictionView) -> Tensor:
        return windowed_scores(view, self.kernel).mean(dim=0)

    def select(self, view: EvictionView) -> LongTensor:
        import torch

        scores = self.smoothed(self.score(view)[None, view.audio])[0]
        chunks = torch.arange(len(view.audio), device=scores.device) // self.chunk
        sums = torch.zeros(int(chunks[-1]) + 1, device=scores.device).index_add_(0, chunks, scores)
        means = sums / chunks.bincount()
        # order by chunk first, by the key's own score inside a chunk: the cut falls inside one chunk at most
        rank = means.argsort(descending=True, stable=True).argsort()
        order = scores.argsort(descending=True, stable=True)
        order = order[rank[chunks[order]].argsort(stable=True)]
        return cast("LongTensor", view.audio[order[: view.keep]].expand(len(view.keys), -1))
