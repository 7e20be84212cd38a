"""Runs lm-eval's scorers written in Python: `process_results`, `metric: !function` and `aggregation: !function`.

They get what lm-evaluation-harness 0.4 gives them (lm_eval/api/task.py): the row's columns and a list with the answer, or
`references` and `predictions`. An aggregation gets the list of all rows' values; its figure has no interval, since a
function of a whole list cannot be resampled at a bearable cost. lmms-eval's aggregations may take its command line as
`args`. Some scorers guess an option for an answer that they cannot read: Python's and numpy's generators are seeded with
the row before each call, so that scoring again gives the same figure.
"""

from __future__ import annotations

import inspect
import random
import statistics
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from marathon_eval.api.metric import Mean, Metric, ScoredRow, Tally
from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import called, task_function
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Computes a row's value, of any type where an aggregation takes it.
RowItem = Callable[[ScoredRow], Any]
#: lm-eval's aggregations by name; the means are computed as those of any other metric.
_MEANS = ("mean", "nanmean")
_NAMED: Mapping[str, Callable[[list[Any]], float]] = {"median": statistics.median}


class ResultsFunction:
    """Calls a task's `process_results` once per row, for all metrics that take a value of it."""

    def __init__(self, code: OwnCode) -> None:
        self.code = code
        self._last: tuple[ScoredRow, Mapping[str, Any]] | None = None

    def values(self, row: ScoredRow) -> Mapping[str, Any]:
        """Return the values by metric. Raises RowError if the function fails or returns no mapping."""
        if self._last is None or self._last[0] is not row:
            with _seeded(row):
                found = called(self.code, dict(row.fields), [row.answer.value or ""])
            if not isinstance(found, Mapping):
                raise RowError(
                    f"{self.code.file}: {self.code.name} must return metrics by name, got {found!r:.80}"
                )
            self._last = (row, found)
        return self._last[1]

    def item(self, key: str) -> RowItem:
        """Return the function that gives a row's value of one metric."""

        def value(row: ScoredRow) -> Any:
            values = self.values(row)
            if key not in values:
                raise RowError(
                    f"{self.code.file}: {self.code.name} gives no '{key}'. It gives: {', '.join(map(str, values))}"
                )
            return values[key]

        return value


def metric_item(code: OwnCode) -> RowItem:
    """Return the row's value of `metric: !function`, called with references and predictions, or with both in a list."""
    parameters = inspect.signature(code.target).parameters
    keywords = "references" in parameters and "predictions" in parameters

    def one(target: str, said: str) -> Any:
        value = (
            called(code, references=[target], predictions=[said])
            if keywords
            else called(code, [target, said])
        )
        return value[code.name] if isinstance(value, Mapping) else value

    def value(row: ScoredRow) -> Any:
        said = row.answer.value or ""
        if isinstance(row.target, str):
            return one(row.target, said)
        return float(any(one(target, said) for target in row.targets))

    return value


def function_metric(spec: Mapping[str, Any], item: RowItem, name: str, where: str) -> Metric:
    """Build the metric of an entry of metric_list whose rows' values are computed by a task's function."""
    aggregation = spec.get("aggregation", "mean")
    higher = bool(spec.get("higher_is_better", True))
    code = task_function(aggregation)
    if code is None and aggregation in _MEANS:
        return Mean(name, lambda row: _number(item(row), name), higher, counts_unscored=True)
    if code is None and aggregation not in _NAMED:
        raise MarathonError(
            f"{where}: metric '{name}': aggregation '{aggregation}' is not supported here. Known: "
            f"{', '.join((*_MEANS, *_NAMED))}, and !function"
        )
    combine = _NAMED[aggregation] if code is None else _combined_by(code, name)
    return ListMetric(name, item, combine, higher)


class _CommandLine:
    """Stands for lmms-eval's command line, which no run here has."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"args.{name}: lmms-eval's command line is not there")


def _combined_by(code: OwnCode, name: str) -> Callable[[list[Any]], float]:
    """Return the function of all rows' values. It raises MarathonError for what is no number."""
    options = {"args": _CommandLine()} if "args" in inspect.signature(code.target).parameters else {}

    def combined(items: list[Any]) -> float:
        value = called(code, items, **options)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise MarathonError(
                f"{code.file}: {code.name} must return the number of metric '{name}', got {value!r:.80}"
            ) from None

    return combined


@contextmanager
def _seeded(row: ScoredRow) -> Iterator[None]:
    """Seed the generators that a function may draw from with the row's columns and answer, and restore them after."""
    import numpy as np

    seed = zlib.crc32(f"{dict(row.fields)} {row.answer.value}".encode("utf-8", "surrogatepass"))
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _number(value: Any, name: str) -> float | None:
    if hasattr(value, "item"):
        value = value.item()
    if value is not None and not isinstance(value, (bool, int, float)):
        raise RowError(f"metric '{name}': must be a number to be averaged, got {value!r:.80}")
    return None if value is None else float(value)


class ListMetric(Metric):
    """Computes a figure from the list of all rows' values."""

    resampled = False

    def __init__(
        self, name: str, item: RowItem, combine: Callable[[list[Any]], Any], higher_is_better: bool
    ) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._item = item
        self._combine = combine
        #: The values of all rows that were tallied; counts say how often each is in the list.
        self._items: list[Any] = []

    def score(self, row: ScoredRow) -> float | None:
        """Return the row's value where it is a number, else None."""
        value = self._item(row)
        if hasattr(value, "item"):
            value = value.item()
        return float(value) if isinstance(value, (bool, int, float)) else None

    def tally(self) -> Tally:
        """Return a tally that keeps the rows' values."""
        self._items = []
        return _Items(self._item, self._items)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Return the figure of one list; nan for the many of a bootstrap, so that there is no interval."""
        import numpy as np

        if len(sums) != 1:
            return np.full(len(sums), np.nan)
        items = [item for item, count in zip(self._items, sums[0], strict=True) for _ in range(int(count))]
        found = float(self._combine(items)) if items else float("nan")
        return np.array([found])


class _Items(Tally):
    """Keeps the values of rows, in order."""

    def __init__(self, item: RowItem, items: list[Any]) -> None:
        self._item = item
        self._items = items

    def add(self, row: ScoredRow, score: float | None) -> None:
        self._items.append(self._item(row))

    def counts(self) -> NDArray[Any]:
        import numpy as np

        return np.eye(len(self._items), dtype=np.uint8)
