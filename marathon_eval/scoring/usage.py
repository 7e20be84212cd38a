"""What answers cost: one row's repeats to one usage, a task's usages to medians with intervals."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Response, Usage
from marathon_eval.scoring.stats import median_interval

if TYPE_CHECKING:
    from marathon_eval.api.results import Sample

STAGES = ("encode_s", "prefill_s", "decode_s")
_USAGE = tuple(field.name for field in fields(Usage))


class UsageColumns:
    """Every number in the answers' usage, `details` included, as it passes.

    Times of warm-up answers (the first batch after loading) are left out; `warm_up` counts those answers.
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._warm_ups = 0

    def add(self, usage: Mapping[str, Any]) -> None:
        """One more answer's."""
        details = usage.get("details") or {}
        warm = bool(details.get("warm_up"))
        self._warm_ups += warm
        for key, value in (*usage.items(), *details.items()):
            if _is_measure(value) and not (warm and key.endswith("_s")):
                column = self._columns.get(key)
                if column is None:
                    column = self._columns[key] = array("d")
                column.append(value)

    def merged(self) -> dict[str, Any]:
        """Median, its 95 % interval and n of each."""
        found: dict[str, Any] = {key: _summary(sorted(values)) for key, values in self._columns.items()}
        return {**found, "warm_up": self._warm_ups} if found else {}


def merge_usage(usages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """UsageColumns of usages that are at hand."""
    columns = UsageColumns()
    for usage in usages:
        columns.add(usage)
    return columns.merged()


def _summary(ordered: list[float]) -> dict[str, Any]:
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    interval = median_interval(ordered)
    return {
        "median": median,
        "ci95": None if interval is None else (interval.low, interval.high),
        "n": len(ordered),
    }


def _is_measure(value: object) -> bool:
    """Whether it is a number that JSON and a float can hold, as one that a server invents need not be."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def answer_seconds(sample: Sample) -> float | None:
    """What the model spent on a row's answers, cached ones included; None where no backend timed any."""
    times = [sample.usage[stage] for stage in STAGES if sample.usage.get(stage) is not None]
    # a row's usage is the mean over its repeats
    repeats = len(sample.response) if isinstance(sample.response, list) else 1
    return sum(times) * repeats if times else None


def mean_usage(responses: Sequence[Response]) -> dict[str, Any]:
    """What one answer cost, the mean over a row's repeats; absent numbers are left out, and why it ended is kept."""
    found: dict[str, Any] = {}
    for key in _USAGE:
        values = [getattr(response.usage, key) for response in responses]
        values = [value for value in values if _is_measure(value)]
        if values:
            found[key] = values[0] if len(values) == 1 else sum(values) / len(values)
    if responses and responses[0].usage.details:
        found["details"] = dict(responses[0].usage.details)
    if responses:
        found["finish_reason"] = responses[0].finish_reason
    return found
