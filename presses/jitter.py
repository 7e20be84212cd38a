"""Keeps one random token of every bin, which lowers the frame rate without the aliasing of a fixed stride."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Jitter(PruningPress):
    """Divides the audio into n nearly equal bins and keeps one uniformly drawn token of each; n is the budget.

    Parameters
    ----------
    seed : int, default 0
        Seed of the draw, together with the audio's content and the prompt.
    """

    def select(self, view: PruningView) -> LongTensor:
        import torch

        edges = torch.arange(view.keep + 1) * len(view.audio) // view.keep
        width = edges[1:] - edges[:-1]
        chosen = edges[:-1] + (torch.rand(view.keep, generator=view.generator) * width).long()
        return cast("LongTensor", view.audio[chosen.to(view.audio.device)])
