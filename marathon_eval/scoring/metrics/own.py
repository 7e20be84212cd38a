"""Builds a metric from a user's file `metrics/NAME.py`: a function of a row, or a class that extends `Metric`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.api.own_code import OwnCode
from marathon_eval.errors import RowError
from marathon_eval.scoring.arguments import built


def own_metric(code: OwnCode, options: Mapping[str, Any], where: str) -> Metric:
    """Build the metric. A function takes a ScoredRow and the entry's options, and returns a number or None.

    Its numbers are averaged; None, nan and infinity leave the row out, counted. Raises MarathonError that begins with
    `where` for options that it does not take; a call that fails raises RowError.
    """
    at = f"{where}: metric '{code.name}'"
    if code.is_class and issubclass(code.target, Metric):  # type: ignore[arg-type]  # is_class says that it is one
        metric: Metric = built(code.target, options, at)
        metric.name = getattr(metric, "name", code.name)
        return metric
    function = code.callable_with(options, 1, at)

    def score(row: ScoredRow) -> float | None:
        value = function(row)
        if hasattr(value, "item"):  # a number of numpy's
            value = value.item()
        if value is not None and not isinstance(value, (bool, int, float)):
            raise RowError(f"{code.file}: must return a number or None, got {value!r:.80}")
        return None if value is None else float(value)

    return Mean(code.name, score, counts_unscored=True)


def recorded_metric(spec: Mapping[str, Any], name: str) -> Metric:
    """Build the mean of the scores that a run recorded; the code of `spec` is not run again to compare results."""
    higher = spec.get("higher_is_better")
    return Mean(name, lambda row: row.context.doc["scores"][name], True if higher is None else bool(higher))
