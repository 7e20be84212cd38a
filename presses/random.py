"""Keeps audio tokens at random: the baseline that every other rule must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Random(PruningPress):
    """Keeps n uniformly drawn tokens, the same ones for the same seed, audio and prompt; n is the budget.

    Parameters
    ----------
    seed : int, default 0
        Seed of the draw, together with the audio's content and the prompt.
    """

    released: ClassVar[bool] = True

    def select(self, view: PruningView) -> LongTensor:
        import torch

        order = torch.randperm(len(view.audio), generator=view.generator)
        chosen = order[: view.keep].to(view.audio.device)
        return cast("LongTensor", view.audio[chosen])
