"""Ranks the scores of audio tokens: smooths them over time, and takes the highest. Imports no torch at its top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from torch import Tensor


def highest_scores(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` highest scores [..., L]; of equal ones the first, on every device.

    `topk` breaks ties differently on each device, and scores in bfloat16 have many. Raises RowError for a NaN, which would
    sort above every number.
    """
    if scores.isnan().any():
        raise RowError(
            "the press computed NaN as a score, so that no order of the tokens follows from its scores"
        )
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]


def low_passed(scores: Tensor, cut: float) -> Tensor:
    """Remove the top `cut` of the time spectrum of scores [heads, L] (AudioKV, https://arxiv.org/abs/2604.06694)."""
    import torch

    spectrum = torch.fft.rfft(scores)
    spectrum[:, max(1, round(spectrum.shape[1] * (1 - cut))) :] = 0
    smoothed: Tensor = torch.fft.irfft(spectrum, n=scores.shape[1])
    return smoothed
