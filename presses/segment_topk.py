"""The best-attended tokens of every stretch of the recording, so that no part of it falls silent.

Segment-wise top-k pruning for audio LLMs, https://arxiv.org/abs/2511.14293. Ours spreads what does not divide evenly
over the first segments, and so hits the budget exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class SegmentTopK(PruningPress):
    """The audio in `segments` equal parts; of each its share of the budget, by the last token's attention."""

    segments: int = 10
    needs_attention: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segments < 1:
            raise MarathonError(f"press=segment_topk: segments={self.segments}: must be at least 1")

    def select(self, view: PruningView) -> LongTensor:
        import torch

        if view.attention is None:
            raise ValueError("segment_topk needs the last token's attention")
        length, parts = len(view.audio), min(self.segments, view.keep)
        kept = []
        for part in range(parts):
            first, last = part * length // parts, (part + 1) * length // parts
            # shares in proportion to running lengths: they add up to the budget, and none exceeds its segment
            share = view.keep * last // length - view.keep * first // length
            stretch = view.audio[first:last]
            kept.append(stretch[view.attention[stretch].topk(share).indices])
        return cast("LongTensor", torch.cat(kept))
