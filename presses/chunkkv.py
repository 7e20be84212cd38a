"""Keeps keys in whole chunks of neighbours, so that the kept audio consists of stretches and not of single keys.

Liu et al., ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM Inference,
https://arxiv.org/abs/2502.00299. Unlike the paper, this press meets the budget exactly: of the last chunk it keeps
only the best keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import EvictionPress, EvictionView
from marathon_eval.api.press_scores import windowed_scores

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class ChunkKV(EvictionPress):
    """Keeps the chunks of `chunk` audio keys with the highest mean SnapKV score over keys and heads.

    Parameters
    ----------
    window : int, default 64, at least 1
        Number of queries at the end of the context whose attention is averaged (see `snapkv`).
    kernel : int, default 5, at least 1
        Number of neighbouring keys over which the attention is averaged.
    chunk : int, default 20, at least 1
        Number of audio keys in a chunk.
    """

    version: ClassVar[int] = 2
    at_least: ClassVar[Mapping[str, int]] = {"window": 1, "kernel": 1, "chunk": 1}
    differs: ClassVar[str] = "the last chunk is kept in part, to meet the budget; the window is as in snapkv"
    window: int = 64
    kernel: int = 5
    chunk: int = 20

    def score(self, view: EvictionView) -> Tensor:
        return windowed_scores(view, self.kernel).mean(dim=0)

    def select(self, view: EvictionView) -> LongTensor:
        import torch

        scores = self.smoothed(self.score(view)[None, view.audio])[0]
        chunks = torch.arange(len(view.audio), device=scores.device) // self.chunk
        sums = torch.zeros(int(chunks[-1]) + 1, device=scores.device).index_add_(0, chunks, scores)
        means = sums / chunks.bincount()
        # sort by the chunk's rank, then by the key's score within its chunk, so that at most one chunk is split
        rank = means.argsort(descending=True, stable=True).argsort()
        order = scores.argsort(descending=True, stable=True)
        order = order[rank[chunks[order]].argsort(stable=True)]
        return cast("LongTensor", view.audio[order[: view.keep]].expand(len(view.keys), -1))
