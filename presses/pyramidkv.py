"""SnapKV's scores with a budget that falls from the first layer to the last.

Cai et al., PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling,
https://arxiv.org/abs/2406.02069. Ours keeps the mean over layers at the budget exactly, so that a ratio means the
same number of keys as in every other press.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, EvictionView, budget
from marathon_eval.api.press_scores import windowed_scores
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PyramidKV(EvictionPress):
    """The last layer keeps 1/`beta` of the mean where the first layer's share allows it, the others lie on a line."""

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
        # first + last = 2 * mean keeps the mean; no layer can keep more than there is, or nothing
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
