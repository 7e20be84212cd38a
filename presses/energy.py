"""Drops the quietest audio, like a loudness gate, which is the simplest voice-activity detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Energy(PruningPress):
    """Keeps the n tokens with the largest root mean square of the samples that each token stands for.

    Takes no parameters beyond those of `PruningPress`.
    """

    version: ClassVar[int] = 3
    needs_loudness: ClassVar[bool] = True

    def select(self, view: PruningView) -> LongTensor:
        if view.loudness is None:
            raise ValueError("energy needs the loudness of each audio token")
        return cast("LongTensor", view.audio[highest_scores(view.loudness, view.keep).to(view.audio.device)])
