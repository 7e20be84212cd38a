"""Keeps evenly spaced audio tokens, which lowers the frame rate; the rule looks at no content.

AudioMarathon's "frame" (https://github.com/DabDans/AudioMarathon).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Frame(PruningPress):
    """Keeps token floor(i * L / n) for i = 0 .. n-1: the first of every L/n tokens, where n is the budget.

    Takes no parameters beyond those of `PruningPress`. `compat=audiomarathon` computes i * (L / n) in floats, as the
    released code does; where that is a hair below a whole number, the token before it is kept.
    """

    released: ClassVar[bool] = True
    compat_version: ClassVar[int] = 2

    def select(self, view: PruningView) -> LongTensor:
        import torch

        if self.compat:
            step = len(view.audio) / view.keep
            return cast("LongTensor", view.audio[[int(i * step) for i in range(view.keep)]])
        steps = torch.arange(view.keep, device=view.audio.device)
        return cast("LongTensor", view.audio[steps * len(view.audio) // view.keep])
