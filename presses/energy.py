"""Drop the quietest stretches: a loudness gate, the simplest voice-activity detector there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Energy(PruningPress):
    """Top n tokens by the root mean square of the samples that each token stands for."""

    needs_loudness: ClassVar[bool] = True

    def select(self, view: PruningView) -> LongTensor:
        if view.loudness is None:
            raise ValueError("energy needs the loudness of each audio token")
        return cast("LongTensor", view.audio[view.loudness.topk(view.keep).indices.to(view.audio.device)])
