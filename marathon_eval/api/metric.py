"""What a metric keeps of rows that pass by: a few numbers each, or labels, and never the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from marathon_eval.scoring.metrics.build import Scored

Kept = TypeVar("Kept", bound=Hashable)


class Tally(ABC):
    """One metric over the rows of one task."""

    @abstractmethod
    def add(self, row: Scored, score: float | None) -> None:
        """One more row; `score` is the metric's own number for it."""

    @abstractmethod
    def counts(self) -> NDArray[Any]:
        """Additive counts per row [n, k], in the order of the rows."""


class Numbers(Tally):
    """So many numbers of each row, which are its counts."""

    def __init__(self, width: int, numbers: Callable[[Scored, float | None], Iterable[float]]) -> None:
        self._width = width
        self._numbers = numbers
        self._column = array("d")

    def add(self, row: Scored, score: float | None) -> None:
        self._column.extend(self._numbers(row, score))

    def counts(self) -> NDArray[Any]:
        import numpy as np

        return np.array(self._column, dtype=float).reshape(-1, self._width)


class Labels(Tally, Generic[Kept]):
    """What counts are made from once all rows are known, as their labels; equal ones are held once."""

    def __init__(
        self,
        label: Callable[[Scored, float | None], Kept],
        counts: Callable[[Sequence[Kept]], NDArray[Any]],
    ) -> None:
        self._label = label
        self._counts = counts
        self._known: dict[Kept, Kept] = {}
        self._labels: list[Kept] = []

    def add(self, row: Scored, score: float | None) -> None:
        label = self._label(row, score)
        self._labels.append(self._known.setdefault(label, label))

    def counts(self) -> NDArray[Any]:
        return self._counts(self._labels)
