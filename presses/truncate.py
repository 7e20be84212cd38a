"""Cuts off one end of the recording: a control that shows whether a task needs the whole recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor


@dataclass(frozen=True)
class Truncate(PruningPress):
    """Keeps the first n audio tokens (`cut=tail`) or the last n (`cut=head`), where n is the budget.

    Parameters
    ----------
    cut : {"tail", "head"}, default "tail"
        The end that is removed.
    """

    cut: str = "tail"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cut not in ("head", "tail"):
            raise MarathonError(f"press=truncate: cut={self.cut}: must be head or tail")

    def select(self, view: PruningView) -> LongTensor:
        chosen = view.audio[: view.keep] if self.cut == "tail" else view.audio[-view.keep :]
        return cast("LongTensor", chosen)
