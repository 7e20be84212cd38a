"""Keeps the keys that differ most from the other keys.

Park et al., KeyDiff: Key Similarity-Based KV Cache Eviction, https://arxiv.org/abs/2504.15364.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeyDiff(EvictionPress):
    """Scores a key by -cos(k, mean of k / ||k||), where the mean is over all keys of its head.

    Takes no parameters beyond those of `EvictionPress`.
    """

    version: ClassVar[int] = 2
    differs: ClassVar[str] = "the paper evicts block by block during the prefill, this press once after it"

    def score(self, view: EvictionView) -> Tensor:
        from torch.nn.functional import cosine_similarity, normalize

        keys = view.keys.float()
        anchor = normalize(keys, dim=-1).mean(dim=1, keepdim=True)
        return -cosine_similarity(keys, anchor, dim=-1)
