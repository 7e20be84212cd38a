"""Defines metrics, and the tallies that collect their counts.

A `Metric` scores one row (`score`) and computes its value from counts that are summed over rows (`value`). Intervals
leave out or resample the counts of whole clips. A `Tally` collects the counts while rows pass: it keeps a few numbers or a label per
row and never the row itself, so that memory stays small.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from marathon_eval.api.filter import Answer, FilterContext

if TYPE_CHECKING:
    from numpy.typing import NDArray


_Label = TypeVar("_Label", bound=Hashable)


class Tally(ABC):
    """Collects the counts of one metric over the rows of one task."""

    @abstractmethod
    def add(self, row: ScoredRow, score: float | None) -> None:
        """Add a row; `score` is what `Metric.score` returned for it."""

    @abstractmethod
    def counts(self) -> NDArray[Any]:
        """Return the additive counts per row [n, k], in the order of the rows."""


class NumberTally(Tally):
    """Keeps `width` numbers per row, which are its counts."""

    def __init__(self, width: int, numbers: Callable[[ScoredRow, float | None], Iterable[float]]) -> None:
        self._width = width
        self._numbers = numbers
        self._column = array("d")

    def add(self, row: ScoredRow, score: float | None) -> None:
        self._column.extend(self._numbers(row, score))

    def counts(self) -> NDArray[Any]:
        import numpy as np

        return np.array(self._column, dtype=float).reshape(-1, self._width)


class ScoreTally(Tally):
    """Keeps the score of each row; its counts are [score, 1], and [0, 0] for a row without a score."""

    def __init__(self) -> None:
        self._scores = array("d")

    def add(self, row: ScoredRow, score: float | None) -> None:
        self._scores.append(math.nan if score is None else score)

    def counts(self) -> NDArray[Any]:
        import numpy as np

        scores = np.array(self._scores, dtype=float)
        scored = ~np.isnan(scores)
        return np.stack([np.where(scored, scores, 0.0), scored.astype(float)], axis=1)


class Labels(Tally, Generic[_Label]):
    """Keeps a label per row, and computes the counts from all labels at the end; equal labels share memory."""

    def __init__(
        self,
        label: Callable[[ScoredRow, float | None], _Label],
        counts: Callable[[Sequence[_Label]], NDArray[Any]],
    ) -> None:
        self._label = label
        self._counts = counts
        self._shared: dict[_Label, _Label] = {}
        self._labels: list[_Label] = []

    def add(self, row: ScoredRow, score: float | None) -> None:
        label = self._label(row, score)
        self._labels.append(self._shared.setdefault(label, label))

    def counts(self) -> NDArray[Any]:
        return self._counts(self._labels)


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """Holds a row to score: the extracted answer, the right answer (several: any of them is right), and its clip."""

    answer: Answer
    target: str | tuple[str, ...]
    context: FilterContext
    cluster: str

    @property
    def targets(self) -> tuple[str, ...]:
        """The right answers, always as a tuple."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def fields(self) -> Mapping[str, Any]:
        """The row's columns, with those that row steps added."""
        return self.context.doc

    @property
    def label(self) -> str:
        """The right answer that the row is counted under: the first of `targets`."""
        target = self.target
        if isinstance(target, str):
            return target
        return target[0] if target else ""


