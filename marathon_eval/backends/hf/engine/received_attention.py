"""Sums the attention that each key receives from all queries, block by block: no T x T matrix is made."""

from __future__ import annotations

import torch
from torch import Tensor

#: Queries whose attention is in memory at once.
QUERY_BLOCK = 128


def received_attention(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return what keys [key heads, K, d] receive in sum from the last queries [heads, q, d], and the last one's attention.

    The sums [key heads, K] are means over a key head's query heads; the newest query's attention is [heads, K]. Query
    number i of q sees the keys up to the K - q + i-th. In float32.
    """
    (heads, count, size), length = queries.shape, keys.shape[1]
    groups = heads // len(keys)
    received = torch.zeros(heads, length, device=keys.device)
    repeated = keys.float().repeat_interleave(groups, dim=0).transpose(1, 2)
    places = torch.arange(length, device=keys.device)
    attention = received
    for first in range(0, count, QUERY_BLOCK):
        block = queries[:, first : first + QUERY_BLOCK].float()
        scores = block @ repeated / size**0.5
        seen_up_to = length - count + first + torch.arange(block.shape[1], device=keys.device)
        attention = scores.masked_fill(places > seen_up_to[:, None], -torch.inf).softmax(-1)
        received += attention.sum(dim=1)
        attention = attention[:, -1]
    return received.unflatten(0, (len(keys), groups)).mean(dim=1), attention
