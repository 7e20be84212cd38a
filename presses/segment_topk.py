"""Keeps the tokens with the most attention in every segment of the recording, so that no segment is lost.

Segment-wise top-k pruning for audio LLMs, https://arxiv.org/abs/2511.14293. Unlike the paper, this press meets the
budget exactly: segments' shares differ by one token where the budget does not divide evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class SegmentTopK(PruningPress):
    """Keeps from each of `segments` equal parts of the audio the tokens to which the last prompt token attends most.

    The attention is that of layer K-1, averaged over heads, as in `fastv`; `layer` must be at least 1.

    Parameters
    ----------
    segments : int, default 10, at least 1
        Number of segments, which share the budget equally; if fewer tokens are kept, there are only as many segments.
    """

    version: ClassVar[int] = 2
    differs: ClassVar[str] = (
        "the paper scores the audio encoder's output, this press a decoder layer's attention"
    )
    segments: int = 10
    needs_attention: ClassVar[bool] = True
    at_least: ClassVar[Mapping[str, int]] = {"segments": 1}

    def select(self, view: PruningView) -> LongTensor:
        import torch

        if view.attention is None:
            raise ValueError("segment_topk needs the last token's attention")
        length, parts = len(view.audio), min(self.segments, view.keep)
        chosen = []
        for part in range(parts):
            first, last = part * length // parts, (part + 1) * length // parts
            # a difference of running totals, so that shares add up to the budget and none exceeds its segment
            share = view.keep * last // length - view.keep * first // length
            segment = view.audio[first:last]
            chosen.append(segment[highest_scores(view.attention[segment], share)])
        return cast("LongTensor", torch.cat(chosen))
