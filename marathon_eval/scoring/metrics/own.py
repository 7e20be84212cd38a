"""Builds a metric from a user's file `metrics/NAME.py`: a function of a row, or a class that extends `Metric`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.api.own_code import OwnCode
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.scoring.arguments import built

#: The key of an entry that says that a function's numbers lie between 0 and 1.
SHARE = "is_share"


def own_metric(code: OwnCode, options: Mapping[str, Any], where: str) -> Metric:
    """Build the metric. A function takes a ScoredRow and the entry's options, and returns a number or None.

    Its numbers are averaged; None, nan and infinity leave the row out, counted. `is_share: true` in the entry of a function
    says that they lie between 0 and 1, and its interval is then an accuracy's. Raises MarathonError that begins with
    `where` for options that it does not take; a call that fails, or a number outside its scale, raises RowError.
    """
    at = f"{where}: metric '{code.name}'"
    if code.is_class and issubclass(code.target, Metric):  # type: ignore[arg-type]  # is_class says that it is one
        metric: Metric = built(code.target, options, at)
        metric.name = getattr(metric, "name", code.name)
        return metric
    arguments = {key: value for key, value in options.items() if key != SHARE}
    share = options.get(SHARE, False)
    if not isinstance(share, bool):
        raise MarathonError(f"{at}: {SHARE} is true or false, got {share!r}")
    function = code.callable_with(arguments, 1, at)

    def score(row: ScoredRow) -> float | None:
        value = function(row)
        if hasattr(value, "item"):  # a number of numpy's
            value = value.item()
        if value is not None and not isinstance(value, (bool, int, float)):
            raise RowError(f"{code.file}: must return a number or None, got {value!r:.80}")
        if share and value is not None and math.isfinite(value) and not 0 <= value <= 1:
            raise RowError(f"{code.file}: returned {value!r}, and the entry's `is_share: true` allows 0 to 1")
        return None if value is None else float(value)

    return Mean(code.name, score, counts_unscored=True, share=share)


def recorded_metric(spec: Mapping[str, Any], name: str) -> Metric:
    """Build the mean of the scores that a run recorded; the code of `spec` is not run again to compare results."""
    higher = spec.get("higher_is_better")
    return Mean(
        name,
        lambda row: row.context.doc["scores"][name],
        higher_is_better=True if higher is None else bool(higher),
        counts_unscored=True,
        share=spec.get(SHARE) is True,
    )
