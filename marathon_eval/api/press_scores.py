"""Computes scores that several eviction presses share. Imports no torch at its top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.api.press import EvictionView


def windowed_scores(view: EvictionView, kernel: int) -> Tensor:
    """Return scores [key heads, T] by SnapKV's rule: the mean attention of the window's queries.

    Attention is pooled over `kernel` neighbouring keys and averaged over the query heads of a key head. The
    window's own keys get the highest score, so that they stay; it has `kept_window` positions. Where that is none,
    the last query alone scores every key.
    """
    import torch
    from torch.nn.functional import avg_pool1d

    length = view.keys.shape[1]
    own = kept_window(view.audio.tolist(), length, view.attention.shape[1], view.keep)
    before = view.attention[:, -max(own, 1) :, : length - own].mean(dim=1)
    if not before.shape[1]:
        return torch.zeros(view.keys.shape[:2], device=view.keys.device)
    pooled = avg_pool1d(before[None], kernel, stride=1, padding=kernel // 2)[0][:, : before.shape[1]]
    pooled = pooled.unflatten(0, (len(view.keys), -1)).mean(dim=1)
    return torch.cat([pooled, (pooled.max() + 1).expand(len(pooled), own)], dim=1)


def kept_window(audio: Sequence[int], length: int, window: int, keep: int) -> int:
    """Return how many of the last `window` of `length` positions form the window when `keep` audio keys stay.

    It is shortened until its audio keys are at most half of `keep`: the published rules ask for a budget above the
    window, and a window that takes all of it would leave nothing to choose. `audio` are the audio positions, ascending.
    """
    most, inside = keep // 2, sum(position >= length - window for position in audio)
    if inside <= most:
        return window
    return length - 1 - audio[len(audio) - most - 1]
