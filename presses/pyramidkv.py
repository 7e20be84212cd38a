"""Keeps the keys with the best SnapKV scores, more of them in the first layers than in the last.

Cai et al., PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling,
https://arxiv.org/abs/2406.02069. Unlike the paper, this press keeps the mean over layers exactly at the budget, so
that a ratio means the same number of keys as in every other press.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.press import EvictionPress, EvictionView, budget
from marathon_eval.api.press_scores import windowed_scores
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PyramidKV(EvictionPress):
    """Keeps (2 - 1/beta) * budget keys in the first layer, falling linearly to budget / beta in the last.

    Keys are scored as in `snapkv`.

    If the first layer would get more keys than there are, the line is flattened; the mean stays the budget.

    Parameters
    ----------
    window : int, default 64, at least 1
        Number of queries at the end of the context whose attention is averaged (see `snapkv`).
    kernel : int, default 5, at least 1
        Number of neighbouring keys over which the attention is averaged.
    beta : float, default 20.0, at least 1
        The mean number of keys per layer divided by the last layer's; 1 gives every layer the same number.
    """

    version: ClassVar[int] = 2
    at_least: ClassVar[Mapping[str, int]] = {"window": 1, "kernel": 1}
    differs: ClassVar[str] = "the mean over layers is the budget; the window is as in snapkv"
    window: int = 64
    kernel: int = 5
    beta: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 1:
            raise MarathonError(f"press=pyramidkv: beta={self.beta}: must be at least 1")

    def score(self, view: EvictionView) -> Tensor:
        return windowed_scores(view, self.kernel)

    def budgets(self, length: int, layers: int) -> list[int]:
        mean = budget(length, self.ratio)
        # first + last = 2 * mean preserves the mean; every layer keeps at least 1 key and at most `length`
        last = max(mean / self.beta, 2 * mean - length, 1)
        slope = 2 * (mean - last) / max(layers - 1, 1)
        exact = (
            [last + slope * (layers - 1 - layer) for layer in range(layers)] if layers > 1 else [float(mean)]
        )
        counts = [int(share + 1e-6) for share in exact]
        by_remainder = sorted(range(layers), key=lambda layer: counts[layer] - exact[layer])
        for layer in by_remainder[: mean * layers - sum(counts)]:
            counts[layer] += 1
        return counts
