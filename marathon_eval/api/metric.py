"""What a metric keeps of rows that pass by: a few numbers each, or labels, and never the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from marathon_eval.api.filter import Answer, FilterContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

if TYPE_CHECKING:
    from numpy.typing import NDArray


_Kept = TypeVar("_Kept", bound=Hashable)


class Tally(ABC):
    """One metric over the rows of one task."""

    @abstractmethod
    def add(self, row: ScoredRow, score: float | None) -> None:
        """One more row; `score` is the metric's own number for it."""

    @abstractmethod
    def counts(self) -> NDArray[Any]:
        """Additive counts per row [n, k], in the order of the rows."""


class NumberTally(Tally):
    """So many numbers of each row, which are its counts."""

    def __init__(self, width: int, numbers: Callable[[ScoredRow, float | None], Iterable[float]]) -> None:
        self._width = width
        self._numbers = numbers
        self._column = array("d")

    def add(self, row: ScoredRow, score: float | None) -> None:
        self._column.extend(self._numbers(row, score))

    def counts(self) -> NDArray[Any]:
        import numpy as np

        return np.array(self._column, dtype=float).reshape(-1, self._width)


class Labels(Tally, Generic[_Kept]):
    """What counts are made from once all rows are known, as their labels; equal ones are held once."""

    def __init__(
        self,
        label: Callable[[ScoredRow, float | None], _Kept],
        counts: Callable[[Sequence[_Kept]], NDArray[Any]],
    ) -> None:
        self._label = label
        self._counts = counts
        self._known: dict[_Kept, _Kept] = {}
        self._labels: list[_Kept] = []

    def add(self, row: ScoredRow, score: float | None) -> None:
        label = self._label(row, score)
        self._labels.append(self._known.setdefault(label, label))

    def counts(self) -> NDArray[Any]:
        return self._counts(self._labels)


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One scored row: what a reading found, what was right (several: any of them), and the clip it belongs to."""

    answer: Answer
    target: str | tuple[str, ...]
    context: FilterContext
    cluster: str

    @property
    def targets(self) -> tuple[str, ...]:
        """The right answers, always as a tuple."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def label(self) -> str:
        """The one right answer that the row is counted under: the first."""
        return self.targets[0] if self.targets else ""


class Metric(ABC):
    """One entry of `metric_list`. `name` is its key in the results."""

    name: str
    higher_is_better: bool = True
    #: The entry that it was built from.
    spec: Mapping[str, Any] = MappingProxyType({})
    #: Whether counts need more of a row than its own number.
    reads_rows: ClassVar[bool] = True

    @abstractmethod
    def score(self, row: ScoredRow) -> float | None:
        """The row's own number, as samples_*.jsonl keeps it; None where the metric says nothing of it."""

    @abstractmethod
    def tally(self) -> Tally:
        """What takes rows as they pass, and gives their additive counts [n, k]."""

    def counts(self, rows: Sequence[ScoredRow]) -> NDArray[Any]:
        """Additive counts per row [n, k]; k depends on the rows (labels), so one call covers all that are compared."""
        tally = self.tally()
        for row in rows:
            tally.add(row, self.score(row))
        return tally.counts()

    @abstractmethod
    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Summed counts [draws, k] -> metric values [draws]; nan where a draw has no value."""

    def aggregate(self, rows: Sequence[ScoredRow]) -> float | None:
        """The metric over rows; None where it has no value (no rows, no options)."""
        return self.total(self.counts(rows)) if rows else None

    def total(self, counts: NDArray[Any]) -> float | None:
        """The metric of counts [n, k]; None where it has no value."""
        import numpy as np

        value = float(self.value(counts.sum(axis=0, keepdims=True))[0])
        return None if np.isnan(value) else value


class Mean(Metric):
    """The plain mean of a number per row; rows without one are left out."""

    reads_rows: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        score: Callable[[ScoredRow], float | None],
        higher_is_better: bool = True,
        empty: float = float("nan"),
    ) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._score = score
        self._empty = empty

    def score(self, row: ScoredRow) -> float | None:
        return self._score(row)

    def tally(self) -> Tally:
        """[sum, rows]."""
        return NumberTally(2, lambda row, score: counted_score(score))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, 0], sums[:, 1], self._empty)


def counted_score(score: float | None) -> tuple[float, float]:
    """A row's number and 1 for the row; zeros for a row without one."""
    return (0.0, 0.0) if score is None else (score, 1.0)


def ratio(above: NDArray[Any], below: NDArray[Any], empty: float = float("nan")) -> NDArray[Any]:
    """Elementwise above / below, `empty` where below is 0."""
    import numpy as np

    result: NDArray[Any] = np.full(np.broadcast(above, below).shape, empty)
    np.divide(above, below, out=result, where=below != 0)
    return result
