"""Computes scores that several eviction presses share. Imports no torch at its top."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.api.press import EvictionView


def windowed_scores(view: EvictionView, kernel: int) -> Tensor:
    """Return scores [key heads, T] by SnapKV's rule: the mean attention of the window's queries.

    Attention is pooled over `kernel` neighbouring keys and averaged over the query heads of a key head. The
    window's own keys get the highest score.
    """
    import torch
    from torch.nn.functional import avg_pool1d

    window = view.attention.shape[1]
    before = view.attention[..., :-window].mean(dim=1)
    if not before.shape[1]:
        return torch.zeros(view.keys.shape[:2], device=view.keys.device)
    pooled = avg_pool1d(before[None], kernel, stride=1, padding=kernel // 2)[0][:, : before.shape[1]]
    pooled = pooled.unflatten(0, (len(view.keys), -1)).mean(dim=1)
    return torch.cat([pooled, (pooled.max() + 1).expand(len(pooled), window)], dim=1)