class Metric(ABC):
    """Computes one entry of `metric_list`. `name` is its key in the results."""

    name: str
    #: None where neither is better and 0 is best, as of a bias.
    higher_is_better: bool | None = True
    #: The entry of `metric_list` that it was built from.
    spec: Mapping[str, Any] = MappingProxyType({})
    #: Whether the tally reads the row itself and not only its score.
    reads_rows: ClassVar[bool] = True
    #: Whether its interval is computed from resampled counts.
    resampled: ClassVar[bool] = True
    #: Whether it counts rows that are left out of its reading (`Answer.left_out`), as a rate of parsed replies does.
    counts_left_out: bool = False
    #: Whether results count the rows that get no score: those whose target or answer has no value for this metric.
    counts_unscored: bool = False
    #: Whether the value lies between 0 and 1, as accuracy and F1 do; intervals then stay there.
    share: bool = False
    #: Whether answers enter the value; a baseline, which rows and targets alone give, has no interval.
    of_answers: bool = True
    #: Whether the value is a mean of one number per row.
    rowwise: ClassVar[bool] = False

    @abstractmethod
    def score(self, row: ScoredRow) -> float | None:
        """Return the row's score, as written to samples_*.jsonl; None where the metric does not apply to the row."""

    @abstractmethod
    def tally(self) -> Tally:
        """Return a new tally that collects the additive counts [n, k] of this metric."""

    def counts(self, rows: Iterable[ScoredRow]) -> NDArray[Any]:
        """Return additive counts per row [n, k].

        k depends on the rows' labels, so pass all compared rows in one call. Rows left out of the reading count zero.
        """
        tally, places, n = self.tally(), [], 0
        for n, row in enumerate(rows, 1):
            if self.counts_left_out or not row.answer.left_out:
                tally.add(row, finite_score(self.score(row)))
                places.append(n - 1)
        return spread(tally.counts(), places, n)

    @abstractmethod
    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Compute metric values [draws] from summed counts [draws, k]; nan where a draw has no value."""

    def aggregate(self, rows: Sequence[ScoredRow]) -> float | None:
        """Compute the metric over rows; None where it has no value (no rows, no options)."""
        return self.total(self.counts(rows)) if rows else None

    def total(self, counts: NDArray[Any]) -> float | None:
        """Compute the metric from counts [n, k]; None where it has no value, or none that JSON can hold."""
        return finite_score(float(self.value(counts.sum(axis=0, keepdims=True))[0]))


class Mean(Metric):
    """Averages a score over rows; rows without a score are left out. `share`: each score is 0, 1 or between."""

    reads_rows: ClassVar[bool] = False
    rowwise: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        score: Callable[[ScoredRow], float | None],
        higher_is_better: bool | None = True,
        empty: float = float("nan"),
        counts_unscored: bool = False,
        share: bool = False,
        of_answers: bool = True,
    ) -> None:
        self.name = name
        self.share = share
        self.of_answers = of_answers
        self.higher_is_better = higher_is_better
        self._score = score
        self._empty = empty
        self.counts_unscored = counts_unscored

    def score(self, row: ScoredRow) -> float | None:
        return self._score(row)

    def tally(self) -> Tally:
        """Collect [sum of scores, number of scored rows]."""
        return ScoreTally()

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, 0], sums[:, 1], self._empty)


def spread(counts: NDArray[Any], places: Sequence[int], n: int) -> NDArray[Any]:
    """Return counts [n, k] with the given counts [len(places), k] at `places`, and zeros at the rows left out."""
    import numpy as np

    if len(places) == n:
        return counts
    whole: NDArray[Any] = np.zeros((n, *counts.shape[1:]), dtype=counts.dtype)
    whole[np.asarray(places, dtype=int)] = counts
    return whole


def finite_score(score: float | None) -> float | None:
    """Return the score, and None for nan and infinity: no mean may include them, and JSON has neither."""
    return score if score is None or math.isfinite(score) else None


def counted_score(score: float | None) -> tuple[float, float]:
    """Return the score and 1, the count of the row; two zeros for a row without a score."""
    return (0.0, 0.0) if score is None else (score, 1.0)


def ratio(above: NDArray[Any], below: NDArray[Any], empty: float = float("nan")) -> NDArray[Any]:
    """Divide above by below elementwise; the result is `empty` where below is 0."""
    import numpy as np

    result: NDArray[Any] = np.full(np.broadcast(above, below).shape, empty)
    np.divide(above, below, out=result, where=below != 0)
    return result
