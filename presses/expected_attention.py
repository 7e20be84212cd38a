"""Keeps the keys to which future queries are expected to attend most.

Devoto et al., Expected Attention: KV Cache Compression by Estimating Attention from Future Queries Distribution,
https://arxiv.org/abs/2510.00636. The rule treats the queries before rotation as Gaussian and turns their mean mu and
covariance S by the mean rotation of the next `future` positions; E[exp(q.k / sqrt d)] then has a closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ExpectedAttention(EvictionPress):
    """Scores a key by softmax(mu.k / sqrt d + k'Sk / 2d), averaged over a key head's query heads, times ||v||.

    Parameters
    ----------
    future : int, default 512, at least 1
        Number of positions after the context for which the mean rotation is computed.
    sinks : int, default 4, at least 0
        Number of positions at the start of the context that are left out of the statistics and never evicted.
    """

    at_least: ClassVar[Mapping[str, int]] = {"future": 1, "sinks": 0}
    needs_queries: ClassVar[bool] = True
    future: int = 512
    sinks: int = 4

    def score(self, view: EvictionView) -> Tensor:
        import torch

        if view.unrotated is None or view.rotation is None:
            raise ValueError("expected_attention needs the context's queries")
        if view.keys.shape[1] <= self.sinks:  # all are first tokens, and there are no statistics
            return torch.ones(view.keys.shape[:2], device=view.keys.device)
        queries = view.unrotated[:, self.sinks :].float()
        mean = queries.mean(dim=1, keepdim=True)
        centred = queries - mean
        covariance = centred.transpose(1, 2) @ centred / queries.shape[1]
        turn = view.rotation(self.future).float()
        mean, covariance = mean @ turn.T, turn @ covariance @ turn.T
        groups, size = len(queries) // len(view.keys), view.keys.shape[-1]
        keys = view.keys[:, self.sinks :].float().repeat_interleave(groups, dim=0)
        logits = (keys * mean).sum(-1) / size**0.5 + ((keys @ covariance) * keys).sum(-1) / (2 * size)
        expected = logits.softmax(-1).unflatten(0, (len(view.keys), groups)).mean(dim=1)
        scores = expected * view.values[:, self.sinks :].float().norm(dim=-1)
        # the first tokens are outliers, so they are left out of the statistics and never evicted
        first = (scores.max() + 1).expand(len(scores), self.sinks)
        return torch.cat([first, scores], dim=1)
