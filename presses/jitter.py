"""Keep one random token of every bin: the frame rate goes down without the fixed stride's aliasing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Jitter(PruningPress):
    """The audio in n nearly equal bins, n being the budget, and from each a uniformly drawn token."""

    def select(self, view: PruningView) -> LongTensor:
        import torch

        edges = torch.arange(view.keep + 1) * len(view.audio) // view.keep
        width = edges[1:] - edges[:-1]
        chosen = edges[:-1] + (torch.rand(view.keep, generator=view.generator) * width).long()
        return cast("LongTensor", view.audio[chosen.to(view.audio.device)])
